//! Usage by day: each use counts for its hour, once, and a day is forgotten when it is old.

use keyfob::{
    KeyStore, Tenant, Timestamp,
    gateway::{UsageBatch, UsageDelta, UsageOutcome, UsageSource},
    key::{CredentialId, SystemRandom},
    store::{UsageDay, UsageOf, UsageQuery},
};

use crate::fixture::{Key, NOW, deletion, home, kept, key, later, legacy, removal, sound, tenant};

/// 2027-01-15 08:00:00 UTC.
const HOUR: usize = 8;

fn day_of(at: Timestamp) -> i64 {
    at.as_unix().div_euclid(86_400)
}

fn of(key: &Key) -> CredentialId {
    CredentialId::Key(key.record.id)
}

fn uses(credential: CredentialId, outcome: UsageOutcome, count: u64) -> UsageDelta {
    UsageDelta {
        credential,
        outcome,
        count,
        last_used: None,
    }
}

fn accepted(credential: CredentialId, count: u64) -> UsageDelta {
    UsageDelta {
        last_used: Some(NOW),
        ..uses(credential, UsageOutcome::Accepted, count)
    }
}

/// The only batch of its source, of the hour of `at`.
fn batch(at: Timestamp, usage: &[UsageDelta]) -> UsageBatch {
    UsageBatch::single(usage.to_vec(), at, &SystemRandom).expect("the system has randomness")
}

/// Records the uses of the hour of `at` at `now`.
async fn record(store: &dyn KeyStore, at: Timestamp, now: Timestamp, usage: &[UsageDelta]) {
    sound(store.record_usage(&batch(at, usage), now).await);
}

/// What is told of these, from one day to another.
async fn told(store: &dyn KeyStore, of: &[UsageOf], days: (i64, i64)) -> Vec<UsageDay> {
    let query = UsageQuery {
        of: of.to_vec(),
        first: days.0,
        last: days.1,
    };
    let mut found = sound(store.usage_days(&query).await);
    found.sort_by(|a, b| {
        let place = |day: &UsageDay| (day.of.clone(), day.day, day.legacy, day.outcome);
        place(a).cmp(&place(b))
    });
    found
}

/// The hours that have uses: day, hour, whether of legacy credentials, outcome, number.
type Hours = Vec<(i64, usize, bool, UsageOutcome, u64)>;

async fn hours(store: &dyn KeyStore, of: UsageOf, days: (i64, i64)) -> Hours {
    let found = told(store, std::slice::from_ref(&of), days).await;
    assert!(found.iter().all(|day| day.of == of), "{of}: {found:?}");
    let hours = found.iter().flat_map(|day| {
        let used = day
            .hours
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0);
        used.map(|(hour, count)| (day.day, hour, day.legacy, day.outcome, *count))
    });
    hours.collect()
}

/// The hours of the days around `NOW`.
async fn recent(store: &dyn KeyStore, of: UsageOf) -> Hours {
    hours(store, of, (day_of(NOW) - 2, day_of(NOW) + 2)).await
}

fn namespace(tenant: &Tenant) -> UsageOf {
    UsageOf::Namespace(tenant.namespace.clone())
}

fn team(tenant: &Tenant) -> UsageOf {
    UsageOf::Team(tenant.team.clone())
}

