//! Plays seeds of the simulation: `cargo run -p keyfob-simulation -- --seed 7 --trace`.

use std::{
    io::{self, Write},
    num::NonZero,
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use clap::Parser;
use keyfob_simulation::{Bug, Invariant, Settings, run};

/// Plays the replication of keys with faults, clocks and attackers, and compares it with what is true
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Play this many seeds
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// Begin with this seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Play this many steps with faults in each seed
    #[arg(long, default_value_t = Settings::STEPS)]
    steps: u64,
    /// Play this seed only
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Show the last events also if nothing fails; needs --seed
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Plant a bug
    #[arg(long, value_enum)]
    bug: Option<Bug>,
    /// Check this invariant only
    #[arg(long, value_enum)]
    only: Option<Invariant>,
    /// Play on this many threads [default: the number of cores]
    #[arg(long)]
    threads: Option<NonZero<usize>>,
    /// Go on after a failure, and show them all in short
    #[arg(long)]
    keep_going: bool,
}

fn main() -> io::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut settings = Settings::new(arguments.steps);
    if let Some(bug) = arguments.bug {
        settings = settings.with_bug(bug);
    }
    if let Some(invariant) = arguments.only {
        settings = settings.with_only(invariant);
    }
    let mut out = io::stdout().lock();
    if let Some(seed) = arguments.seed {
        return match run(seed, &settings, true) {
            Ok((summary, trace)) => {
                if arguments.trace {
                    for event in trace {
                        writeln!(out, "{event}")?;
                    }
                }
                writeln!(out, "seed {seed} holds: {summary:?}")?;
                Ok(ExitCode::SUCCESS)
            }
            Err(failure) => {
                writeln!(out, "{failure}")?;
                Ok(ExitCode::FAILURE)
            }
        };
    }
    drop(out);
    let (next, failed) = (AtomicU64::new(arguments.from), AtomicBool::new(false));
    let end = arguments.from.saturating_add(arguments.seeds);
    let threads = arguments
        .threads
        .map_or_else(thread::available_parallelism, Ok)?;
    let played = thread::scope(|scope| {
        let player = || -> io::Result<()> {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                let stop = failed.load(Ordering::Relaxed) && !arguments.keep_going;
                if seed >= end || stop {
                    return Ok(());
                }
                let Err(failure) = run(seed, &settings, false) else {
                    continue;
                };
                failed.store(true, Ordering::Relaxed);
                let mut out = io::stdout().lock();
                if arguments.keep_going {
                    let violation = &failure.violation;
                    let (invariant, text) = (violation.invariant, &violation.text);
                    writeln!(
                        out,
                        "seed {seed}, step {}: {invariant:?}: {text}",
                        failure.step
                    )?;
                } else if let Err(failure) = run(seed, &settings, true) {
                    writeln!(out, "{failure}")?;
                }
            }
        };
        let players: Vec<_> = (0..threads.get()).map(|_| scope.spawn(player)).collect();
        players
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect::<Vec<_>>()
    });
    for player in played {
        player.map_err(|_| io::Error::other("a seed panicked"))??;
    }
    if failed.into_inner() {
        return Ok(ExitCode::FAILURE);
    }
    let (seeds, from) = (arguments.seeds, arguments.from);
    writeln!(io::stdout(), "{seeds} seeds from {from} hold")?;
    Ok(ExitCode::SUCCESS)
}
