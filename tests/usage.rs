//! Use over time, from the verification to the series.

use std::{sync::Arc, time::Duration};

use keyfob::{
    Access, Context, IssuedKey, Keyring, MemoryStore, NewKey, Tenant, Timestamp, Ttl, Verifier,
    block_on,
    gateway::{UsageOutcome, UsageRecorder},
    key::{CredentialId, SystemRandom},
    manage::{Rotation, UsageOf, UsageRange, UsageSeries, UsageStep},
    name::{NamespaceId, Scope},
};

/// 2027-01-15 08:00:00 UTC.
const START: Timestamp = Timestamp::from_unix(1_800_000_000);
const HOUR: u64 = 3_600;

struct Fixture {
    keyring: Keyring,
    verifier: Verifier,
    usage: Arc<UsageRecorder>,
}

impl Fixture {
    fn new() -> Self {
        let keyring = Keyring::builder(MemoryStore::new(), "dof".parse().unwrap());
        let keyring = block_on(keyring.open(START)).unwrap();
        let usage = Arc::new(UsageRecorder::new(100));
        Self {
            verifier: keyring.verifier().with_usage(Arc::clone(&usage)),
            keyring,
            usage,
        }
    }

    fn create(&self, name: &str, change: impl FnOnce(NewKey) -> NewKey) -> IssuedKey {
        let new = NewKey::for_user("acme", "orders", "alice", name).unwrap();
        let system = Context::system(START);
        let created = self.keyring.create(&system, change(new));
        block_on(created).unwrap().secret
    }

    fn call(&self, text: &str, access: &Access<'_>, after: u64) {
        let now = START.plus_seconds(after);
        let _ = self.verifier.verify_text(text.as_bytes(), access, now);
    }

    fn flush(&self, after: u64) {
        let flushed = self
            .keyring
            .flush_usage(&self.usage, START.plus_seconds(after));
        assert_eq!(block_on(flushed).unwrap(), 0);
    }

    fn series(&self, of: UsageOf, range: &UsageRange) -> UsageSeries {
        let of = [of];
        let found = self.keyring.usage_series(&of, range);
        block_on(found).unwrap().remove(0)
    }
}

fn orders() -> UsageOf {
    UsageOf::Namespace(NamespaceId::new("orders").unwrap())
}

#[test]
fn in_a_grace_period_the_use_of_each_secret_is_counted() {
    let fixture = Fixture::new();
    let old = fixture.create("laptop", |new| new);
    let (tenant, id) = (
        Tenant::new("acme".parse().unwrap(), "orders".parse().unwrap()),
        old.id(),
    );
    let access = Access::to("orders");
    fixture.call(old.expose(), &access, 0);
    let rotation = Rotation::new().with_grace(Duration::from_secs(HOUR));
    let system = Context::system(START);
    let rotated = fixture.keyring.rotate(&system, &tenant, id, rotation, None);
    let new = block_on(rotated).unwrap().secret;
    for (secret, calls) in [(&old, 2), (&new, 4)] {
        for _ in 0..calls {
            fixture.call(secret.expose(), &access, 60);
        }
    }
    fixture.call(old.expose(), &access, HOUR);
    fixture.flush(HOUR);
    let of = UsageOf::Credential(CredentialId::Key(id));
    let range = UsageRange::last(UsageStep::Hour, 2, START.plus_seconds(HOUR));
    let keys = fixture.series(of, &range).total().keys;
    assert_eq!((keys.accepted(), keys.accepted_previous()), (7, 2));
    let reasons: Vec<_> = keys.reasons().collect();
    assert_eq!(reasons, [(UsageOutcome::Replaced, 1)]);
}