/// Uses count for their credential, its namespace and its team, by hour and outcome.
pub async fn uses_are_counted_by_hour_and_outcome(store: &dyn KeyStore) {
    use UsageOutcome::{Accepted, Expired, WrongNamespace};
    let (one, other) = (
        key("one").create(store).await,
        key("other").create(store).await,
    );
    let (one, other) = (of(&one), of(&other));
    assert_eq!(recent(store, team(&home())).await, [], "without usage");
    let first = [
        accepted(one, 2),
        uses(one, Expired, 3),
        accepted(other, 10),
        accepted(one, 1),
    ];
    record(store, NOW, NOW, &first).await;
    let second = [uses(one, WrongNamespace, 5), accepted(one, 7)];
    record(store, later(3_599), later(3_599), &second).await;
    record(store, later(3_600), later(7_200), &second).await;
    let day = day_of(NOW);
    let expected = [
        (day, HOUR, false, Accepted, 10),
        (day, HOUR + 1, false, Accepted, 7),
        (day, HOUR, false, Expired, 3),
        (day, HOUR, false, WrongNamespace, 5),
        (day, HOUR + 1, false, WrongNamespace, 5),
    ];
    assert_eq!(recent(store, UsageOf::Credential(one)).await, expected);
    let mut together = expected;
    together[0].4 = 20;
    assert_eq!(recent(store, namespace(&home())).await, together);
    assert_eq!(recent(store, team(&home())).await, together);
    let other = recent(store, UsageOf::Credential(other)).await;
    assert_eq!(other, [(day, HOUR, false, Accepted, 10)]);
    // The first and the last hour of a day, also of one before the epoch.
    for at in [0, 86_399, -1, -86_400] {
        let at = Timestamp::from_unix(at);
        record(store, at, at, &[accepted(one, 1)]).await;
    }
    let early = hours(store, UsageOf::Credential(one), (-1, 0)).await;
    let expected = [(-1, 0), (-1, 23), (0, 0), (0, 23)];
    assert_eq!(
        early,
        expected.map(|(day, hour)| (day, hour, false, Accepted, 1))
    );
}

/// A batch that comes late counts for its own hour, and does not move the last use back.
pub async fn a_late_batch_counts_for_its_own_hour(store: &dyn KeyStore) {
    let id = of(&key("laptop").create(store).await);
    let day = day_of(NOW);
    record(store, NOW, NOW, &[accepted(id, 1)]).await;
    let old = UsageDelta {
        last_used: Some(Timestamp::from_unix(NOW.as_unix() - 90_000)),
        ..accepted(id, 4)
    };
    let at = Timestamp::from_unix(NOW.as_unix() - 90_000);
    record(store, at, NOW, &[old]).await;
    let expected = [
        (day - 1, HOUR - 1, false, UsageOutcome::Accepted, 4),
        (day, HOUR, false, UsageOutcome::Accepted, 1),
    ];
    assert_eq!(recent(store, UsageOf::Credential(id)).await, expected);
    assert_eq!(recent(store, namespace(&home())).await, expected);
    let usage = sound(store.usage(&[id]).await);
    assert_eq!(usage.first().and_then(|usage| usage.last_used), Some(NOW));
    assert_eq!(usage.first().map(|usage| usage.accepted), Some(5));
}

/// A batch that is sent again counts once, in its hour and in every sum.
pub async fn a_repeated_batch_counts_once_by_day(store: &dyn KeyStore) {
    let id = of(&key("laptop").create(store).await);
    let one = batch(NOW, &[accepted(id, 3)]);
    let older = UsageBatch {
        sequence: 0,
        ..one.clone()
    };
    for (batch, at) in [(&one, 0), (&one, 0), (&older, 0), (&one, 7_200)] {
        sound(store.record_usage(batch, later(at)).await);
        let expected = [(day_of(NOW), HOUR, false, UsageOutcome::Accepted, 3)];
        assert_eq!(recent(store, UsageOf::Credential(id)).await, expected);
        assert_eq!(recent(store, team(&home())).await, expected);
    }
}

/// An hour after the time of the call is taken for the current one: a source whose clock is ahead
/// makes no rows of days to come.
pub async fn an_hour_to_come_counts_as_the_current_one(store: &dyn KeyStore) {
    let id = of(&key("laptop").create(store).await);
    for at in [NOW, later(3_600), later(40 * 86_400), Timestamp::MAX] {
        record(store, at, NOW, &[accepted(id, 1)]).await;
    }
    let days = (day_of(NOW), day_of(NOW) + 50);
    let expected = [(days.0, HOUR, false, UsageOutcome::Accepted, 4)];
    assert_eq!(hours(store, UsageOf::Credential(id), days).await, expected);
    assert_eq!(hours(store, namespace(&home()), days).await, expected);
}

