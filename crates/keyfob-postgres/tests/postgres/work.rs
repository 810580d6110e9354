//! What the tests do with a store, and what must hold afterwards.

use keyfob::{
    Actor, Context, KeyId, KeyStore, Keyring, Owner, Scopes, Tenant, Timestamp,
    audit::{self, Action, AuditEntry},
    key::{KeyDigest, KeyFormat},
    manage::{Authority, Error, Labels, Status},
    name::{KeyName, NamespaceId, TeamId, UserId},
    store::{
        Change, Commit, CommitError, Entry, Item, KeyRecord, Limits, Revision, StoreError, Target,
    },
};

use keyfob_postgres::PostgresStore;

use crate::server::random;

pub(crate) const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

pub(crate) fn tenant() -> Tenant {
    Tenant::new(
        TeamId::new("acme").unwrap(),
        NamespaceId::new("fn-1").unwrap(),
    )
}

pub(crate) fn user(name: &str) -> Owner {
    Owner::User(UserId::new(name).unwrap())
}

/// The removal of a target, whether anything is known of it or not.
pub(crate) fn removal(target: Target) -> Change {
    Change::Revoke {
        target,
        block: true,
        in_advance: true,
    }
}

pub(crate) fn part_of(owner: &Owner) -> Target {
    Target::Owner(tenant().team, owner.clone())
}

pub(crate) fn format() -> KeyFormat {
    KeyFormat::new("dof").unwrap()
}

pub(crate) fn context() -> Context {
    Context::new(Actor::system(), NOW)
}

pub(crate) async fn keyring(store: &PostgresStore) -> Keyring {
    let builder = Keyring::builder(store.clone(), format());
    builder.open(NOW).await.expect("the store can be opened")
}

/// A record of a new key with a random identifier.
pub(crate) fn key(owner: &Owner, name: &str) -> KeyRecord {
    let id = (u128::from(random()) << 64) | u128::from(random());
    let digest = format!("sha256:{id:032x}{id:032x}");
    KeyRecord {
        id: KeyId::from_bytes(id.to_be_bytes()),
        tenant: tenant(),
        owner: owner.clone(),
        name: KeyName::new(name).unwrap(),
        labels: Labels::new(),
        scopes: Scopes::All,
        digest: KeyDigest::from_text(&digest).unwrap(),
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
    }
}

pub(crate) fn creation(record: &KeyRecord) -> Change {
    Change::CreateKey {
        record: record.clone(),
        limits: Limits::default(),
    }
}

pub(crate) fn commit(change: Change, action: Action) -> Commit {
    Commit {
        change,
        authority: Authority::System,
        event: AuditEntry::new(action, &context()),
    }
}

/// Creates a key; its record then has the revision that it got.
pub(crate) async fn create(
    store: &impl KeyStore,
    mut record: KeyRecord,
) -> Result<KeyRecord, CommitError> {
    let commit = commit(creation(&record), Action::KeyCreated);
    record.revision = store.commit(&commit).await?;
    record.created_revision = record.revision;
    Ok(record)
}

/// Checks what must hold of a store at rest: the trail describes it, with an event for each
/// revision, and the feed has no gap. Gives the head and the feed.
pub(crate) async fn check(store: &impl KeyStore) -> (Revision, Vec<Entry>) {
    let verified = audit::verify::<Error>(store, None).await;
    let revision = verified.expect("the trail is whole").head.revision;
    let (mut after, mut feed) = (Revision::ZERO, Vec::<Entry>::new());
    let head = loop {
        let part = store.changes(after, 1000).await.expect("it can be read");
        feed.extend(part.entries);
        after = part.next_after;
        if !part.more {
            break part.head.revision;
        }
    };
    assert_eq!(head, revision, "the head is the last event's");
    let rises = feed.windows(2).all(|two| two[0].revision < two[1].revision);
    assert!(rises, "the feed is in order");
    (head, feed)
}

/// The keys of a feed that work, behind the cutoffs of the same feed.
pub(crate) fn live(feed: &[Entry]) -> Vec<KeyRecord> {
    let cuts: Vec<_> = feed
        .iter()
        .filter_map(|entry| match &entry.item {
            Item::Cutoff(cutoff) => Some(cutoff.clone()),
            _ => None,
        })
        .collect();
    feed.iter()
        .filter_map(|entry| match &entry.item {
            Item::Key(record) => Some(record.clone()),
            _ => None,
        })
        .map(|record| {
            let targets = record.targets();
            let cuts = cuts.iter().filter(|cut| targets.contains(&cut.target));
            record.with_cutoffs(cuts)
        })
        .filter(|record| !record.is_revoked())
        .collect()
}

pub(crate) fn store_error(error: CommitError) -> StoreError {
    match error {
        CommitError::Store(error) => error,
        other => panic!("refused: {other}"),
    }
}

/// How often, unless the environment says otherwise.
pub(crate) fn times(variable: &str, default: u32) -> u32 {
    let said = std::env::var(variable).ok();
    said.and_then(|said| said.parse().ok()).unwrap_or(default)
}