#[test]
fn each_call_counts_for_the_hour_in_which_it_was_flushed() {
    let fixture = Fixture::new();
    let laptop = fixture.create("laptop", |new| new);
    let access = Access::to("orders");
    for (at, calls) in [(0, 2), (HOUR - 1, 1), (HOUR, 4), (26 * HOUR, 3)] {
        for _ in 0..calls {
            fixture.call(laptop.expose(), &access, at);
        }
        fixture.flush(at);
    }
    let to = START.plus_seconds(27 * HOUR);
    let of = UsageOf::Credential(CredentialId::Key(laptop.id()));
    for of in [of, orders()] {
        let hours = UsageRange::new(UsageStep::Hour, START, to).unwrap();
        let hours = fixture.series(of.clone(), &hours).buckets;
        let hours: Vec<u64> = hours.iter().map(|bucket| bucket.keys.accepted()).collect();
        assert_eq!((hours.len(), hours[0], hours[1], hours[26]), (27, 3, 4, 3));
        assert_eq!(hours.iter().sum::<u64>(), 10);
        let days = UsageRange::new(UsageStep::Day, START, to).unwrap();
        let days = fixture.series(of, &days).buckets;
        let days: Vec<u64> = days.iter().map(|bucket| bucket.keys.accepted()).collect();
        assert_eq!(days, [7, 3]);
    }
}

#[test]
fn a_refused_call_counts_for_its_reason_in_the_namespace_of_its_key() {
    let fixture = Fixture::new();
    let system = Context::system(START);
    let tenant = |key: &IssuedKey| {
        let id = CredentialId::Key(key.id());
        block_on(fixture.keyring.tenant_of(id)).unwrap().unwrap()
    };
    let hour = Ttl::hours(1).unwrap();
    let brief = fixture.create("brief", |new| new.expires_in(hour));
    let later = fixture.create("later", |new| new.with_not_before(Timestamp::MAX));
    let revoked = fixture.create("revoked", |new| new);
    let disabled = fixture.create("disabled", |new| new);
    let replaced = fixture.create("replaced", |new| new);
    let laptop = fixture.create("laptop", |new| new);
    let of = tenant(&revoked);
    block_on(fixture.keyring.revoke(&system, &of, revoked.id(), None)).unwrap();
    block_on(fixture.keyring.disable(&system, &of, disabled.id(), None)).unwrap();
    let grace = Rotation::new().with_grace(Duration::from_secs(60));
    let rotation = fixture
        .keyring
        .rotate(&system, &of, replaced.id(), grace, None);
    block_on(rotation).unwrap();
    let orders_only = Access::to("orders");
    let write = [Scope::new("write").unwrap()];
    let limited = fixture.create("limited", |new| {
        let read = Scope::new("read").unwrap();
        new.with_scopes(keyfob::Scopes::only([read]).unwrap())
    });
    for (key, access) in [
        (&brief, orders_only),
        (&later, orders_only),
        (&revoked, orders_only),
        (&disabled, orders_only),
        (&replaced, orders_only),
        (&laptop, Access::to("billing")),
        (&limited, orders_only.requiring(&write)),
    ] {
        fixture.call(key.expose(), &access, 2 * HOUR);
    }
    fixture.flush(2 * HOUR);
    let range = UsageRange::last(UsageStep::Day, 1, START.plus_seconds(2 * HOUR));
    let total = fixture.series(orders(), &range).total();
    let reasons: Vec<_> = total.keys.reasons().collect();
    let expected = [
        UsageOutcome::Replaced,
        UsageOutcome::Revoked,
        UsageOutcome::Disabled,
        UsageOutcome::NotYetValid,
        UsageOutcome::Expired,
        UsageOutcome::WrongNamespace,
        UsageOutcome::MissingScope,
    ];
    assert_eq!(reasons, expected.map(|reason| (reason, 1)));
    let billing = UsageOf::Namespace(NamespaceId::new("billing").unwrap());
    assert_eq!(fixture.series(billing, &range).total().refused(), 0);
}

/// Somebody who knows identifiers only can neither fill the recorder nor change what is counted.
#[test]
fn strangers_change_no_count() {
    let fixture = Fixture::new();
    let laptop = fixture.create("laptop", |new| new);
    let format = *fixture.keyring.format();
    let unknown = IssuedKey::generate(&format, &SystemRandom).unwrap();
    let id = format.key_id(laptop.id());
    let mut mistyped = laptop.expose().to_owned();
    mistyped.pop();
    mistyped.push('~');
    for text in [
        format!("{id}:{}", unknown.expose_secret()),
        unknown.expose().to_owned(),
        mistyped,
        format!("{id}:"),
        "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:x".into(),
    ] {
        for access in [Access::to("orders"), Access::to("billing")] {
            fixture.call(&text, &access, 0);
        }
    }
    assert_eq!(fixture.usage.drain(), (Vec::new(), 0));
}
