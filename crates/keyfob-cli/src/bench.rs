//! `keyfob bench`

use std::{
    hint::black_box,
    num::NonZeroUsize,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use keyfob::{
    Access, Context, IssuedKey, Keyring, MemoryStore, NewKey, Timestamp, Verifier, manage::Policy,
};
use ring::digest::{SHA256, digest};
use serde::Serialize;

use crate::{
    failure::Failure,
    moment,
    terminal::{Progress, TableView, Terminal, Tone, count},
};

/// Measure how many calls per second this machine verifies, with keys in memory
///
/// The ratio to one bare SHA-256 of the same length, measured alternately in the same run, depends
/// less on other load than the times do.
#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// The number of keys
    #[arg(long, default_value_t = 10_000)]
    keys: u32,

    /// The duration of each measurement
    #[arg(long, value_name = "TIME", value_parser = moment::parse_span, default_value = "1s")]
    time: Duration,

    /// Measure one thread and this many [default: the available parallelism]
    #[arg(long)]
    threads: Option<NonZeroUsize>,
}

#[derive(Serialize)]
struct Measured {
    keys: u32,
    hash_ns: f64,
    verifications: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    threads: usize,
    per_second: f64,
    /// Per call, on each thread.
    ns: f64,
    /// The ratio to one bare hash.
    ratio: f64,
}

impl Bench {
    pub(crate) async fn run(&self, terminal: Terminal) -> Result<(), Failure> {
        let Population { verifier, keys } = Population::make(self.keys.max(1)).await?;
        let texts: Vec<&[u8]> = keys.iter().map(|key| key.expose().as_bytes()).collect();
        let all = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let all = self.threads.map_or(all, NonZeroUsize::get);
        let counts = if all > 1 { vec![1, all] } else { vec![1] };

        // Alternately, so that other load affects all of them.
        let turns = 5;
        let slice = self.time / turns;
        let mut hashes = Rate::default();
        let mut rates = vec![Rate::default(); counts.len()];
        for _ in 0..turns {
            hashes.add(measure(slice, 1, |at| {
                let block = texts[at % texts.len()];
                black_box(digest(&SHA256, &block[..HASHED]));
            }));
            for (rate, threads) in rates.iter_mut().zip(&counts) {
                let now = keyfob::now();
                rate.add(measure(slice, *threads, |at| {
                    let text = texts[scattered(at, texts.len())];
                    let verified = verifier.verify_text(text, &Access::to(NAMESPACE), now);
                    assert!(black_box(verified).is_ok(), "every key is valid");
                }));
            }
        }
        let hash_ns = hashes.ns();
        let rows = rates.iter().zip(&counts).map(|(rate, threads)| {
            let ns = rate.ns();
            Row {
                threads: *threads,
                per_second: 1e9 / ns * as_float(*threads),
                ns,
                ratio: ns / hash_ns,
            }
        });
        let measured = Measured {
            keys: self.keys,
            hash_ns,
            verifications: rows.collect(),
        };
        terminal.answer(&measured, Measured::table)
    }
}

impl Measured {
    fn table(&self) -> TableView {
        let mut table = TableView::new(
            ["VERIFICATIONS", "PER SECOND", "NS", "RATIO TO ONE HASH"],
            "",
        );
        let plain = |text: String| (text, Tone::Plain);
        for row in &self.verifications {
            table.row([
                plain(match row.threads {
                    1 => format!("one thread, {}", count(self.keys.into(), "key")),
                    threads => format!("{threads} threads, {}", count(self.keys.into(), "key")),
                }),
                plain(format!("{:.0}", row.per_second)),
                plain(format!("{:.0}", row.ns)),
                plain(format!("{:.2}", row.ratio)),
            ]);
        }
        table.row([
            plain(format!("bare SHA-256 of {HASHED} bytes")),
            plain(format!("{:.0}", 1e9 / self.hash_ns)),
            plain(format!("{:.0}", self.hash_ns)),
            plain("1.00".to_owned()),
        ]);
        table
    }
}

/// Keys in memory, and their verifier.
struct Population {
    verifier: Verifier,
    keys: Vec<IssuedKey>,
}

impl Population {
    async fn make(count: u32) -> Result<Self, Failure> {
        let keyring = Keyring::open(MemoryStore::new(), "bench").await?;
        let context = Context::system(Timestamp::UNIX_EPOCH);
        let progress = Progress::of(u64::from(count), "creating keys");
        let mut keys = Vec::new();
        for number in 0..count {
            // As many for each owner as the policy allows.
            let owner = format!("bench-{}", number / Policy::KEYS_PER_OWNER);
            let new = NewKey::for_user("bench", NAMESPACE, &owner, &number.to_string())?;
            keys.push(keyring.create(&context, new).await?.secret);
            progress.step();
        }
        let verifier = keyring.verifier();
        Ok(Self { verifier, keys })
    }
}

/// The number of bytes that Keyfob hashes per key.
const HASHED: usize = 55;
const NAMESPACE: &str = "bench";

/// A position far from the previous one: consecutive calls rarely use the same key.
fn scattered(at: usize, length: usize) -> usize {
    at.wrapping_mul(0x9e37_79b1) % length
}

/// Calls `call` on each of the threads for this long. Returns the number of calls and the total time
/// of the threads.
fn measure(time: Duration, threads: usize, call: impl Fn(usize) + Sync) -> (u64, Duration) {
    const BATCH: usize = 256;
    let one = |first: usize| {
        let start = Instant::now();
        let mut calls = 0_usize;
        loop {
            for at in 0..BATCH {
                call(first.wrapping_add(calls).wrapping_add(at));
            }
            calls += BATCH;
            let elapsed = start.elapsed();
            if elapsed >= time {
                return (calls as u64, elapsed);
            }
        }
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|number| scope.spawn(move || one(number * 7_919)))
            .collect();
        let done = running.into_iter().filter_map(|thread| thread.join().ok());
        done.fold((0, Duration::ZERO), |sum, one| {
            (sum.0 + one.0, sum.1 + one.1)
        })
    })
}

#[derive(Clone, Copy, Default)]
struct Rate {
    calls: u64,
    time: Duration,
}

impl Rate {
    fn add(&mut self, (calls, time): (u64, Duration)) {
        self.calls += calls;
        self.time += time;
    }

    fn ns(self) -> f64 {
        self.time.as_secs_f64() * 1e9 / as_float(usize::try_from(self.calls).unwrap_or(usize::MAX))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count of calls is far below 2^52"
)]
fn as_float(count: usize) -> f64 {
    count as f64
}
