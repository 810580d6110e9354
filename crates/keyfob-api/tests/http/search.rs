//! The list of a team's keys, and the search in it.

use std::{num::NonZeroU32, time::Duration};

use keyfob::{
    Expiry, NewKey, Owner, Timestamp,
    gateway::UsageDelta,
    key::CredentialId,
    name::{KeyName, UserId},
};
use keyfob_api::{Limits, Quota, Right};
use serde_json::Value;

use crate::fixture::{Fixture, tenant};

const KEYS: &str = "/v1/teams/acme/keys";

fn names(list: &Value) -> Vec<&str> {
    let keys = list["access_keys"].as_array().unwrap();
    keys.iter()
        .map(|key| key["name"].as_str().unwrap())
        .collect()
}

async fn found(plane: &Fixture, token: &str, rest: &str) -> Vec<String> {
    let list = plane.ask(token, "GET", &format!("{KEYS}{rest}"), ()).await;
    let list = list.expect(200);
    names(&list).into_iter().map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn the_keys_of_all_namespaces_of_the_team_are_listed() {
    let plane = Fixture::new();
    plane.key("acme", "fn-a", "alice", "laptop").await;
    let (_, worker) = plane.key("acme", "fn-b", "bob", "Worker 1").await;
    let worker = plane.keyring.format().key_id(worker.id);
    plane
        .key("other", "fn-c", "alice", "laptop elsewhere")
        .await;
    let (_, info) = plane.key("acme", "fn-b", "alice", "revoked").await;
    let revoked = plane
        .keyring
        .revoke(&plane.context(), &info.tenant, info.id, None)
        .await;
    revoked.unwrap();
    let reader = plane.control_key("acme", "olga", Right::TeamRead).await;
    let alice = plane
        .control_key("acme", "alice", Right::FunctionAdmin)
        .await;
    let own = "control user:olga";
    let all = found(&plane, &reader, "").await;
    assert_eq!(all[..2], ["laptop", "Worker 1"]);
    let mut newest = found(&plane, &reader, "?order=newest_first").await;
    newest.reverse();
    assert_eq!(newest, all);
    assert!(all[2].starts_with(own) && all.len() == 4, "{all:?}");
    let id = plane.keyring.format().key_id(info.id);
    for (rest, expected) in [
        ("?containing=WORK", &["Worker 1"][..]),
        ("?containing=fn-b", &["Worker 1"]),
        ("?containing=user:bob", &["Worker 1"]),
        ("?containing=nothing", &[]),
        ("?owner=user:bob", &["Worker 1"]),
        ("?namespace=fn-a", &["laptop"]),
        ("?namespace=fn-c", &[]),
        ("?status=revoked", &["revoked"]),
        (&format!("?status=all&containing={id}"), &["revoked"]),
        (
            &format!("?status=all&containing={id}:dof_sk_x"),
            &["revoked"],
        ),
        ("?limit=1&status=active", &["laptop"]),
        ("?limit=2&order=newest_first&owner=user:bob", &["Worker 1"]),
        (&format!("?id={id}&status=all"), &["revoked"]),
        (
            &format!("?id={id}&id={worker}&status=all"),
            &["Worker 1", "revoked"],
        ),
        (
            &format!("?id={id}&id={worker}&status=all&order=newest_first"),
            &["revoked", "Worker 1"],
        ),
        (&format!("?id={id}"), &[]),
        ("?id=nothing", &[]),
        ("?id=", &[]),
        (&format!("?id={worker}&containing={id}&status=all"), &[]),
    ] {
        assert_eq!(found(&plane, &reader, rest).await, expected, "{rest}");
    }
    // Others' keys are not told to those who may not see them.
    let hers = found(&plane, &alice, "").await;
    assert!(hers.len() == 2 && hers[0] == "laptop", "{hers:?}");
    assert!(found(&plane, &alice, "?owner=user:bob").await.is_empty());
    let stranger = plane.control_key("other", "eve", Right::TeamAdmin).await;
    let answer = plane.ask(&stranger, "GET", KEYS, ()).await;
    answer.refused(404, "not_found");
    for (rest, field) in [
        ("?status=alive", "status"),
        ("?expires_before=soon", "expires_before"),
        ("?owner=alice", "owner"),
        ("?limit=0", "limit"),
        ("?order=newest", "order"),
        (&format!("?{}", ["id=x"; 201].join("&")), "id"),
    ] {
        let answer = plane
            .ask(&reader, "GET", &format!("{KEYS}{rest}"), ())
            .await;
        let message = answer.refused(400, "bad_request");
        assert!(message.starts_with(field), "{message}");
    }
}

#[tokio::test]
async fn keys_that_expire_soon_or_are_idle_are_found() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "olga", Right::TeamRead).await;
    let mut used = None;
    for (name, days) in [("week", Some(7)), ("month", Some(30)), ("never", None)] {
        let owner = Owner::User(UserId::new("alice").unwrap());
        let name = KeyName::new(name).unwrap();
        let expiry = match days {
            Some(days) => Expiry::At(Timestamp::from_unix(plane.now().as_unix() + days * 86_400)),
            None => Expiry::Never,
        };
        let new = NewKey::new(tenant("acme", "fn-a"), owner, name).with_expiry(expiry);
        used = Some(plane.make(new).await.1.id);
    }
    let in_days = |days: i64| Timestamp::from_unix(plane.now().as_unix() + days * 86_400);
    for (days, expected) in [(1, &[][..]), (8, &["week"]), (31, &["week", "month"])] {
        let rest = format!("?expires_before={}", in_days(days));
        assert_eq!(found(&plane, &admin, &rest).await, expected, "{rest}");
    }
    let (start, end) = (in_days(0), in_days(10));
    plane.pass(10 * 86_400);
    let usage = UsageDelta::accepted(CredentialId::Key(used.unwrap()), plane.now());
    plane.record_usage(vec![usage]).await;
    let idle = found(
        &plane,
        &admin,
        &format!("?unused_since={end}&owner=user:alice"),
    )
    .await;
    // The first has expired, the last was used.
    assert_eq!(idle, ["month"]);
    let new = found(&plane, &admin, &format!("?unused_since={start}")).await;
    assert!(new.is_empty(), "{new:?}: they were not there before");
}

