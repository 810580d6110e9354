//! Starts with many keys, and verifications while others are changed.

use std::{
    fmt::Write as _,
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use keyfob::{MemoryStore, Verifier};
use keyfob_replica::Follower;
use tokio::{
    task::spawn_blocking,
    time::{interval, sleep},
};

use crate::authority::{Fed, accepts};

/// Measures starts with many keys, and verifications while others are changed.
pub(crate) async fn measure(keys: usize, only_starts: bool, table: &mut String) {
    eprintln!("starts with {keys} keys");
    let fed = Fed::over(MemoryStore::new()).await;
    let mut last = fed.create(0).await;
    for number in 1..keys {
        last = fed.create(number).await;
    }
    let key = last.1.expose();
    let _ = writeln!(table, "\n| {keys} keys | |\n|---|---:|");
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let kept = folder.path().join("kept");
    for (from, keeps) in [
        ("the network, with a snapshot that is made for it", false),
        ("the network, with a snapshot that others had", true),
        ("what it kept on its disk", true),
    ] {
        let source = if keeps {
            fed.source().saved_in(&kept)
        } else {
            fed.source()
        };
        let source = source.build().expect("the settings are sound");
        let start = Instant::now();
        let replica = Follower::from_source(source, "acme").start().await;
        let replica = replica.expect("the feed can be read");
        let took = start.elapsed().as_secs_f64();
        assert!(accepts(&replica.verifier(), key), "it has all keys");
        let _ = writeln!(table, "| start from {from} | {took:.1} s |");
        // What was received is written to the disk.
        sleep(Duration::from_secs(5)).await;
        replica.stop().await;
    }
    if only_starts {
        return;
    }
    let source = fed.source().build().expect("the settings are sound");
    let replica = Follower::from_source(source, "acme").start().await;
    let replica = replica.expect("the feed can be read");
    let (mut ratios, mut changes) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let idle = rate(replica.verifier(), key.to_owned());
        let idle = spawn_blocking(move || idle.join()).await;
        let busy = rate(replica.verifier(), key.to_owned());
        let start = Instant::now();
        let mut ticks = interval(Duration::from_millis(1));
        while start.elapsed() < ROUND {
            ticks.tick().await;
            fed.create(keys + changes).await;
            changes += 1;
        }
        let busy = spawn_blocking(move || busy.join()).await;
        let calls = |rate: Result<thread::Result<f64>, _>| {
            let rate = rate.expect("the thread is waited for");
            rate.expect("the thread ends")
        };
        ratios.push(calls(busy) / calls(idle));
    }
    ratios.sort_by(f64::total_cmp);
    let changes = changes as f64 / (ROUND * ROUNDS).as_secs_f64();
    let median = ratios[ratios.len() / 2];
    let _ = writeln!(
        table,
        "| verifications while {changes:.0} changes/s are applied, to those of an idle replica | {median:.2} |"
    );
    replica.stop().await;
}

const ROUNDS: u32 = 5;
const ROUND: Duration = Duration::from_secs(2);

/// Verifies in a thread, and returns the calls per second.
fn rate(verifier: Verifier, key: String) -> thread::JoinHandle<f64> {
    thread::spawn(move || {
        let (start, mut calls) = (Instant::now(), 0.0);
        while start.elapsed() < ROUND {
            for _ in 0..1_000 {
                black_box(accepts(&verifier, &key));
            }
            calls += 1_000.0;
        }
        calls / start.elapsed().as_secs_f64()
    })
}
