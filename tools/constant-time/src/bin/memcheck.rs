//! Follows digests and secrets through the library under valgrind's memcheck, which reports every
//! jump and every address that depends on one. Only the verdict may be reported.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    hint::black_box,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use keyfob::{
    DenyReason, Verifier, authorization,
    gateway::Credential,
    key::{KeyDigest, PepperId, Peppers, PresentedKey},
    legacy::PresentedLegacy,
};
use keyfob_constant_time::{
    leaky,
    report::{MARKER, Report, is_marked_public},
    request::{is_heard, is_marked, mark, mark_part, reports, reveal, reveal_part},
    situations::{NOW, SECRET_CHARACTERS, Situation, World, format, issue, plain},
};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let name = env::args().nth(1);
    if let Some(run) = RUNS.iter().find(|run| Some(run.name()) == name) {
        assert!(is_heard(), "to be run under valgrind");
        run.act();
        return Ok(ExitCode::SUCCESS);
    }
    let mut failed = false;
    for run in RUNS {
        match run.decide()? {
            Ok(places) => println!("ok    {:<67} {places}", run.name()),
            Err(fault) => {
                failed = true;
                println!("FAIL  {:<67} {fault}", run.name());
            }
        }
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// What is run in a process of its own.
struct Run {
    what: What,
    marked: Marked,
    peppered: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Parse,
    Compare,
    VerifyText,
    VerifyBearer,
    VerifyBasic,
    VerifyLegacy,
    /// A comparison that stops early.
    LeakyCompare,
    /// A table that is read where a digest says.
    LeakyLookUp,
}

/// What is followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Marked {
    /// The digests that are kept.
    Digests,
    /// These, what is presented as the secret, and the pepper.
    Everything,
}

const RUNS: &[Run] = &[
    run(What::Parse, Marked::Everything, false),
    run(What::Compare, Marked::Everything, false),
    run(What::Compare, Marked::Everything, true),
    run(What::VerifyText, Marked::Digests, false),
    run(What::VerifyText, Marked::Digests, true),
    run(What::VerifyText, Marked::Everything, false),
    run(What::VerifyText, Marked::Everything, true),
    run(What::VerifyBearer, Marked::Digests, false),
    run(What::VerifyBearer, Marked::Everything, false),
    run(What::VerifyBearer, Marked::Everything, true),
    run(What::VerifyBasic, Marked::Digests, false),
    run(What::VerifyBasic, Marked::Digests, true),
    run(What::VerifyLegacy, Marked::Digests, false),
    run(What::VerifyLegacy, Marked::Everything, false),
    run(What::VerifyLegacy, Marked::Everything, true),
    run(What::LeakyCompare, Marked::Digests, false),
    run(What::LeakyLookUp, Marked::Digests, false),
];

const fn run(what: What, marked: Marked, peppered: bool) -> Run {
    Run {
        what,
        marked,
        peppered,
    }
}

/// In the process that starts valgrind.
impl Run {
    fn name(&self) -> String {
        let what = match self.what {
            What::Parse => "read a key",
            What::Compare => "compare a key with a digest",
            What::VerifyText => "verify a text",
            What::VerifyBearer => "verify a Bearer header",
            What::VerifyBasic => "verify a Basic header",
            What::VerifyLegacy => "verify a legacy credential",
            What::LeakyCompare => "control: a comparison that stops early",
            What::LeakyLookUp => "control: a table read where a digest says",
        };
        let pepper = if self.peppered { ", pepper" } else { "" };
        let marked = match self.marked {
            Marked::Digests => "digests",
            Marked::Everything => "digests and secrets",
        };
        format!("{what}{pepper}; {marked} followed")
    }

    fn is_control(&self) -> bool {
        matches!(self.what, What::LeakyCompare | What::LeakyLookUp)
    }

