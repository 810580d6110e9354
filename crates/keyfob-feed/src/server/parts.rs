//! Snapshots of parts: several in one pass over the snapshot of everything.

use std::{
    io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::{
    sync::{Semaphore, oneshot},
    task::spawn_blocking,
};

use crate::{
    filter::Filter,
    keys::FeedKeys,
    snapshot::{Manifest, Snapshot, SnapshotError, SnapshotReader, SnapshotWriter},
};

use super::{refusal::Refusal, snapshots::not_made};

/// Makes the snapshots of parts. A pass over the snapshot of everything makes those that wait, and there is
/// one pass at a time.
pub(crate) struct Parts {
    keys: Arc<FeedKeys>,
    bytes_max: usize,
    waiting: Mutex<Vec<Waiting>>,
    passes: Arc<Semaphore>,
}

/// A snapshot of everything.
#[derive(Clone)]
pub(crate) struct Whole {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) object: Bytes,
}

struct Waiting {
    filter: Filter,
    /// The credential that asked for it.
    reporter: Arc<[u8]>,
    done: oneshot::Sender<Result<Snapshot, Refusal>>,
}

impl Parts {
    pub(crate) fn new(keys: Arc<FeedKeys>, bytes_max: usize) -> Self {
        Self {
            keys,
            bytes_max,
            waiting: Mutex::default(),
            passes: Arc::new(Semaphore::new(1)),
        }
    }

    /// Makes the snapshot of a part, for a credential, which may wait for a bounded number of them: they are
    /// made even if their readers leave.
    pub(crate) async fn make(
        &self,
        filter: &Filter,
        reporter: &Arc<[u8]>,
        whole: Whole,
    ) -> Result<Snapshot, Refusal> {
        let (done, mut made) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            let own = waiting.iter().filter(|other| other.reporter == *reporter);
            if own.count() >= WAITING_MAX {
                tracing::warn!("a credential asks for too many parts at one time");
                return Err(Refusal::NotCurrent);
            }
            waiting.push(Waiting {
                filter: filter.clone(),
                reporter: Arc::clone(reporter),
                done,
            });
        }
        loop {
            tokio::select! {
                biased;
                made = &mut made => return made.unwrap_or(Err(Refusal::NotCurrent)),
                Ok(pass) = Arc::clone(&self.passes).acquire_owned() => {
                    let (next, whole) = (self.next(), whole.clone());
                    let (keys, bytes_max) = (Arc::clone(&self.keys), self.bytes_max);
                    spawn_blocking(move || {
                        make(next, whole, bytes_max, &keys);
                        drop(pass);
                    });
                }
            }
        }
    }

    /// Takes those that a pass makes: of each credential the first, then of each the second, and so on.
    fn next(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let mut ranked: Vec<(usize, Waiting)> = Vec::new();
        for one in mem::take(&mut *waiting) {
            let same = |(_, other): &&(usize, Waiting)| other.reporter == one.reporter;
            let rank = ranked.iter().filter(same).count();
            ranked.push((rank, one));
        }
        // A stable sort: among equals, the one that came first.
        ranked.sort_by_key(|(rank, _)| *rank);
        let mut ranked = ranked.into_iter().map(|(_, waiting)| waiting);
        let next = ranked.by_ref().take(AT_ONCE).collect();
        *waiting = ranked.collect();
        next
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make(next: Vec<Waiting>, whole: Whole, bytes_max: usize, keys: &FeedKeys) {
    if next.is_empty() {
        return;
    }
    let begin = |waiting: Waiting| {
        let writer = SnapshotWriter::new(waiting.filter.clone(), bytes_max);
        (waiting.done, writer)
    };
    let mut writers: Vec<_> = next.into_iter().map(begin).collect();
    let Whole { manifest, object } = whole;
    let read = || -> Result<(), SnapshotError> {
        let mut pages = SnapshotReader::open(&manifest, &Filter::All, io::Cursor::new(object))?;
        while let Some(page) = pages.next_page()? {
            for (_, writer) in &mut writers {
                if let Ok(open) = writer
                    && let Err(error) = open.write(&page.entries)
                {
                    *writer = Err(error);
                }
            }
        }
        Ok(())
    };
    if let Err(error) = read() {
        not_made(&error);
        for (done, _) in writers {
            drop(done.send(Err(Refusal::NotCurrent)));
        }
        return;
    }
    for (done, writer) in writers {
        let made = writer.and_then(|writer| {
            writer.finish(
                manifest.position(),
                manifest.as_of(),
                manifest.format(),
                keys,
            )
        });
        // At the end of the process, nobody waits for it any more.
        drop(done.send(made.map_err(|error| not_made(&error))));
    }
}

/// How many snapshots a pass makes. Each takes some MiB while it is made.
const AT_ONCE: usize = 16;
/// How many parts may wait for a credential.
const WAITING_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use keyfob::{Tenant, audit::TrailHead, key::SystemRandom};

    use super::*;

    #[test]
    fn a_credential_that_asks_for_many_parts_waits_behind_one_that_asks_for_few() {
        let keys = FeedKeys::generate(&SystemRandom).unwrap();
        let parts = Parts::new(Arc::new(keys), 1 << 20);
        let mut receivers = Vec::new();
        let mut wait = |name: &str, reporter: &[u8]| {
            let (done, made) = oneshot::channel();
            receivers.push(made);
            parts.waiting().push(Waiting {
                filter: Filter::namespaces([Tenant::parse("a", name).unwrap()]).unwrap(),
                reporter: reporter.into(),
                done,
            });
        };
        for number in 0..3 * AT_ONCE {
            wait(&format!("n{number}"), b"many");
        }
        wait("x", b"few");
        let next = parts.next();
        assert_eq!(next.len(), AT_ONCE);
        assert!(next.iter().any(|waiting| *waiting.reporter == *b"few"));
        assert_eq!(parts.waiting().len(), 2 * AT_ONCE + 1);
    }

    #[tokio::test]
    async fn the_parts_that_wait_for_a_credential_are_bounded() {
        let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
        let parts = Parts::new(Arc::clone(&keys), 1 << 20);
        let writer = SnapshotWriter::new(Filter::All, 1 << 20).unwrap();
        let start = keys.mark_key().position(TrailHead::START);
        let format = "acme".parse().unwrap();
        let snapshot = writer.finish(start, 1, format, &keys).unwrap();
        let whole = Whole {
            manifest: Arc::new(snapshot.manifest),
            object: snapshot.object,
        };
        let filter = Filter::namespaces([Tenant::parse("a", "n").unwrap()]).unwrap();
        let mut receivers = Vec::new();
        for _ in 0..WAITING_MAX {
            let (done, made) = oneshot::channel();
            receivers.push(made);
            parts.waiting().push(Waiting {
                filter: filter.clone(),
                reporter: (*b"many").into(),
                done,
            });
        }
        let many: Arc<[u8]> = (*b"many").into();
        let refused = parts.make(&filter, &many, whole.clone()).await;
        assert!(matches!(refused, Err(Refusal::NotCurrent)));
        let few: Arc<[u8]> = (*b"few").into();
        assert!(parts.make(&filter, &few, whole).await.is_ok());
    }
}
