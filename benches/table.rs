//! The figures that the README quotes: `cargo bench --bench table`.
//!
//! All cases are measured in turns in one run and reported as a ratio to the one hash that every
//! verification computes. Absolute times depend on the machine; ratios depend on the library.
//!
//! Populations that are larger than the caches are measured twice: with pages of 4 KiB, and in a
//! child process whose allocator requests huge pages.
//!
//! - `-- --keys N`: one more population size; 10,000,000 keys need 5 GB
//! - `-- --quick`: few rounds, for a rough result
//! - `-- --write README.md`: writes the table between the `<!-- figures -->` marks of the file

#![expect(
    clippy::print_stdout,
    reason = "the table is what the benchmark is for"
)]
#![expect(clippy::expect_used, clippy::panic, reason = "a benchmark may stop")]
#![expect(unsafe_code, reason = "an allocator that counts is unsafe to write")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]

mod population;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    env,
    fmt::Write as _,
    fs,
    hint::black_box,
    process::Command,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use keyfob::{
    Access, Actor, Timestamp,
    key::{PepperId, Peppers, PresentedKey},
    manage::{Revocation, RevocationCause, Status},
    store::Item,
};
use population::{Feed, NOW, Population, Sequence, basic, issue, unknown, wrong};
use ring::{digest, hmac};

/// Calls that are timed together. Their texts and names are warm in L1, as they would be for a
/// request that was just read.
const BATCH: usize = 128;
/// Batches before the measured one: together they verify each of a thousand keys.
const WARM_UP: usize = 8;

fn main() {
    let options = Options::read();
    if options.is_child {
        for (_, best) in many_keys(&options) {
            println!("{best}");
        }
        println!("{}", huge_kilobytes());
        return;
    }
    let mut table = String::new();
    few_keys(&options, &mut table);
    if options.sizes.len() > 1 {
        both_pages(&options, &mut table);
    }
    threads(&options, &mut table);
    memory(&options, &mut table);
    println!("{table}");
    if let Some(path) = &options.write {
        write_between_marks(path, &table);
    }
}

struct Options {
    sizes: Vec<usize>,
    rounds: usize,
    write: Option<String>,
    /// Whether this is the child process.
    is_child: bool,
}

impl Options {
    fn read() -> Self {
        let mut options = Self {
            sizes: vec![1_000, 100_000, 1_000_000],
            rounds: 300,
            write: None,
            is_child: false,
        };
        let mut arguments = env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => {
                    options.rounds = 50;
                    options.sizes.truncate(1);
                }
                "--keys" => {
                    let keys = arguments.next().and_then(|keys| keys.parse().ok());
                    options.sizes.push(keys.expect("--keys takes a number"));
                }
                "--write" => options.write = Some(arguments.next().expect("--write takes a path")),
                Self::CHILD => options.is_child = true,
                // An argument that cargo adds.
                "--bench" => {}
                other => panic!(
                    "{other}: unknown option; the options are --quick, --keys N and --write FILE"
                ),
            }
        }
        options
    }

    const CHILD: &str = "--many-keys-only";
}

/// The input of a batch of calls: texts and names, adjacent in memory.
#[derive(Default)]
struct Batch {
    bytes: String,
    /// The end of each text, and of the name after it.
    ends: Vec<(usize, usize)>,
}

impl Batch {
    fn fill(&mut self, mut next: impl FnMut(&mut String) -> String) {
        self.bytes.clear();
        self.ends.clear();
        for _ in 0..BATCH {
            let name = next(&mut self.bytes);
            let middle = self.bytes.len();
            self.bytes.push_str(&name);
            self.ends.push((middle, self.bytes.len()));
        }
    }

    fn time(&self, mut call: impl FnMut(&[u8], &str)) -> Duration {
        let mut at = 0;
        let calls = self.ends.iter().map(|&(middle, end)| {
            let text = &self.bytes[at..middle];
            at = end;
            (text.as_bytes(), &self.bytes[middle..end])
        });
        let calls = black_box(calls.collect::<Vec<_>>());
        let start = Instant::now();
        for (text, name) in calls {
            call(text, name);
        }
        start.elapsed()
    }
}