/// A day is kept for as long as stated; usage of a day that is older counts for no day.
pub async fn a_day_is_kept_as_long_as_stated(store: &dyn KeyStore) {
    let id = of(&key("laptop").create(store).await);
    let most = u64::from(UsageBatch::DAYS_KEPT);
    let day = day_of(NOW);
    record(store, NOW, NOW, &[accepted(id, 1)]).await;
    let last = later((most - 1) * 86_400);
    record(store, NOW, last, &[accepted(id, 2)]).await;
    let all = [UsageOf::Credential(id), namespace(&home()), team(&home())];
    for of in all.clone() {
        let expected = [(day, HOUR, false, UsageOutcome::Accepted, 3)];
        assert_eq!(hours(store, of, (day, day)).await, expected);
    }
    record(store, NOW, later(most * 86_400), &[accepted(id, 4)]).await;
    for of in all {
        assert_eq!(hours(store, of, (day, day)).await, []);
    }
    let usage = sound(store.usage(&[id]).await);
    assert_eq!(usage.first().map(|usage| usage.accepted), Some(7));
}

/// Days that are forgotten are deleted at least as fast as batches add days.
pub async fn forgotten_days_do_not_pile_up(store: &dyn KeyStore) {
    let mut ids = Vec::new();
    // More than a hundred rows a day.
    for n in 0..12 {
        ids.push(of(&key(&format!("key-{n}")).create(store).await));
    }
    let usage: Vec<_> = ids
        .iter()
        .flat_map(|id| {
            let outcomes = UsageOutcome::ALL.into_iter();
            outcomes.map(|outcome| uses(*id, outcome, 1))
        })
        .collect();
    let most = u64::from(UsageBatch::DAYS_KEPT);
    let day = day_of(NOW);
    for at in [0, 86_400] {
        record(store, later(at), later(at), &usage).await;
    }
    for at in [most * 86_400, (most + 1) * 86_400] {
        record(store, later(at), later(at), &usage).await;
    }
    let of: Vec<_> = ids.iter().copied().map(UsageOf::Credential).collect();
    assert_eq!(told(store, &of, (day, day + 1)).await, []);
    let of = [namespace(&home()), team(&home())];
    assert_eq!(told(store, &of, (day, day + 1)).await, []);
}

/// A namespace's and a team's uses of keys and of legacy credentials are told apart.
pub async fn keys_and_legacy_credentials_are_counted_apart_by_day(store: &dyn KeyStore) {
    let new = of(&key("laptop").create(store).await);
    let old = CredentialId::Legacy(legacy("guest").create(store).await.record.id);
    let usage = [
        accepted(new, 2),
        accepted(old, 40),
        uses(old, UsageOutcome::LegacyOff, 5),
    ];
    record(store, NOW, NOW, &usage).await;
    let day = day_of(NOW);
    let expected = [
        (day, HOUR, false, UsageOutcome::Accepted, 2),
        (day, HOUR, true, UsageOutcome::Accepted, 40),
        (day, HOUR, true, UsageOutcome::LegacyOff, 5),
    ];
    assert_eq!(recent(store, namespace(&home())).await, expected);
    assert_eq!(recent(store, team(&home())).await, expected);
    let legacy = recent(store, UsageOf::Credential(old)).await;
    assert_eq!(legacy, expected[1..]);
    let key = recent(store, UsageOf::Credential(new)).await;
    assert_eq!(key, expected[..1]);
}

/// Each namespace and each team has its own uses.
pub async fn namespaces_and_teams_are_counted_apart(store: &dyn KeyStore) {
    let tenants = [home(), tenant("acme", "fn-2"), tenant("umbrella", "acme")];
    for (n, tenant) in (0..).zip(&tenants) {
        let one = key("laptop").within(tenant).create(store).await;
        record(store, NOW, NOW, &[accepted(of(&one), 10_u64.pow(n))]).await;
    }
    let counted = async |of: UsageOf| {
        let hours = recent(store, of).await.into_iter();
        hours.map(|hour| hour.4).sum::<u64>()
    };
    for (n, tenant) in (0..).zip(&tenants) {
        assert_eq!(counted(namespace(tenant)).await, 10_u64.pow(n));
    }
    assert_eq!(counted(team(&tenants[0])).await, 11);
    assert_eq!(counted(team(&tenants[2])).await, 100);
    assert_eq!(counted(team(&tenant("nobody", "x"))).await, 0);
}

