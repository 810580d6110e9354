//! Snapshots that many readers share.

use std::{
    collections::{HashMap, VecDeque},
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    filter::Filter,
    line::SignedLine,
    position::Position,
    snapshot::{Manifest, ObjectName},
};

use super::refusal::Refusal;

/// The last manifest of each filter, and their objects.
pub(crate) struct Snapshots {
    every: Duration,
    bytes_max: usize,
    slots: Mutex<HashMap<Filter, Arc<Slot>>>,
    objects: Mutex<Objects>,
}

/// The last manifest of a filter. It is locked while a newer one is made.
type Slot = tokio::sync::Mutex<Option<Made>>;

#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) line: SignedLine,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) position: Position,
    at: Instant,
}

impl Made {
    pub(crate) fn new(line: SignedLine, manifest: Manifest) -> Self {
        Self {
            line,
            position: manifest.position(),
            manifest: Arc::new(manifest),
            at: Instant::now(),
        }
    }
}

/// Whose an object is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Keeps {
    /// It has everything.
    Everything,
    /// It has a part, for which this credential asked.
    Part(Arc<[u8]>),
}

struct Object {
    name: ObjectName,
    bytes: Bytes,
    keeps: Keeps,
}

/// The objects that are kept, those whose manifest was given out last at the end.
#[derive(Default)]
struct Objects {
    kept: VecDeque<Object>,
    /// The names that a manifest told, also of objects that are not kept.
    last_names: VecDeque<ObjectName>,
}

impl Snapshots {
    pub(crate) fn new(every: Duration, bytes_max: usize) -> Self {
        Self {
            every,
            bytes_max,
            slots: Mutex::default(),
            objects: Mutex::default(),
        }
    }

    /// Returns the last manifest of a filter if it is new enough and `usable`, or makes one. `create` runs
    /// once for all that wait, in a task of its own: it goes on if all of them leave, and those that come
    /// back get what it made.
    pub(crate) async fn manifest<F>(
        &self,
        filter: &Filter,
        usable: impl Fn(&Made) -> bool,
        create: impl FnOnce() -> F,
    ) -> Result<Made, Refusal>
    where
        F: Future<Output = Result<Made, Refusal>> + Send + 'static,
    {
        let mut last = self.slot(filter).lock_owned().await;
        if let Some(made) = &*last
            && made.at.elapsed() < self.every
            && usable(made)
        {
            return Ok(made.clone());
        }
        let creating = create();
        shared(async move {
            let made = creating.await?;
            Ok(last.insert(made).clone())
        })
        .await
    }

    fn slot(&self, filter: &Filter) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= SLOTS_MAX && !slots.contains_key(filter) {
            // Those that nobody waits for and that are too old, or were never made.
            slots.retain(|_, slot| match slot.try_lock() {
                Ok(last) => last
                    .as_ref()
                    .is_some_and(|made| made.at.elapsed() < self.every),
                Err(_) => true,
            });
            if slots.len() >= SLOTS_MAX {
                let age = |slot: &Arc<Slot>| Some(slot.try_lock().ok()?.as_ref()?.at.elapsed());
                let parts = slots.iter().filter(|(filter, _)| **filter != Filter::All);
                let ages = parts.filter_map(|(filter, slot)| Some((age(slot)?, filter)));
                if let Some(oldest) = ages.max().map(|(_, filter)| filter.clone()) {
                    slots.remove(&oldest);
                }
            }
        }
        Arc::clone(slots.entry(filter.clone()).or_default())
    }

    /// Keeps an object. Of those that have everything, the last two are kept. Of the others those are
    /// dropped that are beyond the bounds: the oldest of the credential that has most of them.
    pub(crate) fn keep(&self, name: ObjectName, bytes: Bytes, keeps: Keeps) {
        let mut objects = self.objects();
        if objects.touch(name) {
            return;
        }
        let is_part = keeps != Keeps::Everything;
        objects.kept.push_back(Object { name, bytes, keeps });
        if is_part {
            objects.drop_parts(self.bytes_max);
        } else {
            let whole = |object: &Object| object.keeps == Keeps::Everything;
            while objects.kept.iter().filter(|object| whole(object)).count() > LAST {
                objects.drop_first(whole);
            }
        }
    }

    pub(crate) fn object(&self, name: ObjectName) -> Option<Bytes> {
        let objects = self.objects();
        let found = objects.kept.iter().find(|kept| kept.name == name);
        found.map(|kept| kept.bytes.clone())
    }

    /// Whether an object is kept, whose manifest is given out again.
    pub(crate) fn touch(&self, name: ObjectName) -> bool {
        self.objects().touch(name)
    }

    /// Remembers a name that a manifest told.
    pub(crate) fn tell(&self, name: ObjectName) {
        let objects = &mut *self.objects();
        if !objects.last_names.contains(&name) {
            objects.last_names.push_back(name);
            if objects.last_names.len() > NAMES_MAX {
                objects.last_names.pop_front();
            }
        }
    }

    /// Whether a manifest told this name.
    pub(crate) fn was_told(&self, name: ObjectName) -> bool {
        self.objects().last_names.contains(&name)
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Objects {
    /// Moves an object to the end; `false` if it is not kept.
    fn touch(&mut self, name: ObjectName) -> bool {
        let at = self.kept.iter().position(|kept| kept.name == name);
        let found = at.and_then(|at| self.kept.remove(at));
        found.map(|kept| self.kept.push_back(kept)).is_some()
    }

    fn drop_first(&mut self, which: impl Fn(&Object) -> bool) {
        if let Some(at) = self.kept.iter().position(which) {
            self.kept.remove(at);
        }
    }

    /// Drops parts beyond the bounds. The last two are always kept.
    fn drop_parts(&mut self, bytes_max: usize) {
        loop {
            let (mut parts, mut bytes) = (0, 0);
            let mut of: HashMap<&Keeps, usize> = HashMap::new();
            for kept in &self.kept {
                if kept.keeps != Keeps::Everything {
                    parts += 1;
                    bytes += kept.bytes.len();
                    *of.entry(&kept.keeps).or_default() += 1;
                }
            }
            if parts <= LAST || (parts <= PARTS_MAX && bytes <= bytes_max) {
                return;
            }
            let most = of.values().max().copied().unwrap_or(0);
            // Among equals, the one whose object is the oldest.
            let has_most = |kept: &&Object| of.get(&kept.keeps) == Some(&most);
            let Some(name) = self.kept.iter().find(has_most).map(|kept| kept.name) else {
                return;
            };
            self.drop_first(|kept| kept.name == name);
        }
    }
}

/// Runs a future to its end, even if the caller does not wait for that.
pub(crate) async fn shared<T: Send + 'static>(
    work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => Err(not_made(&error)),
    }
}