    /// Runs it under valgrind, and judges what was reported: where it may be, or what is wrong.
    fn decide(&self) -> Result<Result<String, String>, Box<dyn Error>> {
        let output = Command::new("valgrind")
            .args(["--tool=memcheck", "--xml=yes", "--xml-fd=1"])
            .args([
                "--error-limit=no",
                "--num-callers=50",
                "--show-leak-kinds=none",
            ])
            .arg(env::current_exe()?)
            .arg(self.name())
            .env_remove("VALGRIND_OPTS")
            .output()?;
        let reports = Report::all_of(str::from_utf8(&output.stdout)?)?;
        if self.is_control() {
            let expected = home().join("src/leaky.rs").canonicalize()?;
            let is_caught = |report: &Report| report.place(&[&expected]).is_some();
            return Ok(if reports.iter().any(is_caught) {
                Ok("caught".to_owned())
            } else {
                Err("the leak was not caught".to_owned())
            });
        }
        let (mut places, mut faults) = (BTreeSet::new(), BTreeSet::new());
        for report in &reports {
            match self.allows(report) {
                Ok(place) => places.insert(place),
                Err(fault) => faults.insert(format!("{fault}: {report}")),
            };
        }
        if !output.status.success() {
            faults.insert(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let list = |all: BTreeSet<String>| all.into_iter().collect::<Vec<_>>();
        Ok(if faults.is_empty() {
            Ok(list(places).join(", "))
        } else {
            Err(list(faults).join("\n"))
        })
    }

    /// The place of a report that may be: what the sources call the verdict, or, where the
    /// presented secret is followed too, what is worked out from it alone.
    fn allows(&self, report: &Report) -> Result<String, String> {
        let folder = |name| home().join(name).canonicalize().expect("the sources");
        let (library, own) = (folder("../../src"), folder("src"));
        if self.marked == Marked::Everything && report.is_within(CHECKSUM) {
            return Ok(CHECKSUM.to_owned());
        }
        match report.place(&[&library, &own]) {
            Some(place) if is_marked_public(&place) => {
                let file = place.file.file_name().unwrap_or_default().display();
                Ok(format!("{file}:{}", place.line))
            }
            Some(place) => Err(format!("{place} is not under a comment \"… {MARKER}\"")),
            None => Err("outside the library".to_owned()),
        }
    }
}

/// The check of a refused secret's checksum. It reads tables where the presented characters say,
/// and nothing that is kept.
const CHECKSUM: &str = "checksum_fits";

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// In the process under valgrind. A panic fails the run.
impl Run {
    fn act(&self) {
        let pepper = [7; Peppers::LEN_MIN];
        if self.marked == Marked::Everything {
            mark(&pepper);
        }
        let peppers = if self.peppered {
            let id = PepperId::new(1).expect("a number");
            Peppers::none().with_current(id, &pepper).expect("a pepper")
        } else {
            Peppers::none()
        };
        match self.what {
            What::Parse => parse(),
            What::Compare => compare(&peppers),
            What::VerifyText | What::VerifyBearer | What::VerifyBasic => {
                self.verify(&World::of_keys(&peppers, mark_digest));
            }
            What::VerifyLegacy => self.verify(&World::of_legacy(&peppers, mark_digest)),
            What::LeakyCompare => {
                let digests = [[1u8; 32], [2; 32]];
                mark(&digests);
                black_box(leaky::same(&digests[0], &digests[1]));
            }
            What::LeakyLookUp => {
                let digest = [1; 32];
                mark(&digest);
                black_box(leaky::look_up(&[0; 256], &digest));
            }
        }
    }

    fn verify(&self, world: &World) {
        assert_eq!(
            reports(),
            0,
            "an index took digests over and looked at them"
        );
        for situation in &world.situations {
            let verdict = self.verdict(&world.verifier, situation);
            reveal(&verdict);
            assert_eq!(verdict, situation.verdict, "{}", situation.name);
        }
    }

    /// The verdict on a situation. What is followed must come as far as the verdict, or the run
    /// would show nothing.
    fn verdict(&self, verifier: &Verifier, situation: &Situation) -> Result<(), DenyReason> {
        let before = reports();
        let access = situation.access();
        let text = situation.text.as_bytes();
        let verdict = match self.what {
            What::VerifyBasic => {
                let header = format!("Basic {}", STANDARD.encode(text)).into_bytes();
                verifier.verify_header(&header, &access, NOW).map(drop)
            }
            What::VerifyBearer => {
                let header = [b"Bearer ", text].concat();
                self.mark_end(&header, SECRET_CHARACTERS);
                verifier.verify_header(&header, &access, NOW).map(drop)
            }
            What::VerifyLegacy => {
                // Reading it checks its alphabet: the presenter's own, and not followed.
                let legacy = PresentedLegacy::parse(text).expect("a legacy credential");
                self.mark_end(text, LEGACY_CHARACTERS);
                let credential = Credential::Legacy(legacy);
                verifier.verify(&credential, &access, NOW).map(drop)
            }
            _ => {
                self.mark_end(text, SECRET_CHARACTERS);
                verifier.verify_text(text, &access, NOW).map(drop)
            }
        };
        // An unknown id may be compared with the line of another key.
        let is_reported = reports() > before || !situation.known;
        assert!(is_reported, "{}: nothing came to a verdict", situation.name);
        verdict.map_err(|denied| denied.reason())
    }

    fn mark_end(&self, text: &[u8], characters: usize) {
        if self.marked == Marked::Everything {
            mark_part(text, text.len() - characters..text.len());
        }
    }
}

/// Reads keys whose secrets are followed.
fn parse() {
    let (_, key) = issue(plain(), &Peppers::none());
    let text = key.expose().as_bytes();
    mark_part(text, text.len() - SECRET_CHARACTERS..text.len());
    assert!(PresentedKey::parse(&format(), text).is_ok());
    let (id, secret) = text.split_at(text.len() - SECRET_CHARACTERS - "dof_sk_".len());
    let id = id.strip_suffix(b":").expect("a colon");
    assert!(PresentedKey::from_pair(&format(), id, secret).is_ok());
    let header = [b"Bearer ", text].concat();
    let mut buffer = authorization::HeaderBuffer::new();
    assert!(authorization::parse(&format(), &header, &mut buffer).is_ok());
    assert!(header.last().copied().is_some_and(is_marked));
    assert_eq!(reports(), 0, "reading looks at the secret");
}

/// Compares a key with digests that are right, and wrong in one byte and in all.
fn compare(peppers: &Peppers) {
    let (record, key) = issue(plain(), peppers);
    let text = key.expose().as_bytes();
    let presented = PresentedKey::parse(&format(), text).expect("a key");
    let digits = {
        // Under a followed pepper the digest is followed too, and cannot be written.
        let digest = record.digest;
        reveal(&digest);
        digest.to_text()
    };
    mark_part(text, text.len() - SECRET_CHARACTERS..text.len());
    let first = digits.len() - DIGEST_DIGITS;
    for (wrong, equal) in [
        (0..0, true),
        (first..first + 2, false),
        (digits.len() - 2..digits.len(), false),
        (first..digits.len(), false),
    ] {
        let mut changed = digits.clone();
        let others: String = digits[wrong.clone()].chars().map(other_digit).collect();
        changed.replace_range(wrong, &others);
        let mut digest = KeyDigest::from_text(&changed).expect("a digest");
        mark_digest(&mut digest);
        let answer = digest.matches(&presented, peppers);
        assert!(is_marked(answer.into()), "the answer follows from nothing");
        reveal(&answer);
        assert_eq!(black_box(answer), equal);
    }
    assert_eq!(reports(), 0, "the comparison branches");
}

fn other_digit(digit: char) -> char {
    if digit == '0' { '1' } else { '0' }
}

/// Marks all of a digest but the number of its pepper, which is public.
fn mark_digest(digest: &mut KeyDigest) {
    let mut public = 0;
    for at in 0..size_of::<KeyDigest>() {
        mark_part(digest, at..at + 1);
        if is_marked(digest.pepper().map_or(0, PepperId::get)) {
            reveal_part(digest, at..at + 1);
            public += 1;
        }
    }
    assert_eq!(public, 1, "the number of a pepper is one byte");
}

const LEGACY_CHARACTERS: usize = 64;
const DIGEST_DIGITS: usize = 64;
