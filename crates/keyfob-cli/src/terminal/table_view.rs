//! Tables.

use std::{
    env,
    io::{self, IsTerminal},
    ops::Range,
};

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

use super::visible;

/// A table with a heading for each column, or pairs of a name and a value. Control characters are
/// escaped.
///
/// A table that is wider than the terminal has several lines for each row, with some of the columns
/// in each: a value is never broken, so that it can be copied.
#[derive(Debug)]
pub(crate) struct TableView {
    headings: Vec<String>,
    rows: Vec<Vec<(String, Tone)>>,
    empty: Option<&'static str>,
}

/// The colour of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Warning,
    Bad,
    Dim,
}

impl TableView {
    /// A table with these headings; `empty` is written if there are no rows.
    pub(crate) fn new<const N: usize>(headings: [&str; N], empty: &'static str) -> Self {
        Self {
            headings: headings.map(str::to_owned).into(),
            rows: Vec::new(),
            empty: Some(empty),
        }
    }

    /// Pairs of a name and a value.
    pub(crate) fn pairs() -> Self {
        Self {
            headings: Vec::new(),
            rows: Vec::new(),
            empty: None,
        }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [(String, Tone); N]) {
        self.rows.push(cells.into());
    }

    pub(crate) fn pair(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.toned_pair(name, value, Tone::Plain)
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "a value of any type with a text"
    )]
    pub(crate) fn toned_pair(&mut self, name: &str, value: impl ToString, tone: Tone) -> &mut Self {
        self.rows.push(vec![
            (name.to_owned(), Tone::Plain),
            (value.to_string(), tone),
        ]);
        self
    }

    /// Adds a pair if there is a value.
    pub(crate) fn pair_if(&mut self, name: &str, value: Option<impl ToString>) -> &mut Self {
        match value {
            Some(value) => self.pair(name, value),
            None => self,
        }
    }

    /// Writes the table, with colours or without.
    pub(crate) fn write(self, out: &mut impl io::Write, colours: bool) -> io::Result<()> {
        self.write_within(out, colours, width())
    }

    fn write_within(
        &self,
        out: &mut impl io::Write,
        colours: bool,
        width: usize,
    ) -> io::Result<()> {
        if let (Some(text), true) = (self.empty, self.rows.is_empty()) {
            writeln!(out, "{text}")?;
            return out.flush();
        }
        // The lines of each part of the columns; a row has one line in each.
        let parts: Vec<Vec<String>> = self
            .parts(width)
            .into_iter()
            .map(|columns| self.lines(columns, colours))
            .collect();
        let rows = parts.first().map_or(0, Vec::len);
        for row in 0..rows {
            for (at, lines) in parts.iter().enumerate() {
                let indent = if at > 0 { INDENT } else { "" };
                let line = lines.get(row).map_or("", |line| line.trim_end());
                writeln!(out, "{indent}{line}")?;
            }
        }
        out.flush()
    }

    /// The columns of each line of a row.
    fn parts(&self, width: usize) -> Vec<Range<usize>> {
        let whole = self.table(0..self.columns());
        let widths = whole.column_max_content_widths();
        if self.empty.is_none() {
            return std::iter::once(0..widths.len()).collect();
        }
        let mut parts = Vec::new();
        let (mut start, mut used) = (0, 0);
        for (at, column) in widths.iter().enumerate() {
            let column = usize::from(*column);
            if at > start && used + column > width {
                parts.push(start..at);
                (start, used) = (at, INDENT.len());
            }
            used += column + 1;
        }
        parts.push(start..widths.len());
        parts
    }

    fn lines(&self, columns: Range<usize>, colours: bool) -> Vec<String> {
        let mut table = self.table(columns);
        if colours {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 1));
        }
        table.lines().collect()
    }

    fn table(&self, columns: Range<usize>) -> Table {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        let bold = |text: &str| Cell::new(text).add_attribute(Attribute::Bold);
        if let Some(headings) = self
            .headings
            .get(columns.clone())
            .filter(|all| !all.is_empty())
        {
            table.set_header(headings.iter().map(|text| bold(text)));
        }
        for row in &self.rows {
            let cells = row.iter().enumerate().map(|(at, (text, tone))| {
                // The name of a pair.
                if self.empty.is_none() && at == 0 {
                    bold(text)
                } else {
                    toned(Cell::new(visible(text)), *tone)
                }
            });
            table.add_row(cells.skip(columns.start).take(columns.len()));
        }
        table
    }

    fn columns(&self) -> usize {
        let rows = self.rows.iter().map(Vec::len);
        rows.max().unwrap_or(0).max(self.headings.len())
    }
}

/// The width of the terminal; `COLUMNS` if the output is not one.
fn width() -> usize {
    let terminal = io::stdout().is_terminal();
    let width = terminal.then(|| Table::new().width()).flatten();
    let given = || env::var("COLUMNS").ok()?.parse().ok();
    width.map(usize::from).or_else(given).unwrap_or(WIDTH)
}

/// The usual width of a terminal.
const WIDTH: usize = 80;
/// In front of the second and further lines of a row.
const INDENT: &str = "  ";

fn toned(cell: Cell, tone: Tone) -> Cell {
    match tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Warning => cell.fg(Color::Yellow),
        Tone::Bad => cell.fg(Color::Red),
        Tone::Dim => cell.add_attribute(Attribute::Dim),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(table: &TableView, width: usize) -> String {
        let mut out = Vec::new();
        table.write_within(&mut out, false, width).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_row_that_is_too_wide_has_several_lines_and_no_broken_value() {
        let mut table = TableView::new(["KEY", "NAME", "OWNER"], "none");
        for (key, name) in [("k-1234", "laptop"), ("k-5", "ci")] {
            let plain = |text: &str| (text.to_owned(), Tone::Plain);
            table.row([plain(key), plain(name), plain("user:alice")]);
        }
        let wide = "KEY    NAME   OWNER\nk-1234 laptop user:alice\nk-5    ci     user:alice\n";
        assert_eq!(written(&table, 24), wide);
        let narrow = "KEY    NAME\n  OWNER\nk-1234 laptop\n  user:alice\nk-5    ci\n  user:alice\n";
        assert_eq!(written(&table, 23), narrow);
        assert_eq!(written(&table, 13), narrow);
        assert_eq!(
            written(&table, 1),
            "KEY\n  NAME\n  OWNER\nk-1234\n  laptop\n  user:alice\nk-5\n  ci\n  user:alice\n"
        );
    }

    #[test]
    fn pairs_and_empty_tables_stay_as_they_are() {
        let mut pairs = TableView::pairs();
        pairs.pair("name", "a value").pair("longer", "b");
        assert_eq!(written(&pairs, 4), "name   a value\nlonger b\n");
        assert_eq!(written(&TableView::new(["A"], "none"), 4), "none\n");
    }
}