/// A case: fills a batch, and times it.
struct Case<'a> {
    name: String,
    unit: usize,
    run: Run<'a>,
    times: Vec<Duration>,
}

type Run<'a> = Box<dyn FnMut(&mut Batch) -> Duration + 'a>;

impl<'a> Case<'a> {
    /// A case that is reported as a ratio to the first case.
    fn new(name: impl Into<String>, run: impl FnMut(&mut Batch) -> Duration + 'a) -> Self {
        Self {
            name: name.into(),
            unit: 0,
            run: Box::new(run),
            times: Vec::new(),
        }
    }

    /// Reports the case as a ratio to the second case.
    fn relative_to_hmac(self) -> Self {
        Self { unit: 1, ..self }
    }
}

/// Measures all cases with the smallest population, which fits the caches.
fn few_keys(options: &Options, table: &mut String) {
    let population = Population::new(options.sizes[0]);
    let pepper = PepperId::new(1).expect("not zero");
    let peppers = Peppers::none()
        .with_current(pepper, &[9; 32])
        .expect("long enough");
    let peppered = Population::with(options.sizes[0], &peppers, |_| ());
    let expired = Population::with(options.sizes[0], &Peppers::none(), |record| {
        record.expires_at = Some(Timestamp::from_unix(NOW.as_unix() - 1));
    });
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let mut cases = vec![
        bare_sha(),
        Case::new("bare `ring` HMAC-SHA-256 of 55 bytes", move |batch| {
            batch.fill(|_| String::new());
            batch.time(|_, _| {
                black_box(&hmac::sign(&key, black_box(&BLOCK)));
            })
        })
        .relative_to_hmac(),
    ];
    cases.extend(cases_of_one_size(&population, &expired));
    let under_pepper = verify(&peppered, Distribution::Uniform, same_text, Way::Text);
    cases
        .push(Case::new("valid key under a pepper, to bare HMAC", under_pepper).relative_to_hmac());
    let best = take_turns(&mut cases, options.rounds);
    let size = grouped(options.sizes[0]);
    let _ = writeln!(
        table,
        "| one thread, {size} keys | ns | ratio |\n|---|---:|---:|"
    );
    for (case, nanos) in cases.iter().zip(&best) {
        let ratio = nanos / best[case.unit];
        let _ = writeln!(table, "| {} | {nanos:.0} | {ratio:.2} |", case.name);
    }
}

/// Measures the larger populations, with pages of 4 KiB and with huge pages.
fn both_pages(options: &Options, table: &mut String) {
    let small = many_keys(options);
    let huge = with_huge_pages();
    let _ = writeln!(
        table,
        "\n| one thread, valid key | 4 KiB pages: ns | ratio | huge pages: ns | ratio |\n\
         |---|---:|---:|---:|---:|"
    );
    let bare = |rows: &[f64]| rows.first().copied().unwrap_or(f64::NAN);
    let small_bare = bare(&small.iter().map(|(_, nanos)| *nanos).collect::<Vec<_>>());
    for (at, (name, nanos)) in small.iter().enumerate() {
        let _ = write!(table, "| {name} | {nanos:.0} | {:.2} |", nanos / small_bare);
        let _ = match huge.get(at) {
            Some(nanos) => writeln!(table, " {nanos:.0} | {:.2} |", nanos / bare(&huge)),
            None => writeln!(table, " | |"),
        };
    }
}

