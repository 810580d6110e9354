//! Limits on requests and on refused credentials.

use std::{num::NonZeroU32, time::Duration};

use keyfob_api::{Limits, Quota, Right};

use crate::fixture::Fixture;

#[tokio::test]
async fn the_rate_limit_applies_to_one_caller_only() {
    let limits = Limits {
        caller: Quota::new(NonZeroU32::new(3).unwrap(), Duration::from_mins(1)),
        ..Limits::default()
    };
    let plane = Fixture::with_limits(limits);
    let alice = plane
        .control_key("acme", "alice", Right::FunctionRead)
        .await;
    let other = plane.control_key("acme", "alice", Right::TeamRead).await;
    let bob = plane.control_key("acme", "bob", Right::FunctionRead).await;
    let ask = async |key: &str| plane.ask(key, "GET", "/v1/caller", ()).await;
    for left in ["2", "1"] {
        let answer = ask(&alice).await;
        assert_eq!(answer.header("ratelimit-limit"), "3");
        assert_eq!(answer.header("ratelimit-remaining"), left);
        answer.expect(200);
    }
    // Requests are counted per owner, not per key.
    ask(&other).await.expect(200);
    let refused = ask(&alice).await;
    assert_eq!(refused.header("ratelimit-remaining"), "0");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    let reset: i64 = refused.header("ratelimit-reset").parse().unwrap();
    assert_eq!(reset, crate::fixture::NOW + 60);
    refused.refused(429, "too_many_requests");
    ask(&bob).await.expect(200);
}

#[tokio::test]
async fn wrong_secrets_do_not_lock_out_the_key() {
    let limits = Limits {
        refused: Quota::new(NonZeroU32::new(5).unwrap(), Duration::from_mins(1)),
        ..Limits::default()
    };
    let plane = Fixture::with_limits(limits);
    let alice = plane
        .control_key("acme", "alice", Right::FunctionRead)
        .await;
    let (id, _) = alice.split_once(':').unwrap();
    let guess = format!("{id}:dof_sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQI");
    for _ in 0..5 {
        plane
            .ask(&guess, "GET", "/v1/caller", ())
            .await
            .refused(401, "unauthorized");
    }
    let refused = plane.ask(&guess, "GET", "/v1/caller", ()).await;
    assert!(!refused.header("retry-after").is_empty());
    refused.refused(429, "too_many_requests");
    // The attacked key, from the same address.
    plane.ask(&alice, "GET", "/v1/caller", ()).await.expect(200);
}
