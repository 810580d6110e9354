//! How fast a revocation reaches all replicas, and what a large store costs a replica:
//!
//! ```sh
//! cargo bench -p keyfob-nats --bench fleet -- --write ../../README.md
//! ```
//!
//! This process is the authority, with its keys in a SQLite file in a temporary folder. All replicas are
//! in one other process, each with an index and a connection of its own over the loopback; relays are
//! processes too. A revocation is timed from the answer of the keyring until the last replica refuses
//! the key: each replica verifies the key after each line that it has applied, and notes the time. All
//! processes read the same monotonic clock.
//!
//! - `-- --revocations N --keys N`: in place of 10,000 revocations and a million keys
//! - `-- --quick`: 200 revocations and 20,000 keys
//! - `-- --only TEXT`: only the rows whose name contains the text
//! - `-- --starts`: only the starts with many keys
//! - `-- --write ../../README.md`: writes the tables between the `<!-- fleet -->` marks of the file
//!
//! Rows that take long each time, and those of 1,000 replicas, have fewer revocations: the table says how
//! many. Without a NATS server the rows of NATS are left out.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "the table is what the benchmark is for"
)]
#![expect(clippy::expect_used, reason = "a benchmark may stop")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]

mod authority;
mod case;
mod process;
mod relay;
mod replicas;
mod starts;
mod table;

use std::{env, process::ExitCode};

use case::{Case, Cut, Through};
use keyfob_testkit::nats;
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    match arguments.next().as_deref() {
        Some(replicas::ROLE) => runtime().block_on(replicas::run(arguments)),
        Some(relay::ROLE) => runtime().block_on(relay::run(arguments)),
        _ => match Options::read() {
            Some(options) => measure(&options),
            None => return ExitCode::FAILURE,
        },
    }
    ExitCode::SUCCESS
}

fn measure(options: &Options) {
    let runtime = runtime();
    let mut table = String::from(table::HEAD);
    let asked = |case: &&Case| {
        let only = options.only.as_deref().unwrap_or_default();
        !options.starts && case.name().contains(only)
    };
    for case in CASES.iter().filter(asked) {
        if case.through == Through::Nats && nats::program().is_none() {
            continue;
        }
        let times = (options.revocations / case.share).max(LEAST);
        let (times, out_of_step) = runtime.block_on(case.measure(times));
        let name = match out_of_step {
            0 => case.name(),
            some => format!("{} ({some} times a relay read over HTTP)", case.name()),
        };
        table::row(&mut table, &name, times);
    }
    if options.starts || options.only.is_none() {
        runtime.block_on(starts::measure(options.keys, options.starts, &mut table));
    }
    print!("{table}");
    if let Some(path) = &options.write {
        table::write_between_marks(path, &table);
    }
}

/// The least number of revocations for a row.
const LEAST: usize = 10;

const CASES: &[Case] = &[
    Case::of(1),
    Case::of(1).busy().every(5),
    Case::of(8),
    Case::of(8).busy(),
    Case::of(100),
    Case::of(100).busy().every(5),
    Case::of(1_000).every(20),
    Case::of(8).through(Through::OtherProcess).every(10),
    Case::of(8).cut(Cut::Streams).every(20),
    Case::of(100).cut(Cut::Streams).every(50),
    Case::of(8).through(Through::Relays).every(5),
    Case::of(8)
        .through(Through::Relays)
        .cut(Cut::Relay)
        .every(50),
    Case::of(100)
        .through(Through::Relays)
        .cut(Cut::Relay)
        .every(100),
    Case::of(1).through(Through::Nats).every(5),
    Case::of(8).through(Through::Nats),
    Case::of(100).through(Through::Nats).every(5),
];

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made")
}

struct Options {
    revocations: usize,
    keys: usize,
    only: Option<String>,
    starts: bool,
    write: Option<String>,
}

impl Options {
    fn read() -> Option<Self> {
        let mut options = Self {
            revocations: 10_000,
            keys: 1_000_000,
            only: None,
            starts: false,
            write: None,
        };
        let mut arguments = env::args().skip(1);
        let number = |text: Option<String>| {
            let number = text.and_then(|text| text.parse().ok());
            number.expect("the option takes a number")
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => (options.revocations, options.keys) = (200, 20_000),
                "--revocations" => options.revocations = number(arguments.next()),
                "--keys" => options.keys = number(arguments.next()),
                "--only" => options.only = Some(arguments.next().expect("--only takes a text")),
                "--starts" => options.starts = true,
                "--write" => options.write = Some(arguments.next().expect("--write takes a path")),
                // Cargo's own.
                "--bench" => {}
                other => {
                    eprintln!(
                        "{other}: unknown; the options are --quick, --revocations N, --keys N, --only TEXT, --starts, --write FILE"
                    );
                    return None;
                }
            }
        }
        Some(options)
    }
}