/// Returns the cost of the bare hash, and of a valid key in each of the larger populations.
fn many_keys(options: &Options) -> Vec<(String, f64)> {
    let populations: Vec<_> = options.sizes[1..]
        .iter()
        .map(|size| Population::new(*size))
        .collect();
    let mut cases = vec![bare_sha()];
    for population in &populations {
        let keys = grouped(population.len());
        for (name, distribution) in [
            ("uniform", Distribution::Uniform),
            (
                "nine calls of ten to one key of a hundred",
                Distribution::Skewed,
            ),
        ] {
            let run = verify(population, distribution, same_text, Way::Text);
            cases.push(Case::new(format!("{keys} keys, {name}"), run));
        }
    }
    let best = take_turns(&mut cases, options.rounds);
    cases.into_iter().map(|case| case.name).zip(best).collect()
}

/// Runs [`many_keys`] in a process whose allocator requests huge pages, through glibc's tunable.
/// Returns nothing if the process got none.
fn with_huge_pages() -> Vec<f64> {
    let this = env::current_exe().expect("the benchmark has a path");
    let output = Command::new(this)
        .args(env::args().skip(1))
        .arg(Options::CHILD)
        .env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
        .output()
        .expect("the benchmark runs");
    let output = String::from_utf8(output.stdout).expect("the child writes numbers");
    let mut rows: Vec<f64> = output
        .lines()
        .map(|line| line.parse().expect("the child writes numbers"))
        .collect();
    let kilobytes = rows.pop().unwrap_or_default();
    if kilobytes > 0.0 { rows } else { Vec::new() }
}

/// Returns how much of this process's memory is in huge pages.
fn huge_kilobytes() -> usize {
    let maps = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    maps.lines()
        .find_map(|line| line.strip_prefix("AnonHugePages:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or_default()
}

fn bare_sha() -> Case<'static> {
    Case::new("bare `ring` SHA-256 of 55 bytes", |batch| {
        batch.fill(|_| String::new());
        batch.time(|_, _| {
            black_box(&digest::digest(&digest::SHA256, black_box(&BLOCK)));
        })
    })
}

const BLOCK: [u8; 55] = [7; 55];

/// Times every case in every round. Returns the minimum of each in nanoseconds per call, which
/// excludes interference by other processes.
fn take_turns(cases: &mut [Case<'_>], rounds: usize) -> Vec<f64> {
    let mut batch = Batch::default();
    for _ in 0..rounds {
        for case in &mut *cases {
            // The keys and the code of the other cases have evicted this case's from the cache.
            for _ in 0..WARM_UP {
                (case.run)(&mut batch);
            }
            let times = (0..WARM_UP).map(|_| (case.run)(&mut batch));
            case.times.extend(times);
        }
    }
    cases
        .iter()
        .map(|case| {
            let best = case.times.iter().min().expect("there was a round");
            best.as_secs_f64() * 1e9 / BATCH as f64
        })
        .collect()
}

fn cases_of_one_size<'a>(population: &'a Population, expired: &'a Population) -> Vec<Case<'a>> {
    use Distribution::Uniform;
    let format = population.format;
    let not_a_key = |_, _: &str| "not a key".to_owned();
    let unknown: Vec<String> = (0..BATCH).map(|_| unknown(&format)).collect();
    let strangers = unknown.clone();
    let (mut texts, mut strays) = (Sequence::new(5), Sequence::new(6));
    vec![
        Case::new("reading a text as a key", move |batch| {
            batch.fill(|bytes| {
                bytes.push_str(population.text(texts.below(population.len())));
                String::new()
            });
            batch.time(|text, _| {
                black_box(PresentedKey::parse(&format, black_box(text)).is_ok());
            })
        }),
        Case::new(
            "valid key",
            verify(population, Uniform, same_text, Way::Text),
        ),
        Case::new(
            "valid key, `Bearer` header",
            verify(
                population,
                Uniform,
                |_, text| format!("Bearer {text}"),
                Way::Header,
            ),
        ),
        Case::new(
            "valid key, `Basic` header",
            verify(population, Uniform, |_, text| basic(text), Way::Header),
        ),
        Case::new(
            "unknown key",
            verify(
                population,
                Uniform,
                move |n, _| strangers[n % BATCH].clone(),
                Way::Text,
            ),
        ),
        Case::new(
            "wrong secret",
            verify(
                population,
                Uniform,
                move |n, text| wrong(text, &unknown[n % BATCH]),
                Way::Text,
            ),
        ),
        Case::new(
            "expired key",
            verify(expired, Uniform, same_text, Way::Text),
        ),
        Case::new("key of another namespace", move |batch| {
            batch.fill(|bytes| {
                bytes.push_str(population.text(strays.below(population.len())));
                "fn-somebody-else's".into()
            });
            batch.time(|text, name| call(population, text, name, Way::Text))
        }),
        Case::new(
            "garbage text",
            verify(population, Uniform, not_a_key, Way::Text),
        ),
        Case::new(
            "garbage header",
            verify(
                population,
                Uniform,
                |_, _| "Basic bm90IGEga2V5".into(),
                Way::Header,
            ),
        ),
    ]
}

fn same_text(_: usize, text: &str) -> String {
    text.to_owned()
}

#[derive(Clone, Copy)]
enum Distribution {
    Uniform,
    Skewed,
}

#[derive(Clone, Copy)]
enum Way {
    Text,
    Header,
}

#[expect(
    clippy::inline_always,
    reason = "the call overhead of the benchmark must not be measured"
)]
#[inline(always)]
fn call(population: &Population, text: &[u8], namespace: &str, way: Way) {
    let (verifier, access) = (&population.verifier, Access::to(namespace));
    let verdict = match way {
        Way::Text => verifier.verify_text(black_box(text), &access, NOW),
        Way::Header => verifier.verify_header(black_box(text), &access, NOW),
    };
    black_box(verdict.is_ok());
}

