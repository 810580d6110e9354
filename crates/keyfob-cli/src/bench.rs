//! `keyfob bench`

use std::{
    hint::black_box,
    num::NonZeroUsize,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use keyfob::{Access, Context, IssuedKey, Keyring, MemoryStore, NewKey, Timestamp, Verifier};
use ring::digest::{SHA256, digest};
use serde::Serialize;

use crate::{
    failure::Failure,
    moment,
    terminal::{Progress, TableView, Terminal, Tone},
};

/// Measure how many calls a second this machine verifies, against keys made for it in memory
///
/// The ratio is to one bare SHA-256 of as many bytes, measured in turns in the same run: it tells
/// more than the times do, which change with the machine's other work.
#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// How many keys there are
    #[arg(long, default_value_t = 10_000)]
    keys: u32,

    /// How long each measurement takes
    #[arg(long, value_name = "TIME", value_parser = moment::parse_span, default_value = "1s")]
    time: Duration,

    /// On how many threads besides one [default: as many as run at once here]
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
    /// On each thread.
    ns: f64,
    /// To one bare hash.
    ratio: f64,
}

impl Bench {
    pub(crate) async fn run(&self, terminal: Terminal) -> Result<(), Failure> {
        let Population { verifier, keys } = Population::make(self.keys.max(1)).await?;
        let texts: Vec<&[u8]> = keys.iter().map(|key| key.expose().as_bytes()).collect();
        let all = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let all = self.threads.map_or(all, NonZeroUsize::get);
        let counts = if all > 1 { vec![1, all] } else { vec![1] };

        // In turns, so that what else the machine does meets all of them.
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
                    let judged = verifier.verify_text(text, &Access::to(NAMESPACE), now);
                    assert!(black_box(judged).is_ok(), "every key is valid");
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
                    1 => format!("one thread, {} keys", self.keys),
                    threads => format!("{threads} threads, {} keys", self.keys),
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

/// Keys in memory, and who judges them.
struct Population {
    verifier: Verifier,
    keys: Vec<IssuedKey>,
}

impl Population {
    async fn make(count: u32) -> Result<Self, Failure> {
        let keyring = Keyring::open(MemoryStore::new(), "bench").await?;
        let context = Context::system(Timestamp::UNIX_EPOCH);
        let progress = Progress::of(u64::from(count), "making keys");
        let mut keys = Vec::new();
        for number in 0..count {
            let new = NewKey::for_user("bench", NAMESPACE, "bench", &number.to_string())?;
            keys.push(keyring.create(&context, new).await?.secret);
            progress.step();
        }
        let verifier = keyring.verifier();
        Ok(Self { verifier, keys })
    }
}

/// How many bytes Keyfob hashes for a key.
const HASHED: usize = 55;
const NAMESPACE: &str = "bench";

/// A place far from the one before: a call rarely comes for the same key as the last one.
fn scattered(at: usize, length: usize) -> usize {
    at.wrapping_mul(0x9e37_79b1) % length
}

/// Calls `call` on each of so many threads for this long: how many calls there were, and the time
/// that the threads took together.
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
