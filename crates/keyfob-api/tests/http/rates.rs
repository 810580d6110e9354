//! How often one may ask, and guess.

use std::{num::NonZeroU32, time::Duration};

use keyfob_api::{Limits, Quota, Right};

use crate::fixture::Fixture;

#[tokio::test]
async fn a_busy_caller_is_slowed_down_and_nobody_else() {
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
    // It is the person who is counted, with whichever of their keys.
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
async fn guesses_lock_nobody_out() {
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
    // The key that was guessed at, from the same place.
    plane.ask(&alice, "GET", "/v1/caller", ()).await.expect(200);
}