/// Verifies the texts that `present` returns for the number and the text of keys.
fn verify<'a>(
    population: &'a Population,
    distribution: Distribution,
    mut present: impl FnMut(usize, &str) -> String + 'a,
    way: Way,
) -> impl FnMut(&mut Batch) -> Duration + 'a {
    let mut sequence = Sequence::new(7);
    move |batch| {
        batch.fill(|bytes| {
            let n = match distribution {
                Distribution::Uniform => sequence.below(population.len()),
                Distribution::Skewed => sequence.skewed_below(population.len()),
            };
            bytes.push_str(&present(n, population.text(n)));
            population.namespace(n).to_owned()
        });
        batch.time(|text, name| call(population, text, name, way))
    }
}

/// Compares the throughput of two threads with that of one.
fn threads(options: &Options, table: &mut String) {
    let population = Population::new(1_000);
    let slice = Duration::from_millis(if options.sizes.len() > 1 { 200 } else { 50 });
    let _ = writeln!(table, "\n| two threads against one | ratio |\n|---|---:|");
    for (name, one_key) in [("all keys", false), ("one and the same key", true)] {
        let ratio = best_of_rounds(&population, slice, one_key);
        let _ = writeln!(table, "| {name} | {ratio:.2} |");
    }
    let (ratio, keys) = with_writer(&population, slice);
    let _ = writeln!(
        table,
        "| one and the same key, while {} keys per second are created, revoked and deleted | {ratio:.2} |",
        grouped(keys)
    );
}

fn best_of_rounds(population: &Population, slice: Duration, one_key: bool) -> f64 {
    let mut best = [0_usize; 2];
    for _ in 0..10 {
        for (best, threads) in best.iter_mut().zip([1, 2]) {
            *best = throughput(population, threads, slice, one_key).max(*best);
        }
    }
    best[1] as f64 / best[0] as f64
}

