//! The table, and where it is written.

use std::{fmt::Write as _, fs, time::Duration};

pub(crate) const HEAD: &str = "| revocation, from the answer to the last replica that refuses | times | p50 | p99 | p99.9 | longest |\n\
     |---|---:|---:|---:|---:|---:|\n";

pub(crate) fn row(table: &mut String, name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| {
        let at = (share * times.len() as f64) as usize;
        times[at.min(times.len() - 1)].as_secs_f64() * 1_000.0
    };
    let row = format!(
        "| {name} | {} | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms |",
        times.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
    );
    eprintln!("{row}");
    let _ = writeln!(table, "{row}");
}

pub(crate) fn write_between_marks(path: &str, table: &str) {
    let text = fs::read_to_string(path).expect("the file can be read");
    let (before, rest) = text.split_once("<!-- fleet -->\n").expect("it has marks");
    let (_, after) = rest.split_once("<!-- /fleet -->").expect("it has marks");
    let text = format!("{before}<!-- fleet -->\n{table}<!-- /fleet -->{after}");
    fs::write(path, text).expect("the file can be written");
}