#[tokio::test]
async fn a_search_goes_on_where_the_page_before_ended() {
    let plane = Fixture::with_limits(Limits {
        caller: Quota::new(NonZeroU32::MAX, Duration::from_secs(1)),
        ..Limits::default()
    });
    for n in 0..2_500 {
        // An owner has at most 1,000 keys in a namespace.
        let (user, name) = (format!("u{}", n % 3), format!("key {n}"));
        plane.key("acme", "fn-a", &user, &name).await;
    }
    let admin = plane.control_key("acme", "olga", Right::TeamRead).await;
    let (mut all, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let path = format!("{KEYS}?containing=KEY%201&limit=7{cursor}");
        let list = plane.ask(&admin, "GET", &path, ()).await.expect(200);
        assert!(names(&list).len() <= 7);
        all.extend(names(&list).into_iter().map(ToOwned::to_owned));
        pages += 1;
        let Some(next) = list["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    let expected = (0..2_500).map(|n| format!("key {n}"));
    let expected: Vec<_> = expected.filter(|name| name.contains("key 1")).collect();
    assert_eq!(all, expected);
    assert!(pages < 180, "{pages}");
}

#[tokio::test]
async fn keys_that_expire_first_come_first_unless_a_policy_ends_keys() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "olga", Right::TeamRead).await;
    let end = |days: i64| Timestamp::from_unix(plane.now().as_unix() + days * 86_400);
    for (name, days) in [("c", 3), ("a", 1), ("d", 40), ("b", 2), ("b too", 2)] {
        let owner = Owner::User(UserId::new("alice").unwrap());
        let new = NewKey::new(tenant("acme", "fn-a"), owner, KeyName::new(name).unwrap());
        plane.make(new.with_expiry(Expiry::At(end(days)))).await;
    }
    let never = NewKey::new(
        tenant("acme", "fn-a"),
        Owner::User(UserId::new("bob").unwrap()),
        KeyName::new("never").unwrap(),
    );
    plane.make(never).await;
    let before = end(30);
    let all = async || {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("{KEYS}?expires_before={before}&limit=2&owner=user:alice{cursor}");
            let list = plane.ask(&admin, "GET", &path, ()).await.expect(200);
            all.extend(names(&list).into_iter().map(ToOwned::to_owned));
            let Some(next) = list["next_cursor"].as_str() else {
                return all;
            };
            cursor = format!("&cursor={next}");
        }
    };
    assert_eq!(all().await, ["a", "b", "b too", "c"]);
    // The key that does not expire ends with the policy, and so does the last one.
    let policy = keyfob::manage::Policy::default().with_max_ttl(keyfob::Ttl::days(10).unwrap());
    let home = tenant("acme", "fn-a");
    let set = plane
        .keyring
        .set_policy(&plane.context(), Some(&home), Some(policy))
        .await;
    set.unwrap();
    assert_eq!(all().await, ["c", "a", "d", "b", "b too"]);
    let rest = format!("?expires_before={before}&owner=user:bob");
    assert_eq!(found(&plane, &admin, &rest).await, ["never"]);
}

#[tokio::test]
async fn a_policy_set_between_two_pages_of_keys_that_expire_skips_none() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "olga", Right::TeamAdmin).await;
    let end = |days: i64| Timestamp::from_unix(plane.now().as_unix() + days * 86_400);
    for (name, days) in [("c", 3), ("a", 1), ("b", 2)] {
        let owner = Owner::User(UserId::new("alice").unwrap());
        let new = NewKey::new(tenant("acme", "fn-a"), owner, KeyName::new(name).unwrap());
        plane.make(new.with_expiry(Expiry::At(end(days)))).await;
    }
    let set = async |ttl: Option<keyfob::Ttl>| {
        let policy = ttl.map(|ttl| keyfob::manage::Policy::default().with_max_ttl(ttl));
        let (home, context) = (tenant("acme", "fn-a"), plane.context());
        let set = plane.keyring.set_policy(&context, Some(&home), policy);
        set.await.unwrap();
    };
    let page = async |cursor: Option<&str>| {
        let cursor = cursor.map(|cursor| format!("&cursor={cursor}"));
        let path = format!(
            "{KEYS}?expires_before={}&limit=1&owner=user:alice{}",
            end(30),
            cursor.unwrap_or_default()
        );
        plane.ask(&admin, "GET", &path, ()).await
    };
    let limit = keyfob::Ttl::days(10).ok();
    // By expiry at first: the policy ends keys that the rest of that order does not have.
    let first = page(None).await.expect(200);
    assert_eq!(names(&first), ["a"]);
    set(limit).await;
    let refused = page(first["next_cursor"].as_str()).await.expect(400);
    assert!(
        refused.to_string().contains("begin without a cursor"),
        "{refused}"
    );
    // By creation at first: it goes on so.
    let mut list = page(None).await.expect(200);
    set(None).await;
    let mut all = vec![names(&list)[0].to_owned()];
    while let Some(next) = list["next_cursor"].as_str() {
        list = page(Some(next)).await.expect(200);
        all.extend(names(&list).into_iter().map(ToOwned::to_owned));
    }
    assert_eq!(all, ["c", "a", "b"]);
}
