//! Random changes and questions, to a store and to the contract as plain code: the answers must be
//! equal.
//!
//! The reference is [`MemoryStore`]. The operations follow from a seed, so that a failure can be
//! played again; every message of a failure begins with the seed and the step.

mod generator;

use std::{fmt::Debug, sync::Arc};

use keyfob::{
    KeyStore, MemoryStore,
    legacy::LegacyRecord,
    store::{CommitError, Conflict, Entry, Item, Page, Revision},
};

use crate::{
    fixture::{fields, format, sound},
    reading::{countable, countable_days, head, shown},
    reopening::contents,
};

use generator::Generator;

/// What was played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Played {
    /// How many changes were stored.
    pub stored: u32,
    /// How many changes were refused, with the same conflict as by the reference.
    pub refused: u32,
    /// How many of those were refused because of their actor.
    pub unauthorized: u32,
}

/// Plays this many changes on the storage that `open` opens, and compares every answer with the
/// reference. The storage must be empty. It is closed and opened again in between.
pub async fn play(seed: u64, steps: u32, open: impl AsyncFn() -> Arc<dyn KeyStore>) -> Played {
    let mut generator = Generator::new(seed);
    let reference = MemoryStore::new();
    let mut store = open().await;
    let mut played = Played::default();
    let recorded = sound(store.record_key_format(&format()).await);
    assert_eq!(recorded, format(), "the key format of an empty store");
    sound(reference.record_key_format(&format()).await);
    for step in 0..steps {
        let pair = Pair {
            at: format!("seed {seed}, step {step}"),
            store: &*store,
            reference: &reference,
        };
        match pair.commit(&mut generator).await {
            Ok(_) => played.stored += 1,
            Err(conflict) => {
                played.refused += 1;
                played.unauthorized += u32::from(matches!(conflict, Conflict::Actor(_)));
            }
        }
        pair.record_usage(&mut generator).await;
        pair.ask(&mut generator).await;
        if generator.one_in(50) {
            drop(store);
            store = open().await;
        }
    }
    let pair = Pair {
        at: format!("seed {seed}, at the end"),
        store: &*store,
        reference: &reference,
    };
    pair.compare_feeds().await;
    let (found, expected) = (contents(pair.store).await, contents(&reference).await);
    found.assert_equal(&expected, &pair.at);
    played
}

/// A store, and the reference that it is compared with.
struct Pair<'a> {
    /// The seed and the step, for messages.
    at: String,
    store: &'a dyn KeyStore,
    reference: &'a MemoryStore,
}

