//! What the tests of this crate's own parts are played with.

use keyfob::{
    Actor, Context, KeyId, Owner, Scopes, Tenant, Timestamp,
    key::KeyDigest,
    manage::{Labels, Status},
    name::{KeyName, NamespaceId, TeamId, UserId},
    store::{KeyRecord, Revision},
};

pub(crate) fn home() -> Tenant {
    Tenant::new(
        TeamId::new("acme").unwrap(),
        NamespaceId::new("fn-1").unwrap(),
    )
}

fn person(n: u64) -> Owner {
    Owner::User(UserId::new(&format!("user {n}")).unwrap())
}

pub(crate) fn context() -> Context {
    Context::new(Actor::system(), Timestamp::from_unix(1_800_000_000))
}

pub(crate) fn new_record(of: u64) -> KeyRecord {
    let now = context().now;
    KeyRecord {
        id: KeyId::from_bytes(u128::from(of + 1).to_be_bytes()),
        tenant: home(),
        owner: person(of),
        name: KeyName::new("laptop").unwrap(),
        labels: Labels::new(),
        scopes: Scopes::All,
        digest: digest('0'),
        previous: None,
        created_at: now,
        created_by: Actor::system(),
        updated_at: now,
        issued_at: now,
        not_before: None,
        expires_at: None,
        status: Status::Active,
        created_revision: Revision::ZERO,
        revision: Revision::ZERO,
    }
}

pub(crate) fn digest(digit: char) -> KeyDigest {
    let digits: String = std::iter::repeat_n(digit, 64).collect();
    KeyDigest::from_text(&["sha256:", &digits].concat()).unwrap()
}
