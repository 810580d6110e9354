//! Policies: the type's default, the default that was set, the override of one namespace.

use std::time::Duration;

use keyfob::{
    DenyReason, KeyStore, Tenant, Ttl,
    legacy::LegacyPolicy,
    manage::Policy,
    store::{Change, Item, Revision},
};

use crate::{
    fixture::{bind, home, kept, key, later, legacy, sound, tenant},
    reading::{Gate, feed},
};

fn second() -> Tenant {
    tenant("acme", "fn-2")
}

async fn policy(store: &dyn KeyStore, tenant: &Tenant) -> Policy {
    let policy = sound(store.policy(Some(tenant)).await);
    let one = sound(store.policies(std::slice::from_ref(tenant)).await);
    assert_eq!(one, std::slice::from_ref(&policy), "read as a list of one");
    policy
}

async fn legacy_policy(store: &dyn KeyStore, tenant: &Tenant) -> LegacyPolicy {
    let policy = sound(store.legacy_policy(Some(tenant)).await);
    let one = sound(store.legacy_policies(std::slice::from_ref(tenant)).await);
    assert_eq!(one, std::slice::from_ref(&policy), "read as a list of one");
    policy
}

async fn set(store: &dyn KeyStore, tenant: Option<Tenant>, policy: Option<Policy>) {
    bind(store, tenant.as_ref()).await;
    kept(store, Change::SetPolicy { tenant, policy }).await;
}

async fn set_legacy(store: &dyn KeyStore, tenant: Option<Tenant>, policy: Option<LegacyPolicy>) {
    bind(store, tenant.as_ref()).await;
    kept(store, Change::SetLegacyPolicy { tenant, policy }).await;
}

/// A policy with a value of its own in every field.
fn full(seed: u32) -> Policy {
    Policy {
        min_ttl: Ttl::hours(seed).expect("the life is valid"),
        max_ttl: Some(Ttl::days(seed).expect("the life is valid")),
        expiry_required: seed % 2 == 1,
        keys_per_owner: Some(seed),
        unique_names: seed % 2 == 0,
        max_grace: Duration::from_secs(u64::from(seed)),
    }
}

fn sunset(seconds: u64) -> LegacyPolicy {
    LegacyPolicy::until(later(seconds))
        .with_brownout(later(seconds), later(seconds + 1))
        .and_then(|policy| policy.with_brownout(later(1), later(2)))
        .expect("the brownouts are valid")
}

/// Without any setting, the policies are the defaults of their types.
pub async fn without_a_policy_the_default_holds(store: &dyn KeyStore) {
    assert_eq!(policy(store, &home()).await, Policy::default());
    assert_eq!(legacy_policy(store, &home()).await, LegacyPolicy::Off);
}

/// An override holds for its namespace alone, and the default that was set for all others.
pub async fn an_override_holds_for_its_namespace_alone(store: &dyn KeyStore) {
    set(store, Some(home()), Some(full(3))).await;
    assert_eq!(policy(store, &home()).await, full(3), "the override");
    let other = policy(store, &second()).await;
    assert_eq!(other, Policy::default(), "without a default");
    set(store, None, Some(full(4))).await;
    assert_eq!(policy(store, &home()).await, full(3), "the override");
    assert_eq!(policy(store, &second()).await, full(4), "the default");
}

/// The default policy can be read by itself: it is that of the type until one is set, and no
/// override changes it.
pub async fn the_default_policy_is_read_by_itself(store: &dyn KeyStore) {
    let default = async || sound(store.policy(None).await);
    let legacy_default = async || sound(store.legacy_policy(None).await);
    set(store, Some(home()), Some(full(3))).await;
    set_legacy(store, Some(home()), Some(sunset(10))).await;
    assert_eq!(default().await, Policy::default(), "none was set");
    assert_eq!(legacy_default().await, LegacyPolicy::Off, "none was set");
    set(store, None, Some(full(4))).await;
    assert_eq!(default().await, full(4), "the default that was set");
    assert_eq!(legacy_default().await, LegacyPolicy::Off, "none was set");
    set_legacy(store, None, Some(sunset(20))).await;
    assert_eq!(legacy_default().await, sunset(20), "the one that was set");
    set(store, None, None).await;
    set_legacy(store, None, None).await;
    assert_eq!(default().await, Policy::default(), "removed");
    assert_eq!(legacy_default().await, LegacyPolicy::Off, "removed");
}

