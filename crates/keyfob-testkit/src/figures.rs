//! Tables of figures in documents, which benchmarks write.

use std::{env, fs};

/// Prints a table, and writes it between the marks `<!-- NAME -->` and `<!-- /NAME -->` of a file if the
/// arguments of the program have `--write FILE`.
///
/// # Panics
///
/// If the file cannot be written, or does not have the marks.
#[expect(clippy::print_stdout, reason = "a benchmark shows its table")]
pub fn show(name: &str, table: &str) {
    print!("{table}");
    let mut arguments = env::args().skip_while(|argument| argument != "--write");
    if arguments.next().is_none() {
        return;
    }
    let path = arguments.next().expect("--write takes a path");
    let text = fs::read_to_string(&path).expect("the file can be read");
    let text = between_marks(name, &text, table).expect("the file has the marks");
    fs::write(path, text).expect("the file can be written");
}

/// A text with this table between its marks.
fn between_marks(name: &str, text: &str, table: &str) -> Option<String> {
    let (first, last) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = text.split_once(&first)?;
    let (_, after) = rest.split_once(&last)?;
    Some([before, &first, table, &last, after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_what_is_between_its_marks() {
        let text = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n<!-- y -->\n<!-- /y -->\n";
        let written = between_marks("x", text, "| new |\n").unwrap();
        assert_eq!(
            written,
            "a\n<!-- x -->\n| new |\n<!-- /x -->\nb\n<!-- y -->\n<!-- /y -->\n"
        );
        assert_eq!(between_marks("z", text, ""), None);
    }
}
