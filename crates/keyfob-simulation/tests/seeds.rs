//! Seeds that hold, and bugs that they find.

use std::sync::atomic::{AtomicU64, Ordering};

use keyfob_simulation::{Bug, Failure, Invariant, Settings, run};

#[test]
fn a_thousand_seeds_hold() {
    let settings = Settings::default();
    let next = AtomicU64::new(1);
    let play = || -> Option<Box<Failure>> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > 1_000 {
                return None;
            }
            if run(seed, &settings, false).is_err() {
                // Once more, to have the trace.
                return run(seed, &settings, true).err();
            }
        }
    };
    let failures: Vec<_> = std::thread::scope(|scope| {
        let players = [scope.spawn(play), scope.spawn(play)];
        let joined = players.into_iter().map(|player| player.join().expect("no panic"));
        joined.flatten().collect()
    });
    if let Some(failure) = failures.first() {
        panic!("{failure}");
    }
}