/// An override is not told to another team: for its tenant the default policy holds.
pub async fn an_override_is_not_told_to_another_team(store: &dyn KeyStore) {
    set(store, Some(home()), Some(full(3))).await;
    set_legacy(store, Some(home()), Some(sunset(10))).await;
    set(store, None, Some(full(4))).await;
    let foreign = tenant("globex", "fn-1");
    assert_eq!(policy(store, &foreign).await, full(4));
    assert_eq!(legacy_policy(store, &foreign).await, LegacyPolicy::Off);
}

/// The policies of many namespaces are told in the order of the question, also of one that is asked
/// for twice, of another team or unknown; of no namespace there is none.
pub async fn many_policies_are_told_in_the_order_of_the_question(store: &dyn KeyStore) {
    set(store, Some(home()), Some(full(3))).await;
    set_legacy(store, Some(home()), Some(sunset(10))).await;
    set(store, Some(second()), Some(full(5))).await;
    set(store, None, Some(full(4))).await;
    set_legacy(store, None, Some(sunset(20))).await;
    let unknown = tenant("acme", "fn-9");
    let tenants = [second(), unknown, home(), tenant("globex", "fn-1"), home()];
    let policies = sound(store.policies(&tenants).await);
    assert_eq!(policies, [5, 4, 3, 4, 3].map(full));
    let policies = sound(store.legacy_policies(&tenants).await);
    assert_eq!(policies, [20, 20, 10, 20, 10].map(sunset));
    assert!(sound(store.policies(&[]).await).is_empty());
    assert!(sound(store.legacy_policies(&[]).await).is_empty());
}

/// A policy that is taken back makes room for the next: override, default, default of the type.
pub async fn a_policy_can_be_taken_back(store: &dyn KeyStore) {
    set(store, None, Some(full(4))).await;
    set(store, Some(home()), Some(full(3))).await;
    set(store, Some(home()), Some(full(5))).await;
    assert_eq!(policy(store, &home()).await, full(5), "set again");
    set(store, Some(home()), None).await;
    assert_eq!(policy(store, &home()).await, full(4), "the default");
    set(store, None, None).await;
    assert_eq!(policy(store, &home()).await, Policy::default());
    set(store, None, None).await;
    assert_eq!(policy(store, &home()).await, Policy::default(), "twice");
}

/// Every field of a policy comes back as it was set, the extremes and the absent ones too.
pub async fn every_field_of_a_policy_is_kept(store: &dyn KeyStore) {
    let extreme = Policy {
        min_ttl: Ttl::MAX,
        max_ttl: Some(Ttl::MAX),
        expiry_required: true,
        keys_per_owner: Some(u32::MAX),
        unique_names: false,
        max_grace: Duration::from_secs(u64::from(u32::MAX) * 1000),
    };
    let none = Policy {
        max_ttl: None,
        keys_per_owner: None,
        ..full(2)
    };
    let zero = Policy {
        keys_per_owner: Some(0),
        max_grace: Duration::ZERO,
        ..Policy::default()
    };
    for expected in [full(1), full(2), extreme, none, zero] {
        set(store, Some(home()), Some(expected.clone())).await;
        assert_eq!(policy(store, &home()).await, expected);
    }
}

