//! Several keyrings over one store, as in several processes.

use std::{sync::Arc, time::Duration};

use keyfob::{
    Access, Context, DenyReason, IssuedKey, KeyInfo, Keyring, MemoryStore, NewKey, Tenant,
    Timestamp, Verifier, block_on,
    key::{KeyFormat, PresentedKey},
    manage::{Error, Rotation},
    store::{JournalEntry, JournaledStore},
};

const NOW: Timestamp = Timestamp::from_unix(1_780_000_000);

fn format() -> KeyFormat {
    KeyFormat::new("dof").unwrap()
}

fn tenant() -> Tenant {
    Tenant::parse("acme", "fn-a").unwrap()
}

fn system() -> Context {
    Context::system(NOW)
}

fn open(store: &Arc<MemoryStore>) -> Keyring {
    block_on(Keyring::builder(Arc::clone(store), format()).open(NOW)).unwrap()
}

fn two() -> (Keyring, Keyring) {
    let store = Arc::new(MemoryStore::new());
    (open(&store), open(&store))
}

fn create(keyring: &Keyring, name: &str) -> (IssuedKey, KeyInfo) {
    let new = NewKey::for_user("acme", "fn-a", "alice", name).unwrap();
    block_on(keyring.create(&system(), new))
        .unwrap()
        .into_parts()
}

fn refusal(verifier: &Verifier, key: &IssuedKey, now: Timestamp) -> Option<DenyReason> {
    let verdict = verifier.verify_text(key.expose().as_bytes(), &Access::to("fn-a"), now);
    verdict.err().map(|denied| denied.reason())
}

#[test]
fn a_store_that_another_keyring_may_hold_has_a_bound() {
    let (here, elsewhere) = two();
    let (key, info) = create(&here, "laptop");
    let verifier = here.verifier();
    block_on(elsewhere.revoke(&system(), &tenant(), info.id, None)).unwrap();
    let bound = here.stale_after().expect("the store may have other users");
    assert_eq!(bound, Duration::from_secs(10));
    let late = NOW.plus_seconds(bound.as_secs());
    assert_eq!(refusal(&verifier, &key, late), Some(DenyReason::Stale));
    block_on(here.sync(late)).unwrap();
    assert_eq!(refusal(&verifier, &key, late), Some(DenyReason::Revoked));

    let alone = block_on(Keyring::builder(MemoryStore::new(), format()).open(NOW)).unwrap();
    assert_eq!(alone.stale_after(), None);
    let (key, _) = create(&alone, "laptop");
    assert_eq!(
        refusal(&alone.verifier(), &key, NOW.plus_seconds(1 << 30)),
        None
    );
}

#[test]
fn a_change_with_an_old_context_does_not_make_the_index_old() {
    let (here, _) = two();
    let (_, info) = create(&here, "laptop");
    let later = NOW.plus_seconds(60);
    block_on(here.sync(later)).unwrap();
    // A batch of changes takes long, and has one context.
    block_on(here.revoke(&system(), &tenant(), info.id, None)).unwrap();
    assert_eq!(here.index().confirmed_at(), Some(later));
    assert!(here.verifier().is_ready(later));
    // If the clock has run back, the next sync counts.
    block_on(here.sync(NOW)).unwrap();
    assert_eq!(here.index().confirmed_at(), Some(NOW));
}

type Call = fn(&Keyring, &IssuedKey) -> Result<(), Error>;

/// Calls that find the key deleted or revoked.
const CALLS: [(&str, Call); 7] = [
    ("revoke", |keyring, key| {
        block_on(keyring.revoke(&system(), &tenant(), key.id(), None)).map(drop)
    }),
    ("disable", |keyring, key| {
        block_on(keyring.disable(&system(), &tenant(), key.id(), None)).map(drop)
    }),
    ("enable", |keyring, key| {
        block_on(keyring.enable(&system(), &tenant(), key.id(), None)).map(drop)
    }),
    ("rotate", |keyring, key| {
        let rotation = Rotation::new();
        block_on(keyring.rotate(&system(), &tenant(), key.id(), rotation, None)).map(drop)
    }),
    ("rehash", |keyring, key| {
        let presented = PresentedKey::parse(&format(), key.expose().as_bytes()).unwrap();
        block_on(keyring.rehash(&system(), &tenant(), &presented)).map(drop)
    }),
    ("delete", |keyring, key| {
        block_on(keyring.delete(&system(), &tenant(), key.id(), None))
    }),
    ("create", |keyring, _| {
        let again = NewKey::for_user("acme", "fn-a", "alice", "again").unwrap();
        block_on(keyring.create(&system(), again)).map(drop)
    }),
];

#[test]
fn an_answer_about_what_another_keyring_did_comes_when_it_is_in_force_here() {
    for (name, call) in CALLS {
        for is_deleted in [false, true] {
            let (here, elsewhere) = two();
            let (key, info) = create(&here, "laptop");
            if is_deleted && name != "create" {
                block_on(elsewhere.delete(&system(), &tenant(), info.id, None)).unwrap();
            } else {
                block_on(elsewhere.remove_member(&system(), "acme", "alice")).unwrap();
            }
            let verifier = here.verifier();
            assert_eq!(refusal(&verifier, &key, NOW), None, "not in force yet");
            let answer = call(&here, &key);
            let found = refusal(&verifier, &key, NOW);
            assert!(
                matches!(found, Some(DenyReason::UnknownKey | DenyReason::Revoked)),
                "{name}, deleted: {is_deleted}: {answer:?}"
            );
        }
    }
}

#[test]
fn a_journal_with_two_key_formats_is_refused() {
    let entry = |prefix| JournalEntry::KeyFormat(KeyFormat::new(prefix).unwrap());
    assert!(JournaledStore::replay((), [entry("dof"), entry("dof")]).is_ok());
    assert!(JournaledStore::replay((), [entry("dof"), entry("acme")]).is_err());
}
