//! Snapshots that many readers share.

use std::{
    collections::{HashMap, HashSet, VecDeque},
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

/// The last manifest of each filter, and the last objects.
pub(crate) struct Snapshots {
    every: Duration,
    bytes_max: usize,
    slots: Mutex<HashMap<Filter, Arc<Slot>>>,
    objects: Mutex<Objects>,
}

/// The last manifest of a filter. Who needs a newer one makes it while others wait for it.
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

#[derive(Default)]
struct Objects {
    kept: VecDeque<(ObjectName, Bytes)>,
    bytes: usize,
    /// The names that a manifest told, also of objects that are not kept.
    names: HashSet<ObjectName>,
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
    /// once for all that wait.
    pub(crate) async fn manifest<F>(
        &self,
        filter: &Filter,
        usable: impl Fn(&Made) -> bool,
        create: impl FnOnce() -> F,
    ) -> Result<Made, Refusal>
    where
        F: Future<Output = Result<Made, Refusal>>,
    {
        let slot = self.slot(filter);
        let mut last = slot.lock().await;
        if let Some(made) = &*last
            && made.at.elapsed() < self.every
            && usable(made)
        {
            return Ok(made.clone());
        }
        let made = create().await?;
        Ok(last.insert(made).clone())
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
            if slots.len() >= SLOTS_MAX
                && let Some(any) = slots.keys().next().cloned()
            {
                slots.remove(&any);
            }
        }
        Arc::clone(slots.entry(filter.clone()).or_default())
    }

    /// Keeps an object, and drops the oldest beyond the bounds. The last two are always kept.
    pub(crate) fn keep(&self, name: ObjectName, object: Bytes) {
        let mut objects = self.objects();
        if objects.kept.iter().any(|(known, _)| *known == name) {
            return;
        }
        objects.bytes += object.len();
        objects.kept.push_back((name, object));
        while objects.kept.len() > 2
            && (objects.kept.len() > OBJECTS_MAX || objects.bytes > self.bytes_max)
        {
            if let Some((_, dropped)) = objects.kept.pop_front() {
                objects.bytes -= dropped.len();
            }
        }
    }

    pub(crate) fn object(&self, name: ObjectName) -> Option<Bytes> {
        let objects = self.objects();
        let found = objects.kept.iter().find(|(known, _)| *known == name);
        found.map(|(_, object)| object.clone())
    }

    /// Remembers a name that a manifest told.
    pub(crate) fn tell(&self, name: ObjectName) {
        let objects = &mut *self.objects();
        if objects.names.insert(name) {
            objects.last_names.push_back(name);
            if objects.last_names.len() > NAMES_MAX
                && let Some(oldest) = objects.last_names.pop_front()
            {
                objects.names.remove(&oldest);
            }
        }
    }

    /// Whether a manifest told this name.
    pub(crate) fn was_told(&self, name: ObjectName) -> bool {
        self.objects().names.contains(&name)
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SLOTS_MAX: usize = 256;
const OBJECTS_MAX: usize = 64;
const NAMES_MAX: usize = 1_024;
