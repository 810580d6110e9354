//! Counts the instructions of a refusal, under valgrind's callgrind.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    hint::black_box,
    process::{Command, ExitCode},
};

use keyfob::{
    Access, IssuedKey, KeyId,
    key::{KeyDigest, Peppers, SystemRandom},
    store::Item,
};
use keyfob_constant_time::{
    leaky,
    situations::{
        NOW, SECRET_CHARACTERS, format, issue, plain, verifier_of, with_secret_of,
        with_wrong_character,
    },
};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if let Some(name) = env::args().nth(1) {
        let case = CASES.iter().find(|case| case.0 == name);
        case.ok_or("no such case")?.1.act();
        return Ok(ExitCode::SUCCESS);
    }
    println!("| refusal | instructions |\n|---|---:|");
    let mut counts = Vec::new();
    for (name, _) in CASES {
        let count = count(name)?;
        println!("| {name} | {count} |");
        counts.push(count);
    }
    let &[first, middle, last, wrong, unknown, control] = counts.as_slice() else {
        return Err("a count is missing".into());
    };
    let claims = [
        (
            "the place of a wrong character does not tell",
            first == middle && first == last,
        ),
        ("an unknown id does not tell", wrong == unknown),
        (
            "control: without the hash it is not",
            wrong.abs_diff(control) >= HASH_MIN,
        ),
    ];
    println!();
    for (claim, holds) in claims {
        println!("{}  {claim}", if holds { "ok  " } else { "FAIL" });
    }
    Ok(if claims.iter().all(|(_, holds)| *holds) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The least that a hash takes.
const HASH_MIN: u64 = 500;

const CASES: &[(&str, Refusal)] = &[
    ("first character wrong", Refusal::Mistyped(0)),
    (
        "middle character wrong",
        Refusal::Mistyped(SECRET_CHARACTERS / 2),
    ),
    (
        "last character wrong",
        Refusal::Mistyped(SECRET_CHARACTERS - 1),
    ),
    ("wrong secret", Refusal::Wrong),
    ("unknown id", Refusal::Unknown),
    ("control: no hash for an unknown id", Refusal::Control),
];

#[derive(Clone, Copy)]
enum Refusal {
    Mistyped(usize),
    Wrong,
    Unknown,
    Control,
}

fn count(name: &str) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--toggle-collect=*::counted",
            "--callgrind-out-file=/dev/null",
        ])
        .arg(env::current_exe()?)
        .arg(name)
        .env_remove("VALGRIND_OPTS")
        .output()?;
    let log = String::from_utf8(output.stderr)?;
    let count = log
        .split_once("Collected :")
        .map(|(_, count)| count.trim_start());
    let digits = count.and_then(|count| count.split_whitespace().next());
    match digits.map(str::parse) {
        Some(Ok(count)) if count > 0 && output.status.success() => Ok(count),
        _ => Err(log.into()),
    }
}

/// In the process under valgrind.
impl Refusal {
    fn act(self) {
        let (known, unknown) = (key(1), key(2));
        let (mut record, _) = issue(plain(), &Peppers::none());
        record.id = known.id();
        record.digest = KeyDigest::of(&known, &Peppers::none());
        let verifier = verifier_of([Item::Key(record)], &Peppers::none());
        let ids = BTreeSet::from([known.id()]);
        let text = match self {
            Self::Mistyped(at) => with_wrong_character(known.expose(), at),
            Self::Wrong => with_secret_of(known.expose(), unknown.expose()),
            Self::Unknown | Self::Control => unknown.expose().to_owned(),
        };
        let text = black_box(text.as_bytes());
        let access = Access::to("fn");
        let is_accepted = match self {
            Self::Control => counted(|| leaky::verify(&ids, &verifier, text, &access)),
            _ => counted(|| verifier.verify_text(text, &access, NOW).is_ok()),
        };
        assert!(!is_accepted);
    }
}

#[inline(never)]
fn counted(verify: impl FnOnce() -> bool) -> bool {
    black_box(verify())
}

/// A key with an identifier that is always the same, and stands in the same slot.
fn key(id: u8) -> IssuedKey {
    IssuedKey::with_id(&format(), KeyId::from_bytes([id; 16]), &SystemRandom).expect("a key")
}