impl Pair<'_> {
    async fn commit(&self, generator: &mut Generator) -> Result<Revision, Conflict> {
        let commit = generator.commit(self.reference).await;
        let answer = |answer| match answer {
            Ok(revision) => Ok(revision),
            Err(CommitError::Conflict(conflict)) => Err(conflict),
            Err(error) => panic!("{}: {error}: {commit:?}", self.at),
        };
        let expected = answer(self.reference.commit(&commit).await);
        let found = answer(self.store.commit(&commit).await);
        assert_eq!(found, expected, "{}: {commit:?}", self.at);
        found
    }

    async fn record_usage(&self, generator: &mut Generator) {
        if generator.one_in(4) {
            let (batch, now) = generator.usage();
            sound(self.store.record_usage(&batch, now).await);
            sound(self.reference.record_usage(&batch, now).await);
        }
    }

    /// Asks both one question of each kind.
    async fn ask(&self, generator: &mut Generator) {
        let (store, reference) = (self.store, self.reference);
        let head = head(reference).await;

        let (tenant, id) = (generator.tenant(), generator.key_id());
        let found = sound(store.key(&tenant, id).await);
        let expected = sound(reference.key(&tenant, id).await);
        let (found, expected) = (found.as_ref().map(fields), expected.as_ref().map(fields));
        assert_eq!(found, expected, "{}: {tenant:?} {id}", self.at);

        let query = generator.key_query(head);
        let found = sound(store.keys(&query).await);
        let expected = sound(reference.keys(&query).await);
        self.same_pages(&query, &found, &expected, fields);

        let query = generator.legacy_query(head);
        let digest = |record: &LegacyRecord| shown(&Item::Legacy(record.clone()));
        let found = sound(store.legacy(&query).await);
        let expected = sound(reference.legacy(&query).await);
        self.same_pages(&query, &found, &expected, digest);

        let query = generator.namespace_query(head);
        let found = sound(store.namespaces(&query).await);
        let expected = sound(reference.namespaces(&query).await);
        self.same_pages(&query, &found, &expected, Clone::clone);

        let query = generator.target_query();
        let found = sound(store.targets(&query).await);
        let expected = sound(reference.targets(&query).await);
        assert_eq!(found, expected, "{}: {query:?}", self.at);

        let (target, at) = (generator.target(), generator.time());
        let found = sound(store.count_live(&target, at).await);
        let expected = sound(reference.count_live(&target, at).await);
        assert_eq!(found, expected, "{}: {target:?} at {at}", self.at);

        let query = generator.audit_query(head);
        let found = sound(store.audit(&query).await);
        let expected = sound(reference.audit(&query).await);
        self.same_pages(&query, &found, &expected, Clone::clone);

        let tenant = generator.rarely(Generator::tenant);
        let found = sound(store.policy(tenant.as_ref()).await);
        let expected = sound(reference.policy(tenant.as_ref()).await);
        assert_eq!(found, expected, "{}: policy of {tenant:?}", self.at);
        let found = sound(store.legacy_policy(tenant.as_ref()).await);
        let expected = sound(reference.legacy_policy(tenant.as_ref()).await);
        assert_eq!(found, expected, "{}: legacy policy of {tenant:?}", self.at);

        let after = Revision::new(generator.below(head.get() + 3));
        let limit = generator.pick(&[0, 1, 7, 1000]);
        self.compare_feed(after, limit).await;

        let credentials: Vec<_> = (0..20).map(|_| generator.credential()).collect();
        let found = sound(store.usage(&credentials).await);
        let expected = sound(reference.usage(&credentials).await);
        let found: Vec<_> = found.iter().map(countable).collect();
        let expected: Vec<_> = expected.iter().map(countable).collect();
        assert_eq!(found, expected, "{}: usage", self.at);

        let query = generator.usage_query();
        let found = countable_days(sound(store.usage_days(&query).await));
        let expected = countable_days(sound(reference.usage_days(&query).await));
        assert_eq!(found, expected, "{}: {query:?}", self.at);
    }

    fn same_pages<T, S: Debug + PartialEq>(
        &self,
        query: &impl Debug,
        found: &Page<T>,
        expected: &Page<T>,
        shown: impl Fn(&T) -> S,
    ) {
        let items = |page: &Page<T>| page.items.iter().map(&shown).collect::<Vec<S>>();
        let (next, items, wanted) = (found.next, items(found), items(expected));
        assert_eq!(items, wanted, "{}: {query:?}", self.at);
        assert_eq!(next, expected.next, "{}: {query:?}", self.at);
    }

    /// Reads the feed of both from every revision on.
    async fn compare_feeds(&self) {
        let head = head(self.reference).await.get();
        for after in (0..=head + 1).chain([u64::MAX]) {
            let limit = usize::try_from(after % 5).unwrap_or_default();
            self.compare_feed(Revision::new(after), limit).await;
        }
        self.compare_feed(Revision::ZERO, usize::MAX).await;
    }

    async fn compare_feed(&self, after: Revision, limit: usize) {
        let found = sound(self.store.changes(after, limit).await);
        let expected = sound(self.reference.changes(after, limit).await);
        let at = format!("{}: {limit} changes after {after}", self.at);
        let entry = |entry: &Entry| (entry.revision, shown(&entry.item));
        let items: Vec<_> = found.entries.iter().map(entry).collect();
        let wanted: Vec<_> = expected.entries.iter().map(entry).collect();
        assert_eq!(items, wanted, "{at}");
        assert_eq!(found.after, expected.after, "{at}");
        assert_eq!(found.next_after, expected.next_after, "{at}");
        assert_eq!(found.more, expected.more, "{at}");
        assert_eq!(found.head, expected.head, "{at}");
        assert_eq!(found.after_hash, expected.after_hash, "{at}");
        assert_eq!(found.next_hash, expected.next_hash, "{at}");
    }
}
