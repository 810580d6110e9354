//! Forms that change one setting and leave the others as they are.

use std::time::Duration;

use keyfob::{MemoryStore, Timestamp, legacy::LegacyPolicy, manage::Policy};
use keyfob_api::Right;

use crate::fixture::{Fixture, NOW, changed, form, tenant};

#[tokio::test]
async fn a_grace_period_of_any_length_survives_a_change_of_another_setting() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    plane.key("orders", "user:alice", "laptop").await;
    let cookie = plane.sign_in(&admin).await;
    let (orders, address) = (tenant("orders"), "/policies/orders");
    for (seconds, shown) in [
        (0, "at once"),
        (45, "45 seconds at most"),
        (1_800, "30 minutes at most"),
        (5_400, "90 minutes at most"),
        (86_400, "24 hours at most"),
        (259_200, "3 days at most"),
    ] {
        let policy = Policy::default().with_max_grace(Duration::from_secs(seconds));
        let context = plane.context();
        let set = plane
            .keyring
            .set_policy(&context, Some(&orders), Some(policy));
        set.await.unwrap();
        // The notice of the change before has a form too.
        plane.get(address, &cookie).await;
        let opened = plane.get(address, &cookie).await;
        assert!(opened.text.contains(shown), "{shown}: {}", opened.text);
        let body = changed(opened.inputs(address), "keys_per_owner", "7") + "&step=preview";
        let shown = plane.post(address, &cookie, &body).await;
        let body = changed(shown.inputs(address), "", "") + "&step=save";
        let answer = plane.post(address, &cookie, &body).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        let policy = plane.keyring.policy(Some(&orders)).await.unwrap();
        assert_eq!(policy.keys_per_owner, Some(7));
        assert_eq!(policy.max_grace, Duration::from_secs(seconds));
    }
    plane.get(address, &cookie).await;
    let opened = plane.get(address, &cookie).await;
    for bad in ["", "x", "1.5h", "-1h", "1w", "99999999999999999999d"] {
        let body = changed(opened.inputs(address), "grace", bad) + "&step=save";
        let answer = plane.post(address, &cookie, &body).await;
        assert_eq!(answer.status, 422, "{bad}");
    }
}

#[tokio::test]
async fn the_seconds_of_a_sunset_and_of_brownouts_survive_a_change() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    plane.key("orders", "user:alice", "laptop").await;
    plane.import().await;
    let cookie = plane.sign_in(&admin).await;
    let address = "/migration/orders";
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let policy = LegacyPolicy::until(at("2027-01-31T12:00:30Z"))
        .with_brownout(at("2026-02-01T08:00:00Z"), at("2026-02-01T08:59:59Z"))
        .unwrap();
    plane.set_legacy(policy.clone()).await;
    let opened = plane.get(address, &cookie).await;
    let body = changed(opened.inputs(address), "", "");
    let answer = plane.post(address, &cookie, &body).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    assert_eq!(plane.legacy().await, policy);
}

#[tokio::test]
async fn a_brownout_that_has_begun_is_not_set_without_the_preview_of_a_cut_off() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    plane.key("orders", "user:alice", "laptop").await;
    plane.import().await;
    let cookie = plane.sign_in(&admin).await;
    let address = "/migration/orders";
    let send = async |start: &str, end: &str| {
        let opened = plane.get(address, &cookie).await;
        let was = opened.inputs(address);
        let was = was.iter().find(|(name, _)| name == "was").unwrap();
        let body = form(&[
            ("was", &was.1),
            ("sunset", "2026-06-01T00:00"),
            ("start", start),
            ("end", end),
        ]);
        plane.post(address, &cookie, &body).await
    };
    let before = plane.legacy().await;
    let answer = send("2025-12-18T00:00", "2026-06-01T00:00").await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    let fault = answer.text.split("id=\"fault-brownouts\"").nth(1).unwrap();
    assert!(fault.contains("use the cut-off"), "{fault}");
    let now = plane.legacy().await;
    assert_eq!(now, before);
    // One to come is set; once it has begun, it can be kept or shortened, and not made longer.
    let (start, end) = ("2025-12-20T00:00", "2025-12-22T00:00");
    assert_eq!(send(start, end).await.status, 303);
    plane.set(NOW + 86_400);
    assert_eq!(send(start, end).await.status, 303);
    assert_eq!(send(start, "2025-12-21T00:00").await.status, 303);
    assert_eq!(send(start, "2026-05-01T00:00").await.status, 422);
}