/// The policy for legacy credentials has its own default and overrides, with all brownouts.
pub async fn a_legacy_policy_has_its_own_overrides(store: &dyn KeyStore) {
    set_legacy(store, Some(home()), Some(sunset(10))).await;
    assert_eq!(legacy_policy(store, &home()).await, sunset(10));
    let other = legacy_policy(store, &second()).await;
    assert_eq!(other, LegacyPolicy::Off, "without a default");
    set_legacy(store, None, Some(sunset(20))).await;
    assert_eq!(legacy_policy(store, &home()).await, sunset(10), "override");
    assert_eq!(legacy_policy(store, &second()).await, sunset(20), "default");
    set_legacy(store, Some(second()), Some(LegacyPolicy::Off)).await;
    assert_eq!(legacy_policy(store, &second()).await, LegacyPolicy::Off);
    set_legacy(store, Some(home()), None).await;
    assert_eq!(legacy_policy(store, &home()).await, sunset(20), "reset");
    set_legacy(store, None, None).await;
    assert_eq!(legacy_policy(store, &home()).await, LegacyPolicy::Off);
    assert_eq!(policy(store, &home()).await, Policy::default());
}

/// The feed tells each policy's last state: the default, an override, and what was taken back.
pub async fn the_feed_tells_of_policies(store: &dyn KeyStore) {
    set(store, Some(home()), Some(full(3))).await;
    set(store, None, Some(full(4))).await;
    set_legacy(store, None, Some(sunset(10))).await;
    set_legacy(store, Some(home()), Some(sunset(20))).await;
    set(store, Some(home()), None).await;
    set_legacy(store, None, None).await;
    let told: Vec<(Option<Tenant>, String)> = feed(store, Revision::ZERO, 2)
        .await
        .into_iter()
        .map(|entry| match entry.item {
            Item::Policy(place, policy) => (place, format!("{policy:?}")),
            Item::LegacyPolicy(place, policy) => (place, format!("{policy:?}")),
            other => panic!("the feed tells: {other:?}"),
        })
        .collect();
    let tenant = Some(home());
    let expected = [
        (None, format!("{:?}", Some(full(4)))),
        (tenant.clone(), format!("{:?}", Some(sunset(20)))),
        (tenant, "None".to_owned()),
        (None, "None".to_owned()),
    ];
    assert_eq!(told, expected);
}

/// A lowered maximum ends keys that exist, from the moment their secret was made; taken back, it
/// ends none. Both reach an index by the feed.
pub async fn a_lowered_maximum_ends_existing_keys(store: &dyn KeyStore) {
    let laptop = key("laptop").create(store).await;
    let other = key("other").within(&second()).create(store).await;
    let hour = Policy {
        max_ttl: Some(Ttl::hours(1).expect("the life is valid")),
        ..Policy::default()
    };
    set(store, Some(home()), Some(hour)).await;
    let gate = Gate::over(store).await;
    assert_eq!(gate.decide(laptop.text(), &home(), later(3599)), Ok(()));
    let verdict = gate.decide(laptop.text(), &home(), later(3600));
    assert_eq!(verdict, Err(DenyReason::Expired), "past the maximum");
    let verdict = gate.decide(other.text(), &second(), later(3600));
    assert_eq!(verdict, Ok(()), "in another namespace");
    set(store, Some(home()), None).await;
    gate.follow(store).await;
    assert_eq!(gate.decide(laptop.text(), &home(), later(3600)), Ok(()));
}

/// Legacy credentials are refused in a brownout and after the sunset, and accepted again when
/// the sunset is put off: all of it reaches an index by the feed.
pub async fn a_sunset_can_be_put_off(store: &dyn KeyStore) {
    let guest = legacy("guest").create(store).await;
    set_legacy(store, Some(home()), Some(sunset(10))).await;
    let gate = Gate::over(store).await;
    let off = Err(DenyReason::LegacyOff);
    for (at, expected) in [(0, Ok(())), (1, off), (2, Ok(())), (9, Ok(())), (10, off)] {
        let verdict = gate.decide(&guest.text, &home(), later(at));
        assert_eq!(verdict, expected, "after {at} s");
    }
    set_legacy(store, Some(home()), Some(LegacyPolicy::until(later(20)))).await;
    gate.follow(store).await;
    assert_eq!(gate.decide(&guest.text, &home(), later(10)), Ok(()));
}
