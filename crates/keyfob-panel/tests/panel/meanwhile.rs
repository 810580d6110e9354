//! What somebody else changed meanwhile is not undone.

use keyfob::{MemoryStore, Timestamp, legacy::LegacyPolicy, manage::Policy};
use keyfob_api::Right;

use crate::fixture::{Fixture, changed, tenant, until};

async fn plane() -> (Fixture, String) {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    plane.key("orders", "user:alice", "laptop").await;
    let cookie = plane.sign_in(&admin).await;
    (plane, cookie)
}

impl Fixture {
    async fn set_policy(&self, policy: Policy) {
        let orders = tenant("orders");
        let context = self.context();
        let set = self
            .keyring
            .set_policy(&context, Some(&orders), Some(policy));
        set.await.unwrap();
    }

    async fn policy(&self) -> Policy {
        let orders = tenant("orders");
        self.keyring.policy(Some(&orders)).await.unwrap()
    }
}

#[tokio::test]
async fn a_cut_off_is_undone_only_while_it_still_applies() {
    let (plane, cookie) = plane().await;
    let (cut, undo) = ("/migration/orders/cut-off", "/migration/orders/undo");
    plane.set_legacy(until(400)).await;
    let answer = plane.post(cut, &cookie, "typed=orders").await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    assert_eq!(plane.legacy().await, LegacyPolicy::Off);
    let offered = plane.get("/migration", &cookie).await;
    let body = changed(offered.inputs(undo), "", "");
    assert_eq!(plane.post(undo, &cookie, &body).await.status, 303);
    assert_eq!(plane.legacy().await, until(400));

    plane.post(cut, &cookie, "typed=orders").await;
    plane.set_legacy(until(1)).await;
    assert_eq!(plane.post(undo, &cookie, &body).await.status, 303);
    assert_eq!(plane.legacy().await, until(1), "somebody else set this");
    let shown = plane.get("/migration", &cookie).await.text;
    assert!(shown.contains("was changed since"), "{shown}");
}

#[tokio::test]
async fn a_sunset_that_was_set_meanwhile_is_not_overwritten() {
    let (plane, cookie) = plane().await;
    let address = "/migration/orders";
    plane.import().await;
    plane.set_legacy(until(400)).await;
    let opened = plane.get(address, &cookie).await;
    plane.set_legacy(until(1)).await;
    let body = changed(opened.inputs(address), "sunset", "2028-01-01T00:00");
    let answer = plane.post(address, &cookie, &body).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert_eq!(plane.legacy().await, until(1));
    // What was typed is still there, and goes through once the change was seen.
    let body = changed(answer.inputs(address), "", "");
    assert_eq!(plane.post(address, &cookie, &body).await.status, 303);
    let set = LegacyPolicy::until("2028-01-01T00:00:00Z".parse::<Timestamp>().unwrap());
    assert_eq!(plane.legacy().await, set);
}

#[tokio::test]
async fn a_policy_that_was_set_meanwhile_is_not_overwritten() {
    let (plane, cookie) = plane().await;
    let address = "/policies/orders";
    let opened = plane.get(address, &cookie).await;
    let other = Policy::default().with_keys_per_owner(3);
    plane.set_policy(other.clone()).await;
    for step in ["save", "inherit", "inherit-now"] {
        let body = changed(opened.inputs(address), "shortest", "2h") + "&step=" + step;
        let answer = plane.post(address, &cookie, &body).await;
        assert_eq!(answer.status, 409, "{step}: {}", answer.text);
        assert_eq!(plane.policy().await, other, "{step}");
    }
    let body = changed(opened.inputs(address), "shortest", "2h") + "&step=preview";
    let answer = plane.post(address, &cookie, &body).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    // What was typed is still there, and goes through once the change was seen.
    let body = changed(answer.inputs(address), "", "") + "&step=preview";
    let answer = plane.post(address, &cookie, &body).await;
    let body = changed(answer.inputs(address), "", "") + "&step=save";
    assert_eq!(plane.post(address, &cookie, &body).await.status, 303);
    assert_eq!(plane.policy().await.min_ttl.to_string(), "2h");
}
