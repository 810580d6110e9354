//! One job, done with Keyfob and with what one would take in its place: *here is the text of a
//! credential; whose is it, and may it enter this namespace, now?*
//!
//! `cargo run --release --locked` prints one table: what a verification costs, as a ratio to one
//! bare SHA-256 measured in the same run, and what each does for it. Every rival is checked
//! before it is timed.

#![expect(clippy::print_stdout, reason = "the table is what the program is for")]

mod allocations;
mod check;
mod measure;
mod rival;
mod rivals;
mod table;
mod versions;

use std::{env, error::Error, time::SystemTime};

use measure::Case;

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = rounds(env::args().skip(1))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let now = now.as_secs().cast_signed();
    let mut cases = vec![Case::bare_ring(), Case::bare_sha2()];
    for mut rival in rivals::all() {
        check::check(&mut *rival, now)?;
        cases.push(Case::new(rival, now)?);
    }
    measure::take_turns(&mut cases, rounds);
    println!("{}", table::table(&cases)?);
    println!(
        "{} keys, one thread, {rounds} rounds. \"caller\": by code around the crate, timed with it.",
        rival::KEYS
    );
    Ok(())
}

/// `--rounds 100`, or that number.
fn rounds(mut arguments: impl Iterator<Item = String>) -> Result<usize, Box<dyn Error>> {
    let rounds = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => 400,
        (Some("--rounds"), Some(number)) => number.parse()?,
        _ => return Err("the only argument is --rounds with a number".into()),
    };
    if rounds == 0 {
        return Err("there must be a round".into());
    }
    Ok(rounds)
}

#[cfg(test)]
mod tests {
    use super::rounds;

    #[test]
    fn reads_the_number_of_rounds() {
        let read = |text: &str| rounds(text.split_whitespace().map(str::to_owned)).ok();
        assert_eq!(read(""), Some(400));
        assert_eq!(read("--rounds 3"), Some(3));
        for wrong in ["3", "--rounds", "--rounds 0", "--rounds x", "--round 3"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
