//! Tables.

use std::io;

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

use super::visible;

/// A table with a heading for each column, or pairs of a name and a value. Control characters are
/// escaped.
#[derive(Debug)]
pub(crate) struct TableView {
    table: Table,
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
        let mut table = bare();
        table.set_header(headings.map(|text| Cell::new(text).add_attribute(Attribute::Bold)));
        Self {
            table,
            empty: Some(empty),
        }
    }

    /// Pairs of a name and a value.
    pub(crate) fn pairs() -> Self {
        Self {
            table: bare(),
            empty: None,
        }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [(String, Tone); N]) {
        self.table
            .add_row(cells.map(|(text, tone)| toned(Cell::new(visible(&text)), tone)));
    }

    pub(crate) fn pair(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.toned_pair(name, value, Tone::Plain)
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "a value of any type with a text"
    )]
    pub(crate) fn toned_pair(&mut self, name: &str, value: impl ToString, tone: Tone) -> &mut Self {
        let name = Cell::new(name).add_attribute(Attribute::Bold);
        self.table
            .add_row([name, toned(Cell::new(visible(&value.to_string())), tone)]);
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
    pub(crate) fn write(mut self, out: &mut impl io::Write, colours: bool) -> io::Result<()> {
        match self.empty {
            Some(text) if self.table.is_empty() => writeln!(out, "{text}")?,
            _ => {
                if colours {
                    self.table.enforce_styling();
                } else {
                    self.table.force_no_tty();
                }
                for column in self.table.column_iter_mut() {
                    column.set_padding((0, 1));
                }
                for line in self.table.lines() {
                    writeln!(out, "{}", line.trim_end())?;
                }
            }
        }
        out.flush()
    }
}

fn bare() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn toned(cell: Cell, tone: Tone) -> Cell {
    match tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Warning => cell.fg(Color::Yellow),
        Tone::Bad => cell.fg(Color::Red),
        Tone::Dim => cell.add_attribute(Attribute::Dim),
    }
}
