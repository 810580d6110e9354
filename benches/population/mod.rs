//! A population of keys as an index holds it, and the texts that their owners present.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use keyfob::{
    Actor, IssuedKey, Owner, Scopes, Tenant, Timestamp, Verifier,
    audit::{ChainHash, TrailHead},
    gateway::Index,
    key::{KeyDigest, KeyFormat, Peppers, SystemRandom},
    manage::{Labels, Status},
    name::{KeyName, NamespaceId, TeamId, UserId},
    store::{Changes, Entry, Item, KeyRecord, Revision},
};

pub(crate) const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
/// Keys per namespace.
const PER_NAMESPACE: usize = 100;
/// Keys per owner.
const PER_OWNER: usize = 10;

/// An index, and its position in the feed.
#[derive(Clone)]
pub(crate) struct Feed {
    pub(crate) index: Arc<Index>,
    revision: Revision,
}

impl Feed {
    pub(crate) fn new(format: KeyFormat, peppers: &Peppers) -> Self {
        Self {
            index: Arc::new(Index::new(format, peppers.clone())),
            revision: Revision::ZERO,
        }
    }

    /// Applies the next page of the feed to the index.
    pub(crate) fn apply(&mut self, items: impl IntoIterator<Item = Item>, more: bool) {
        let changes = self.changes(items, more);
        let applied = self.index.apply(&changes, NOW);
        applied.expect("the feed fits the index");
    }

    /// Returns the next page of the feed.
    pub(crate) fn changes(&mut self, items: impl IntoIterator<Item = Item>, more: bool) -> Changes {
        let after = self.revision;
        let entries = items
            .into_iter()
            .map(|mut item| {
                self.revision = self.revision.next();
                if let Item::Key(record) = &mut item {
                    record.created_revision = self.revision;
                    record.revision = self.revision;
                }
                Entry {
                    revision: self.revision,
                    item,
                }
            })
            .collect();
        // All events have the same hash.
        let head = TrailHead {
            revision: self.revision,
            hash: ChainHash::START,
        };
        Changes {
            after,
            after_hash: Some(head.hash),
            entries,
            next_after: self.revision,
            next_hash: Some(head.hash),
            more,
            head,
        }
    }
}

/// Keys, and an index that verifies them.
pub(crate) struct Population {
    pub(crate) format: KeyFormat,
    pub(crate) verifier: Verifier,
    pub(crate) feed: Feed,
    /// All texts, concatenated: a `String` for each would double the memory.
    texts: String,
    namespaces: Vec<NamespaceId>,
}

impl Population {
    /// Creates this many active keys.
    pub(crate) fn new(keys: usize) -> Self {
        Self::with(keys, &Peppers::none(), |_| ())
    }

    /// Creates this many keys, hashed with the current pepper, each modified by `change`.
    pub(crate) fn with(keys: usize, peppers: &Peppers, change: impl Fn(&mut KeyRecord)) -> Self {
        let format = KeyFormat::new("dof").expect("a valid prefix");
        let mut feed = Feed::new(format, peppers);
        let mut texts = String::with_capacity(keys * format.credential_len());
        let mut namespaces = Vec::new();
        let mut records = Vec::new();
        for (n, (key, mut record)) in issue(&format, peppers).take(keys).enumerate() {
            if n % PER_NAMESPACE == 0 {
                namespaces.push(record.tenant.namespace.clone());
            }
            texts.push_str(key.expose());
            change(&mut record);
            records.push(Item::Key(record));
            if records.len() == 1_000 {
                feed.apply(records.drain(..), true);
            }
        }
        feed.apply(records, false);
        Self {
            format,
            verifier: feed.index.verifier(Some(Duration::from_secs(10))),
            feed,
            texts,
            namespaces,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.texts.len() / self.format.credential_len()
    }

    pub(crate) fn text(&self, n: usize) -> &str {
        let len = self.format.credential_len();
        &self.texts[n * len..(n + 1) * len]
    }

    pub(crate) fn namespace(&self, n: usize) -> &str {
        self.namespaces[n / PER_NAMESPACE].as_str()
    }
}

/// Returns keys without expiry, and the records that a store would keep of them.
pub(crate) fn issue(
    format: &KeyFormat,
    peppers: &Peppers,
) -> impl Iterator<Item = (IssuedKey, KeyRecord)> {
    let team = TeamId::new("acme").expect("a name");
    let mut tenant = Tenant::new(team.clone(), namespace(0));
    let mut owner = owner(0);
    (0_usize..).map(move |n| {
        if n % PER_NAMESPACE == 0 {
            tenant = Tenant::new(team.clone(), namespace(n));
        }
        if n % PER_OWNER == 0 {
            owner = self::owner(n);
        }
        let key = IssuedKey::generate(format, &SystemRandom).expect("the system has random bytes");
        let record = KeyRecord {
            id: key.id(),
            tenant: tenant.clone(),
            owner: owner.clone(),
            name: KeyName::new("key").expect("a name"),
            labels: Labels::new(),
            scopes: Scopes::All,
            digest: KeyDigest::of(&key, peppers),
            previous: None,
            created_at: NOW,
            created_by: Actor::system(),
            updated_at: NOW,
            issued_at: NOW,
            not_before: None,
            expires_at: None,
            status: Status::Active,
            created_revision: Revision::ZERO,
            revision: Revision::ZERO,
        };
        (key, record)
    })
}

/// As long as the namespace names of real platforms: `fn-` and a UUID.
fn namespace(n: usize) -> NamespaceId {
    NamespaceId::new(&format!("fn-{:036}", n / PER_NAMESPACE)).expect("a name")
}

fn owner(n: usize) -> Owner {
    Owner::User(UserId::new(&format!("user-{}", n / PER_OWNER)).expect("a name"))
}

pub(crate) fn basic(text: &str) -> String {
    format!("Basic {}", STANDARD.encode(text))
}

/// Returns the text of a key that does not exist.
pub(crate) fn unknown(format: &KeyFormat) -> String {
    let key = IssuedKey::generate(format, &SystemRandom);
    key.expect("the system has random bytes")
        .expose()
        .to_owned()
}

/// Returns the id of one key with the secret of another.
pub(crate) fn wrong(id: &str, secret: &str) -> String {
    let (id, _) = id.split_once(':').expect("a key has a colon");
    let (_, secret) = secret.split_once(':').expect("a key has a colon");
    format!("{id}:{secret}")
}

/// A sequence that the branch predictor cannot predict: xorshift (Marsaglia, 2003).
pub(crate) struct Sequence(u64);

impl Sequence {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).expect("fits")
    }

    /// Returns a number below `end`, in nine of ten calls from the first hundredth.
    pub(crate) fn skewed_below(&mut self, end: usize) -> usize {
        let end = if self.below(10) > 0 {
            end.div_ceil(100)
        } else {
            end
        };
        self.below(end)
    }
}