/// Returns how many calls this many threads complete together in a time slice.
fn throughput(population: &Population, threads: usize, slice: Duration, one_key: bool) -> usize {
    let (done, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let start = Barrier::new(threads + 1);
    thread::scope(|scope| {
        for seed in 0..threads {
            let (done, calls, start) = (&done, &calls, &start);
            scope.spawn(move || {
                let mut sequence = Sequence::new(seed as u64 * 2 + 1);
                let mut batch = Batch::default();
                batch.fill(|bytes| {
                    let n = if one_key {
                        0
                    } else {
                        sequence.below(population.len())
                    };
                    bytes.push_str(population.text(n));
                    population.namespace(n).to_owned()
                });
                start.wait();
                let mut own = 0;
                while !done.load(Ordering::Relaxed) {
                    batch.time(|text, name| call(population, text, name, Way::Text));
                    own += BATCH;
                }
                calls.fetch_add(own, Ordering::Relaxed);
            });
        }
        start.wait();
        thread::sleep(slice);
        done.store(true, Ordering::Relaxed);
    });
    calls.into_inner()
}

/// Runs [`best_of_rounds`] while a third thread creates, revokes and deletes keys. Also returns the
/// number of keys per second.
///
/// The writer sleeps between keys. With two processors it shares one with a reader, which reduces
/// the measured throughput. With a sleep of 0.1 ms, and keys that were generated in advance, the
/// readers lose only a few hundredths.
fn with_writer(population: &Population, slice: Duration) -> (f64, usize) {
    let done = AtomicBool::new(false);
    let mut feed = population.feed.clone();
    let none = Peppers::none();
    let keys = issue(&population.format, &none).take(1_000);
    let records: Vec<_> = keys.map(|(_, record)| record).collect();
    let started = Instant::now();
    thread::scope(|scope| {
        let done = &done;
        let writer = scope.spawn(move || {
            let mut keys = 0;
            for record in records.into_iter().cycle() {
                let (id, tenant) = (record.id, record.tenant.clone());
                let mut revoked = record.clone();
                revoked.status = Status::Revoked(Revocation {
                    at: NOW,
                    by: Actor::system(),
                    cause: RevocationCause::Key,
                    reason: None,
                });
                feed.apply([Item::Key(record)], false);
                feed.apply([Item::Key(revoked)], false);
                feed.apply([Item::KeyDeleted { id, tenant }], false);
                keys += 1;
                if done.load(Ordering::Relaxed) {
                    break;
                }
                thread::sleep(Duration::from_micros(100));
            }
            keys
        });
        let ratio = best_of_rounds(population, slice, true);
        done.store(true, Ordering::Relaxed);
        let keys = writer.join().expect("the writer ends");
        (
            ratio,
            (f64::from(keys) / started.elapsed().as_secs_f64()) as usize,
        )
    })
}

/// Measures the memory of an index per key, without the text of names, which is shared with the
/// caller.
fn memory(options: &Options, table: &mut String) {
    let _ = writeln!(table, "\n| memory of an index | bytes a key |\n|---|---:|");
    let format = Population::new(0).format;
    for size in &options.sizes {
        let before = live_bytes();
        let mut feed = Feed::new(format, &Peppers::none());
        let mut taken = live_bytes() - before;
        let none = Peppers::none();
        let mut records = issue(&format, &none).map(|(_, record)| Item::Key(record));
        for _ in 0..size.div_ceil(1_000) {
            let part: Vec<_> = records.by_ref().take(1_000).collect();
            let changes = feed.changes(part, false);
            let before = live_bytes();
            feed.index
                .apply(&changes, NOW)
                .expect("the feed fits the index");
            taken += live_bytes() - before;
        }
        let _ = writeln!(
            table,
            "| {} keys | {} |",
            grouped(*size),
            taken / *size as isize
        );
    }
}

/// An allocator that counts the allocated bytes.
struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

fn live_bytes() -> isize {
    LIVE.load(Ordering::Relaxed)
}

// SAFETY: every call is forwarded to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Formats a number as in `1,000,000`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn write_between_marks(path: &str, table: &str) {
    let text = fs::read_to_string(path).expect("the file can be read");
    let (head, rest) = text.split_once("<!-- figures -->\n").expect("a mark");
    let (_, tail) = rest.split_once("<!-- /figures -->").expect("another mark");
    let text = format!("{head}<!-- figures -->\n{table}<!-- /figures -->{tail}");
    fs::write(path, text).expect("the file can be written");
}
