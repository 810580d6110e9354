//! Revoking many keys at a time.

use std::{num::NonZeroU32, time::Duration};

use keyfob::{KeyInfo, MemoryStore};
use keyfob_api::{Quota, Right};

use crate::fixture::{Fixture, changed};

impl Fixture {
    async fn keys(&self, number: usize) -> Vec<KeyInfo> {
        let mut keys = Vec::new();
        for n in 0..number {
            keys.push(self.key("orders", "user:bob", &format!("worker {n}")).await);
        }
        keys
    }

    fn selection(&self, keys: &[KeyInfo]) -> String {
        let fields = keys.iter().map(|key| ("key", self.field(key)));
        let fields = serde_urlencoded::to_string(fields.collect::<Vec<_>>());
        format!("/keys/revoke?{}", fields.unwrap())
    }

    async fn revoked(&self, keys: &[KeyInfo]) -> usize {
        let mut revoked = 0;
        for key in keys {
            revoked += usize::from(self.is_revoked(key).await);
        }
        revoked
    }
}

const PAGE: &str = "/keys/revoke";

#[tokio::test]
async fn a_selection_of_any_size_is_revoked_as_a_whole() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    let keys = plane.keys(120).await;
    let cookie = plane.sign_in(&admin).await;
    let mut shown = plane.get(&plane.selection(&keys), &cookie).await;
    for (before, word, after) in [(0, "revoke 50", 50), (50, "revoke 50", 100)] {
        assert_eq!(shown.status, 200, "{}", shown.text);
        assert!(shown.text.contains("left"), "{}", shown.text);
        assert_eq!(plane.revoked(&keys).await, before);
        let body = changed(shown.inputs(PAGE), "typed", word);
        let done = plane.post(PAGE, &cookie, &body).await;
        assert_eq!(done.status, 200, "{}", done.text);
        assert_eq!(plane.revoked(&keys).await, after);
        let rest = changed(done.inputs(PAGE), "", "");
        shown = plane.get(&format!("{PAGE}?{rest}"), &cookie).await;
    }
    let body = changed(shown.inputs(PAGE), "typed", "revoke 20");
    let done = plane.post(PAGE, &cookie, &body).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert_eq!(plane.revoked(&keys).await, 120);
}

#[tokio::test]
async fn a_hundred_keys_are_revoked_within_a_callers_quota_of_a_minute() {
    let quota = Quota::new(NonZeroU32::new(250).unwrap(), Duration::from_hours(24));
    let plane = Fixture::with_quota(MemoryStore::new(), quota).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    let keys = plane.keys(100).await;
    let cookie = plane.sign_in(&admin).await;
    let shown = plane.get(&plane.selection(&keys), &cookie).await;
    let body = changed(shown.inputs(PAGE), "typed", "revoke 50");
    let done = plane.post(PAGE, &cookie, &body).await;
    let rest = changed(done.inputs(PAGE), "", "");
    let shown = plane.get(&format!("{PAGE}?{rest}"), &cookie).await;
    let body = changed(shown.inputs(PAGE), "typed", "revoke 50");
    let done = plane.post(PAGE, &cookie, &body).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert_eq!(plane.revoked(&keys).await, 100);
}

#[tokio::test]
async fn a_quota_that_ends_among_the_keys_says_which_are_left() {
    // Signing in, the page of the keys with the names of their namespaces, and three of them.
    let requests = NonZeroU32::new(1 + (1 + 1 + 1) + (1 + 3)).unwrap();
    let quota = Quota::new(requests, Duration::from_hours(24));
    let plane = Fixture::with_quota(MemoryStore::new(), quota).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    let keys = plane.keys(8).await;
    let cookie = plane.sign_in(&admin).await;
    let shown = plane.get(&plane.selection(&keys), &cookie).await;
    let body = changed(shown.inputs(PAGE), "typed", "revoke 8");
    let done = plane.post(PAGE, &cookie, &body).await;
    assert_eq!(plane.revoked(&keys).await, 3);
    assert_eq!(done.status, 429, "{}", done.text);
    assert!(
        done.text.contains("3 keys revoked, 5 left"),
        "{}",
        done.text
    );
    let left = done.inputs(PAGE);
    let left: Vec<_> = left.iter().filter(|(name, _)| name == "key").collect();
    let expected: Vec<_> = keys[3..].iter().map(|key| plane.field(key)).collect();
    assert_eq!(
        left.iter().map(|(_, key)| key).collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
    // The quota of the caller has ended, and not one of failed attempts.
    let answer = plane
        .post(
            "/session",
            "",
            &format!("credential={}", admin.replace(':', "%3A")),
        )
        .await;
    assert_eq!(answer.status, 429);
    assert!(answer.text.contains("with this key"), "{}", answer.text);
}

#[tokio::test]
async fn a_reason_that_is_refused_is_told_at_its_field() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    let keys = plane.keys(2).await;
    let cookie = plane.sign_in(&admin).await;
    let shown = plane.get(&plane.selection(&keys), &cookie).await;
    let fields = shown.inputs(PAGE);
    let body = changed(fields.clone(), "typed", "revoke 2");
    let body = body.replace("reason=", "reason=a%E2%80%AEb");
    let answer = plane.post(PAGE, &cookie, &body).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(answer.text.contains("fault-reason"), "{}", answer.text);
    assert_eq!(plane.revoked(&keys).await, 0);
}

#[tokio::test]
async fn a_key_that_was_deleted_meanwhile_does_not_hold_up_the_others() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    let keys = plane.keys(3).await;
    let cookie = plane.sign_in(&admin).await;
    let gone = &keys[1];
    let deleted = plane
        .keyring
        .delete(&plane.context(), &gone.tenant, gone.id, None)
        .await;
    deleted.unwrap();
    let shown = plane.get(&plane.selection(&keys), &cookie).await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    let body = changed(shown.inputs(PAGE), "typed", "revoke 2");
    let done = plane.post(PAGE, &cookie, &body).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert!(plane.is_revoked(&keys[0]).await && plane.is_revoked(&keys[2]).await);
    // What is no identifier of a key selects none, and not all.
    for selection in ["key=orders/nothing", "key=nothing", "key=orders/"] {
        let answer = plane.get(&format!("{PAGE}?{selection}"), &cookie).await;
        assert!(!answer.text.contains("name=\"typed\""), "{}", answer.text);
    }
}
