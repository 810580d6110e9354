//! The process of the replicas.
//!
//! It is told `watch KEY`, and tells `accepted` once all replicas accept the key, then `refused NANOS` with
//! the time at which the last one began to refuse it. `load KEY` has a thread verify the key all the time.

use std::{
    hint,
    io::{self, Write as _},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use keyfob::Verifier;
use keyfob_replica::Follower;

use crate::{
    authority::{accepts, source},
    process::nanos,
};

pub(crate) const ROLE: &str = "in-the-role-of-replicas";

/// Runs with the arguments: the number of replicas, the signers, the upstreams, and `spread` if each upstream
/// is the first one of some replicas.
pub(crate) async fn run(arguments: impl Iterator<Item = String>) {
    let arguments: Vec<String> = arguments.collect();
    let [count, signers, upstreams, spread @ ..] = arguments.as_slice() else {
        panic!("three arguments, not {}", arguments.len());
    };
    let count: usize = count.parse().expect("it is a number");
    let fleet = Arc::new(Fleet {
        replicas: (0..count).map(|_| Watching::default()).collect(),
        watched: RwLock::new(Arc::new(Watched::default())),
    });
    let mut replicas = Vec::with_capacity(count);
    for (number, watching) in fleet.replicas.iter().enumerate() {
        let looking = Arc::clone(&fleet);
        let mut upstreams: Vec<&str> = upstreams.split(',').collect();
        if !spread.is_empty() {
            let first = number % upstreams.len();
            upstreams.rotate_left(first);
        }
        let source = source(signers, &upstreams.join(","))
            .on_line(move |_| looking.look(number))
            .build()
            .expect("the settings are sound");
        let replica = Follower::from_source(source, "acme").start().await;
        let replica = replica.expect("the feed can be read");
        let _ = watching.verifier.set(replica.verifier());
        replicas.push(replica);
    }
    tell("ready");
    let told = tokio::task::spawn_blocking(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            match line.split_once(' ') {
                Some(("watch", key)) => fleet.watch(key),
                Some(("load", key)) => fleet.load(key.to_owned()),
                _ => panic!("{line}: unknown"),
            }
        }
    });
    told.await.expect("it does not panic");
    drop(replicas);
}

struct Fleet {
    replicas: Vec<Watching>,
    watched: RwLock<Arc<Watched>>,
}

/// A replica, and what it did with the key last.
#[derive(Default)]
struct Watching {
    verifier: OnceLock<Verifier>,
    seen: Mutex<(u64, Seen)>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    Nothing,
    Accepted,
    Refused,
}

/// A key, and how many replicas have still to accept and to refuse it.
#[derive(Default)]
struct Watched {
    round: u64,
    key: String,
    to_accept: AtomicUsize,
    to_refuse: AtomicUsize,
    last: AtomicU64,
}

impl Fleet {
    fn watch(&self, key: &str) {
        {
            let watched = &mut *self.watched.write().unwrap_or_else(PoisonError::into_inner);
            *watched = Arc::new(Watched {
                round: watched.round + 1,
                key: key.to_owned(),
                to_accept: AtomicUsize::new(self.replicas.len()),
                to_refuse: AtomicUsize::new(self.replicas.len()),
                last: AtomicU64::new(0),
            });
        }
        for number in 0..self.replicas.len() {
            self.look(number);
        }
    }

    /// Verifies the key with a replica that may have changed.
    fn look(&self, number: usize) {
        let watched = self.watched.read().unwrap_or_else(PoisonError::into_inner);
        let watched = Arc::clone(&watched);
        let replica = &self.replicas[number];
        let Some(verifier) = replica.verifier.get().filter(|_| watched.round > 0) else {
            return;
        };
        let mut state = replica.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 != watched.round {
            *state = (watched.round, Seen::Nothing);
        }
        match (state.1, accepts(verifier, &watched.key)) {
            (Seen::Nothing, true) => {
                state.1 = Seen::Accepted;
                if watched.to_accept.fetch_sub(1, Ordering::AcqRel) == 1 {
                    tell("accepted");
                }
            }
            (Seen::Accepted, false) => {
                state.1 = Seen::Refused;
                watched.last.fetch_max(nanos(), Ordering::AcqRel);
                if watched.to_refuse.fetch_sub(1, Ordering::AcqRel) == 1 {
                    tell(&format!("refused {}", watched.last.load(Ordering::Acquire)));
                }
            }
            _ => {}
        }
    }

    /// Verifies a key in turn with each replica, all the time.
    fn load(&self, key: String) {
        let verifiers = self.replicas.iter();
        let verifiers = verifiers.filter_map(|replica| replica.verifier.get().cloned());
        let verifiers: Vec<Verifier> = verifiers.collect();
        thread::spawn(move || {
            loop {
                for verifier in &verifiers {
                    hint::black_box(accepts(verifier, &key));
                }
            }
        });
    }
}

fn tell(line: &str) {
    let mut output = io::stdout().lock();
    let told = writeln!(output, "{line}").and_then(|()| output.flush());
    if told.is_err() {
        // The authority's process has ended.
        std::process::exit(0);
    }
}