/// Usage of credentials that are not in the store counts for no day.
pub async fn unknown_credentials_count_for_no_day(store: &dyn KeyStore) {
    let known = of(&key("laptop").create(store).await);
    let gone = key("gone").create(store).await;
    kept(store, deletion(&gone.record)).await;
    let old = CredentialId::Legacy(legacy("unknown").record.id);
    let usage = [of(&key("unknown")), of(&gone), old, known].map(|id| accepted(id, 3));
    record(store, NOW, NOW, &usage).await;
    for id in [usage[0].credential, of(&gone), old] {
        assert_eq!(recent(store, UsageOf::Credential(id)).await, [], "{id}");
    }
    let expected = [(day_of(NOW), HOUR, false, UsageOutcome::Accepted, 3)];
    assert_eq!(recent(store, namespace(&home())).await, expected);
}

/// What was counted stays so, also if the credential or its namespace is deleted.
pub async fn days_outlive_their_credential(store: &dyn KeyStore) {
    let gone = key("gone").create(store).await;
    let laptop = key("laptop").create(store).await;
    record(
        store,
        NOW,
        NOW,
        &[accepted(of(&gone), 1), accepted(of(&laptop), 2)],
    )
    .await;
    let expected = |count| [(day_of(NOW), HOUR, false, UsageOutcome::Accepted, count)];
    kept(store, deletion(&gone.record)).await;
    kept(store, removal(keyfob::store::Target::Namespace(home()))).await;
    record(store, NOW, NOW, &[accepted(of(&laptop), 4)]).await;
    assert_eq!(recent(store, namespace(&home())).await, expected(7));
    assert_eq!(recent(store, team(&home())).await, expected(7));
    let gone = recent(store, UsageOf::Credential(of(&gone))).await;
    assert_eq!(gone, expected(1));
}

/// A query is answered for its days and its subjects, and for nothing else.
pub async fn only_the_days_that_are_asked_for_are_told(store: &dyn KeyStore) {
    let (one, other) = (
        key("one").create(store).await,
        key("other").create(store).await,
    );
    let (one, other) = (of(&one), of(&other));
    let day = day_of(NOW);
    for n in 0..4 {
        let usage = [accepted(one, 1), accepted(other, 2)];
        record(store, later(n * 86_400), later(n * 86_400), &usage).await;
    }
    let one = UsageOf::Credential(one);
    let days = async |first, last| {
        let found = hours(store, one.clone(), (first, last)).await;
        found.iter().map(|hour| hour.0).collect::<Vec<_>>()
    };
    assert_eq!(days(day + 1, day + 2).await, [day + 1, day + 2]);
    assert_eq!(days(day - 9, day).await, [day]);
    assert_eq!(days(day + 3, i64::MAX).await, [day + 3]);
    let none: [i64; 0] = [];
    assert_eq!(days(day + 1, day).await, none);
    let most = i64::from(UsageBatch::DAYS_KEPT);
    assert_eq!(days(day - most, day).await, none, "after the 400th day");
    assert_eq!(days(day - most + 1, day + 9).await, [day]);
    assert_eq!(told(store, &[], (day, day)).await, []);
    let both = [UsageOf::Credential(other), one.clone()];
    let found = told(store, &both, (day, day)).await;
    let counts: u64 = found.iter().flat_map(|day| day.hours).sum();
    assert_eq!((found.len(), counts), (2, 3));
}

/// A count ends at the largest number that a store can hold, of 63 bits or more.
pub async fn counts_of_an_hour_stop_at_the_largest_number(store: &dyn KeyStore) {
    let id = of(&key("laptop").create(store).await);
    let source = UsageSource::from_bytes([7; 16]);
    for sequence in 1..4 {
        let one = UsageBatch {
            source,
            sequence,
            hour: NOW,
            usage: vec![accepted(id, u64::MAX), accepted(id, 5)],
        };
        sound(store.record_usage(&one, NOW).await);
    }
    for of in [UsageOf::Credential(id), namespace(&home()), team(&home())] {
        let found = recent(store, of).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].4 >= i64::MAX.unsigned_abs(), "{found:?}");
    }
}
