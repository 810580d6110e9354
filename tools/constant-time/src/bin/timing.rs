//! Times verification of two classes of credentials, taking turns at random, and asks whether
//! the times differ.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::{array, collections::BTreeSet, env, hint::black_box, process::ExitCode, time::Instant};

use keyfob::{
    Access, IssuedKey, KeyId, Verifier,
    key::{KeyDigest, Peppers, PresentedKey},
    store::{Item, KeyRecord},
};
use keyfob_constant_time::{
    leaky,
    situations::{
        NOW, SECRET_CHARACTERS, format, issue, plain, verifier_of, with_other_character,
        with_secret_of, with_wrong_character,
    },
    welch::{self, Finding},
};

fn main() -> ExitCode {
    let samples = match env::args().nth(1).as_deref() {
        None => SAMPLES,
        Some("--long") => SAMPLES_LONG,
        Some(_) => {
            println!("usage: timing [--long]");
            return ExitCode::FAILURE;
        }
    };
    println!("{samples} calls a pair, {KEYS} keys\n");
    println!("| first class, second class | t | difference | mean | |\n|---|---:|---:|---:|---|");
    if Pairs::new(samples).decide() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// How many keys there are, and texts or digests in a class.
const KEYS: usize = 1_000;
const SAMPLES: usize = 500_000;
const SAMPLES_LONG: usize = 10_000_000;
/// How often a pair that should be alike is timed until it is believed to differ: what leaks,
/// leaks every time; what disturbs the machine does not come every time.
const ATTEMPTS: usize = 3;

/// What a pair is held to.
#[derive(Clone, Copy)]
enum Limit {
    /// Not told apart.
    Alike,
    /// Told apart by no more than this part of the mean.
    Within(f64),
    /// Told apart by far.
    Apart,
}

impl Limit {
    /// Under this, two sets of times are not told apart.
    const T_ALIKE: f64 = 4.5;
    const T_APART: f64 = 50.0;

    fn allows(self, finding: &Finding) -> bool {
        let t = finding.t.abs();
        match self {
            Self::Alike => t < Self::T_ALIKE,
            Self::Within(part) => {
                t < Self::T_ALIKE || finding.difference.abs() < part * finding.mean
            }
            Self::Apart => t > Self::T_APART,
        }
    }

    fn attempts(self) -> usize {
        match self {
            Self::Alike | Self::Within(_) => ATTEMPTS,
            Self::Apart => 1,
        }
    }
}

/// The texts of keys, as they are presented.
type Text = [u8; 83];

struct Pairs {
    samples: usize,
    keys: Vec<(KeyRecord, IssuedKey)>,
    verifier: Verifier,
}

impl Pairs {
    fn new(samples: usize) -> Self {
        let keys: Vec<_> = (0..KEYS)
            .map(|_| issue(plain(), &Peppers::none()))
            .collect();
        let records = keys.iter().map(|(record, _)| Item::Key(record.clone()));
        Self {
            samples,
            verifier: verifier_of(records, &Peppers::none()),
            keys,
        }
    }

    /// Times every pair; whether all keep their limits.
    fn decide(&self) -> bool {
        let ids: BTreeSet<KeyId> = self.keys.iter().map(|(record, _)| record.id).collect();
        let access = Access::to("fn");
        let (_, key) = &self.keys[0];
        let presented = PresentedKey::parse(&format(), key.expose().as_bytes()).expect("a key");
        let peppers = Peppers::none();
        let digests = [0, DIGEST_DIGITS - 1].map(|at| self.wrong_digests(at));
        let mistyped = [0, SECRET_CHARACTERS - 1].map(|at| self.mistyped(at));
        let refused = side_by_side([unknown(), self.wrong()]);
        let strangers = side_by_side([unknown(), unknown()]);
        let bytes = [0, 31].map(|at| array::from_fn(|n| u8::from(n == at)));
        let verify = |text: &Text| self.verifier.verify_text(text, &access, NOW).is_ok();
        [
            self.pair(
                "a digest's first digit wrong, its last",
                Limit::Alike,
                &side_by_side(digests),
                |digest| digest.matches(&presented, &peppers),
            ),
            self.pair(
                "a secret's first character wrong, its last",
                Limit::Alike,
                &side_by_side(mistyped),
                verify,
            ),
            self.pair(
                "unknown id, wrong secret",
                Limit::Within(0.01),
                &refused,
                verify,
            ),
            self.pair(
                "for scale: unknown ids, other unknown ids",
                Limit::Within(0.01),
                &strangers,
                verify,
            ),
            self.pair(
                "control: a comparison that stops early",
                Limit::Apart,
                &[bytes],
                |digest| leaky::same(digest, &[0; 32]),
            ),
            self.pair(
                "control: no hash for an unknown id",
                Limit::Apart,
                &refused,
                |text| leaky::verify(&ids, &self.verifier, text, &access),
            ),
        ]
        .iter()
        .all(|kept| *kept)
    }

    /// Times a pair until it keeps its limit, or was given up.
    fn pair<T: Copy>(
        &self,
        name: &str,
        limit: Limit,
        inputs: &[[T; 2]],
        call: impl Fn(&T) -> bool,
    ) -> bool {
        for attempts_left in (0..limit.attempts()).rev() {
            let finding = self.time(inputs, &call);
            let kept = limit.allows(&finding);
            let Finding {
                t,
                difference,
                mean,
            } = finding;
            let answer = match (kept, attempts_left) {
                (true, _) => "ok",
                (false, 0) => "FAIL",
                (false, _) => "again",
            };
            println!("| {name} | {t:.1} | {difference:.2} ns | {mean:.0} ns | {answer} |");
            if kept {
                return true;
            }
        }
        false
    }

    /// Times calls with inputs of two classes, a random one of a random class each time.
    ///
    /// Both are copied to one place first and go through one call, so that nothing but the input
    /// tells them apart.
    fn time<T: Copy>(&self, inputs: &[[T; 2]], call: impl Fn(&T) -> bool) -> Finding {
        let mut times = [const { Vec::new() }; 2];
        for times in &mut times {
            times.reserve(self.samples);
        }
        let mut random = fastrand::Rng::new();
        for _ in 0..self.samples {
            let class = usize::from(random.bool());
            let input = black_box(inputs[random.usize(..inputs.len())][class]);
            let start = Instant::now();
            black_box(call(&input));
            let time = start.elapsed().as_nanos();
            times[class].push(u32::try_from(time).unwrap_or(u32::MAX));
        }
        let [first, second] = &mut times;
        welch::compare(first, second)
    }
}

/// The credentials of a class.
impl Pairs {
    /// The first key's digest with another digit at this place.
    fn wrong_digests(&self, at: usize) -> Vec<KeyDigest> {
        let digest = self.keys[0].0.digest.to_text();
        let at = digest.len() - DIGEST_DIGITS + at;
        let wrong = |_| with_other_character(&digest, at, "0123456789abcdef");
        (0..KEYS)
            .map(|n| KeyDigest::from_text(&wrong(n)).expect("a digest"))
            .collect()
    }

    /// Every key with another character at this place of its secret.
    fn mistyped(&self, at: usize) -> Vec<Text> {
        let keys = self.keys.iter();
        keys.map(|(_, key)| text(&with_wrong_character(key.expose(), at)))
            .collect()
    }

    /// Every key with a secret of the right form that is not its own.
    fn wrong(&self) -> Vec<Text> {
        let keys = self.keys.iter().zip(unknown_keys());
        keys.map(|((_, key), other)| text(&with_secret_of(key.expose(), other.expose())))
            .collect()
    }
}

/// Inputs of the two classes in pairs, so that no class has the better place in memory.
fn side_by_side<T>([first, second]: [Vec<T>; 2]) -> Vec<[T; 2]> {
    let pairs = first.into_iter().zip(second);
    pairs.map(|(first, second)| [first, second]).collect()
}

/// As many keys that no index knows.
fn unknown() -> Vec<Text> {
    unknown_keys().map(|key| text(key.expose())).collect()
}

fn unknown_keys() -> impl Iterator<Item = IssuedKey> {
    (0..KEYS).map(|_| issue(plain(), &Peppers::none()).1)
}

fn text(text: &str) -> Text {
    text.as_bytes().try_into().expect("the text of a key")
}

const DIGEST_DIGITS: usize = 64;