/// Logs why a snapshot cannot be made.
pub(crate) fn not_made(error: &dyn Error) -> Refusal {
    let error = super::authority::chain(error);
    tracing::error!(error, "a snapshot cannot be made");
    Refusal::NotCurrent
}

const SLOTS_MAX: usize = 2_048;
const PARTS_MAX: usize = 1_024;
/// How many of the last objects are kept in any case, for readers that have read their manifest.
const LAST: usize = 2;
const NAMES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use keyfob::{audit::TrailHead, key::SystemRandom};
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::{keys::FeedKeys, snapshot::SnapshotWriter};

    fn name(number: usize) -> ObjectName {
        ObjectName::parse(&format!("{number:064x}")).unwrap()
    }

    #[test]
    fn the_parts_of_one_credential_displace_neither_those_of_others_nor_everything() {
        let snapshots = Snapshots::new(Duration::from_mins(1), 1 << 20);
        let part = |reporter: &[u8]| Keeps::Part(reporter.into());
        let one = Bytes::from_static(b"one");
        snapshots.keep(name(1), one.clone(), Keeps::Everything);
        snapshots.keep(name(2), one.clone(), part(b"few"));
        for number in 3..PARTS_MAX + 10 {
            snapshots.keep(name(number), one.clone(), part(b"many"));
        }
        assert!(snapshots.touch(name(1)));
        assert!(snapshots.touch(name(2)));
        assert!(!snapshots.touch(name(3)), "the oldest one of many");
        assert_eq!(snapshots.objects().kept.len(), PARTS_MAX + 1);
        // Those with a length take their room, too.
        let long = Bytes::from(vec![0; 1 << 19]);
        for number in 1..5 {
            snapshots.keep(name(100_000 + number), long.clone(), part(b"many"));
        }
        let kept: usize = snapshots.objects().kept.iter().map(|o| o.bytes.len()).sum();
        assert!(kept <= (1 << 20) + one.len(), "{kept}");
        assert!(snapshots.touch(name(1)) && snapshots.touch(name(2)));
    }

    #[test]
    fn of_everything_the_last_two_are_kept() {
        let snapshots = Snapshots::new(Duration::from_mins(1), 1);
        for number in 1..=3 {
            snapshots.keep(name(number), Bytes::from_static(b"long"), Keeps::Everything);
        }
        let kept: Vec<bool> = (1..=3).map(|n| snapshots.touch(name(n))).collect();
        assert_eq!(kept, [false, true, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_begun_for_readers_that_leave_is_made_once_for_those_that_come_back() {
        let snapshots = Arc::new(Snapshots::new(Duration::from_mins(1), 1));
        let begun = Arc::new(AtomicUsize::new(0));
        let ask = || {
            let begun = Arc::clone(&begun);
            let (snapshots, filter) = (Arc::clone(&snapshots), part_filter(0));
            async move {
                let create = || async move {
                    begun.fetch_add(1, Ordering::SeqCst);
                    sleep(Duration::from_mins(1)).await;
                    Ok(made())
                };
                snapshots.manifest(&filter, |_| true, create).await
            }
        };
        for patience in 1..=3 {
            let left = timeout(Duration::from_secs(patience), ask()).await;
            assert!(left.is_err());
        }
        let last = timeout(Duration::from_mins(1), ask()).await;
        assert!(last.is_ok_and(|made| made.is_ok()));
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }

    fn made() -> Made {
        let keys = FeedKeys::generate(&SystemRandom).unwrap();
        let writer = SnapshotWriter::new(Filter::All, 1 << 20).unwrap();
        let start = keys.mark_key().position(TrailHead::START);
        let format = "acme".parse().unwrap();
        let snapshot = writer.finish(start, 1, format, &keys).unwrap();
        Made::new(snapshot.line, snapshot.manifest)
    }

    #[tokio::test]
    async fn many_filters_displace_neither_the_manifest_of_everything_nor_one_that_is_made() {
        let snapshots = Snapshots::new(Duration::from_mins(1), 1);
        let all = snapshots.slot(&Filter::All);
        let held = snapshots.slot(&part_filter(0));
        let lock = held.lock().await;
        for number in 1..2 * SLOTS_MAX {
            drop(snapshots.slot(&part_filter(number)));
        }
        assert!(snapshots.slots.lock().unwrap().len() <= SLOTS_MAX + 1);
        assert!(Arc::ptr_eq(&held, &snapshots.slot(&part_filter(0))));
        drop(lock);
        drop(all);
    }

    fn part_filter(number: usize) -> Filter {
        let tenant = keyfob::Tenant::parse("a", &format!("n{number}")).unwrap();
        Filter::namespaces([tenant]).unwrap()
    }
}
