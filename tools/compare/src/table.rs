//! The table.

use std::fmt::{self, Write};

use crate::{measure::Case, versions::version};

/// The cases as a table in Markdown. The first is the unit of the ratios.
pub(crate) fn table(cases: &[Case]) -> Result<String, fmt::Error> {
    let unit = cases.first().map_or(f64::NAN, Case::best);
    let mut text = String::from(HEAD);
    for case in cases {
        let what = case.what;
        let version = version(case.package).unwrap_or("?");
        let (best, median) = (grouped(case.best()), grouped(case.median()));
        let (ratio, allocations) = (ratio(case.best() / unit), allocations(case.allocations));
        write!(
            text,
            "| {what} | {version} | {best} | {median} | {ratio} | {allocations} "
        )?;
        match &case.facts {
            Some(facts) => writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                facts.revocation.as_str(),
                facts.expiry.as_str(),
                facts.namespace.as_str(),
                facts.constant_time,
                facts.lacks,
            )?,
            None => writeln!(text, "| | | | | anything but hash |")?,
        }
    }
    Ok(text)
}

const HEAD: &str = "\
| what | version | best (ns) | p50 (ns) | ratio | allocations | immediate revocation | expiry | \
namespace | constant-time compare | what it does not do |
|---|---|---:|---:|---:|---:|---|---|---|---|---|
";

/// A whole number, its thousands apart.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn ratio(ratio: f64) -> String {
    if ratio < 9.995 {
        format!("{ratio:.2}")
    } else {
        grouped(ratio)
    }
}

fn allocations((count, calls): (usize, usize)) -> String {
    if count.is_multiple_of(calls) {
        (count / calls).to_string()
    } else {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let average = count as f64 / calls as f64;
        format!("{average:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_readers() {
        assert_eq!(grouped(7.4), "7");
        assert_eq!(grouped(123.0), "123");
        assert_eq!(grouped(17_800_000.0), "17,800,000");
        assert_eq!(ratio(1.0), "1.00");
        assert_eq!(ratio(9.999), "10");
        assert_eq!(ratio(225_000.0), "225,000");
        assert_eq!(allocations((0, 64)), "0");
        assert_eq!(allocations((128, 64)), "2");
        assert_eq!(allocations((96, 64)), "1.5");
    }

    #[test]
    fn every_line_has_the_columns_of_the_head() {
        let mut cases = [Case::bare_ring()];
        cases[0].rounds = vec![80.0];
        let text = table(&cases).expect("a string takes what it is given");
        let columns = |line: &str| line.matches('|').count();
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().all(|line| columns(line) == 12), "{text}");
        assert!(text.contains("| 80 | 80 | 1.00 | 0 |"), "{text}");
    }
}
