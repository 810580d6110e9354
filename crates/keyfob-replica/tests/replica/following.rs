//! Following the change feed, staleness and failures.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{Router, body::Body, http::Request};
use keyfob::{
    Context, DenyReason, Keyring, MemoryStore, Owner,
    gateway::IndexError,
    manage,
    name::{TeamId, UserId},
    store::Target,
};
use keyfob_replica::{Failure, Follower, SourceError, StartError};
use tokio::time::{Duration, Instant, sleep, timeout};
use tower::ServiceExt;

use crate::{
    Fixture, SECOND, STALE_AFTER,
    store::{Fault, Faulty, Wait},
    until,
};

#[tokio::test(start_paused = true)]
async fn a_revocation_by_another_process_is_in_force_within_the_poll_interval() {
    let fixture = Fixture::new().await;
    let follower = fixture.follower().poll_every(2 * SECOND);
    let replica = follower.start().await.unwrap();
    let verifier = replica.verifier();
    assert_eq!(fixture.refused(&verifier), None);
    sleep(5 * SECOND).await;
    fixture.revoke().await;
    assert_eq!(fixture.refused(&verifier), None);
    let took = until(&fixture, &verifier, Some(DenyReason::Revoked)).await;
    assert!(took <= 2 * SECOND + Duration::from_millis(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_whose_notifications_fail_is_polled() {
    let fixture = Fixture::new().await;
    fixture.store.set_wait(Wait::Fails);
    let replica = fixture.start().await;
    sleep(5 * SECOND).await;
    fixture.revoke().await;
    let took = until(&fixture, &replica.verifier(), Some(DenyReason::Revoked)).await;
    assert!(took <= SECOND + Duration::from_millis(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_revocation_by_another_process_is_in_force_at_once_if_the_store_notifies() {
    let fixture = Fixture::new().await;
    fixture.store.set_wait(Wait::ForChange);
    // The faulty store sends the notifications, so the other process uses it too.
    let builder = Keyring::builder(fixture.store.clone(), "acme".parse().unwrap());
    let remote = builder.open(fixture.clock.now()).await.unwrap();
    let replica = fixture.start().await;
    let verifier = replica.verifier();
    sleep(Duration::from_millis(5_500)).await;
    let context = Context::system(fixture.clock.now());
    let info = &fixture.info;
    let revoked = remote.revoke(&context, &info.tenant, info.id, None).await;
    revoked.unwrap();
    let took = until(&fixture, &verifier, Some(DenyReason::Revoked)).await;
    assert!(took <= Duration::from_millis(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn spurious_notifications_do_not_cause_reads_without_a_pause() {
    let fixture = Fixture::new().await;
    fixture.store.set_wait(Wait::Not);
    let _replica = fixture.start().await;
    let before = fixture.store.reads();
    sleep(SECOND).await;
    let reads = fixture.store.reads() - before;
    assert!((50..=101).contains(&reads), "{reads}");
}

#[tokio::test(start_paused = true)]
async fn calls_are_served_during_a_store_failure_until_stale_after_and_again_after_recovery() {
    for fault in [Fault::Fails, Fault::Hangs] {
        let fixture = Fixture::new().await;
        let replica = fixture.start().await;
        let verifier = replica.verifier();
        // Longer than `stale_after`: reading confirms the replica even without changes.
        sleep(3 * STALE_AFTER).await;
        assert_eq!(fixture.refused(&verifier), None);
        assert_eq!(replica.status().last_error, None);

        fixture.store.set_reading(fault);
        sleep(7 * SECOND).await;
        assert_eq!(fixture.refused(&verifier), None, "{fault:?}");
        let status = replica.status();
        assert!(status.is_ready);
        let error = status.last_error.unwrap();
        let expected = match fault {
            Fault::Fails => "the key store failed: out of order",
            _ => "no answer within 2.5s",
        };
        assert_eq!(error, expected);

        sleep(3 * SECOND).await;
        assert!(!replica.status().is_ready);
        assert!(fixture.refused(&verifier).is_some(), "{fault:?}");
        let access = keyfob::Access::to("orders");
        let text = fixture.key.expose().as_bytes();
        let denied = verifier.verify_text(text, &access, fixture.clock.now());
        assert_eq!(denied.unwrap_err().status(), 503);
        sleep(60 * SECOND).await;
        assert!(fixture.refused(&verifier).is_some());

        fixture.store.set_reading(Fault::None);
        let took = until(&fixture, &verifier, None).await;
        assert!(took < 5 * SECOND, "{took:?}");
        let status = replica.status();
        assert!(status.is_ready);
        assert_eq!(status.last_error, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_is_polled_with_back_off() {
    let fixture = Fixture::new().await;
    let _replica = fixture.start().await;
    fixture.store.set_reading(Fault::Fails);
    sleep(2 * SECOND).await;
    let before = fixture.store.reads();
    sleep(30 * SECOND).await;
    let reads = fixture.store.reads() - before;
    assert!((10..=40).contains(&reads), "{reads}");
}

#[tokio::test(start_paused = true)]
async fn setting_the_wall_clock_back_does_not_extend_stale_after() {
    let fixture = Fixture::new().await;
    let replica = fixture.start().await;
    let verifier = replica.verifier();
    fixture.store.set_reading(Fault::Hangs);
    for _ in 0..8 {
        sleep(SECOND).await;
        fixture.clock.set_back(1);
    }
    assert_eq!(fixture.refused(&verifier), None);
    for _ in 0..3 {
        sleep(SECOND).await;
        fixture.clock.set_back(1);
    }
    assert_eq!(fixture.refused(&verifier), Some(DenyReason::Stale));
    fixture.store.set_reading(Fault::None);
    until(&fixture, &verifier, None).await;
}

#[tokio::test(start_paused = true)]
async fn setting_the_wall_clock_refuses_calls_for_at_most_one_interval() {
    let fixture = Fixture::new().await;
    let replica = fixture.start().await;
    let verifier = replica.verifier();
    sleep(5 * SECOND).await;
    for seconds in [3600, -3600] {
        fixture.clock.set_back(seconds);
        assert_eq!(fixture.refused(&verifier), Some(DenyReason::Stale));
        let took = until(&fixture, &verifier, None).await;
        assert!(took <= SECOND + Duration::from_millis(10), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_went_back_fails_the_replica() {
    let fixture = Fixture::new().await;
    let builder = Keyring::builder(fixture.store.clone(), "acme".parse().unwrap());
    let keyring = Arc::new(builder.open(fixture.clock.now()).await.unwrap());
    let clock = fixture.clock.clone();
    let replica = Follower::over(Arc::clone(&keyring))
        .clock(move || clock.now())
        .start()
        .await
        .unwrap();
    let verifier = replica.verifier();
    let waiting = timeout(30 * SECOND, replica.failed()).await;
    assert!(waiting.is_err(), "it did not fail");

    let backup = Arc::new(MemoryStore::new());
    fixture.store.replace(Arc::clone(&backup));
    let start = Instant::now();
    let failure = replica.failed().await;
    assert!(start.elapsed() <= SECOND);
    assert!(
        matches!(failure, Failure::Index(IndexError::Regressed { .. })),
        "{failure}"
    );
    assert_eq!(fixture.refused(&verifier), Some(DenyReason::Stale));
    let status = replica.status();
    assert_eq!((status.is_ready, status.confirmed_at), (false, None));
    assert!(status.last_error.unwrap().contains("went back"));
    // Later callers get the failure too.
    assert_eq!(replica.failed().await, failure);

    // Changes by this process do not confirm the replica either.
    let other = Keyring::open(backup, "acme").await.unwrap();
    let context = Context::system(fixture.clock.now());
    for member in ["alice", "bob", "carol"] {
        let member = Owner::User(UserId::new(member).unwrap());
        let target = Target::Owner(TeamId::new("other").unwrap(), member);
        let removed = other.remove_in_advance(&context, target).await;
        removed.unwrap();
        let result = keyring.sync(fixture.clock.now()).await;
        assert!(result.is_err());
    }
    assert_eq!(fixture.refused(&verifier), Some(DenyReason::Stale));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_task_fails_the_replica() {
    let fixture = Fixture::new().await;
    let replica = fixture.start().await;
    let verifier = replica.verifier();
    fixture.store.set_reading(Fault::Panics);
    assert_eq!(replica.failed().await, Failure::Panicked);
    assert_eq!(fixture.refused(&verifier), Some(DenyReason::Stale));
    assert_eq!(replica.stop().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_replica_stops_reading() {
    let fixture = Fixture::new().await;
    let replica = fixture.start().await;
    let verifier = replica.verifier();
    let monitor = replica.monitor();
    drop(replica);
    sleep(SECOND).await;
    let reads = fixture.store.reads();
    sleep(STALE_AFTER).await;
    assert_eq!(fixture.store.reads(), reads);
    assert_eq!(fixture.refused(&verifier), Some(DenyReason::Stale));
    assert!(!monitor.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_replica_can_share_the_index_of_a_keyring_that_manages_keys() {
    let fixture = Fixture::new().await;
    let builder = Keyring::builder(fixture.store.clone(), "acme".parse().unwrap());
    let keyring = Arc::new(builder.open(fixture.clock.now()).await.unwrap());
    let clock = fixture.clock.clone();
    let replica = Follower::over(Arc::clone(&keyring))
        .clock(move || clock.now())
        .start()
        .await
        .unwrap();
    let verifiers = [replica.verifier(), keyring.verifier()];
    sleep(3 * STALE_AFTER).await;
    for verifier in &verifiers {
        assert_eq!(fixture.refused(verifier), None);
    }
    let context = Context::system(fixture.clock.now());
    let info = &fixture.info;
    let revoked = keyring.revoke(&context, &info.tenant, info.id, None).await;
    revoked.unwrap();
    for verifier in &verifiers {
        assert_eq!(fixture.refused(verifier), Some(DenyReason::Revoked));
    }
    assert_eq!(replica.status().revision, keyring.index().as_of());
}

#[tokio::test(start_paused = true)]
async fn a_replica_does_not_start_with_an_invalid_format_bound_or_store() {
    let fixture = Fixture::new().await;
    let other = Follower::new(fixture.store.clone(), "other").start().await;
    let error = other.unwrap_err();
    assert!(
        matches!(&error, StartError::Open(manage::Error::OtherFormat { .. })),
        "{error}"
    );
    let prefix = Follower::new(fixture.store.clone(), "NOT ONE")
        .start()
        .await;
    let error = prefix.unwrap_err();
    assert!(
        matches!(&error, StartError::Open(manage::Error::Format(_))),
        "{error}"
    );
    let bound = fixture.follower().stale_after(SECOND).start().await;
    assert_eq!(
        bound.unwrap_err().to_string(),
        "`stale_after` is 1s; the least is 2 seconds"
    );
    fixture.store.set_reading(Fault::Fails);
    let down = fixture.follower().start().await.unwrap_err();
    assert!(
        matches!(&down, StartError::Source(SourceError::Unavailable(_))),
        "{down}"
    );
    fixture.store.set_reading(Fault::None);
    let keyring = Keyring::open(fixture.store.clone(), "acme").await.unwrap();
    fixture.store.set_reading(Fault::Fails);
    let over = Follower::over(Arc::new(keyring)).start().await;
    assert!(matches!(over.unwrap_err(), StartError::Source(_)));
}

#[tokio::test(start_paused = true)]
async fn the_shortest_stale_after_refuses_no_call_while_the_store_is_readable() {
    let store = Faulty::new();
    let clock = crate::Clock::new();
    let replica = Follower::new(store, "acme")
        .stale_after(2 * SECOND)
        .poll_every(60 * SECOND)
        .clock(move || clock.now())
        .start()
        .await
        .unwrap();
    for _ in 0..2_000 {
        sleep(Duration::from_millis(7)).await;
        assert!(replica.status().is_ready);
    }
}

#[tokio::test(start_paused = true)]
async fn readyz_agrees_with_the_verifier() {
    let fixture = Fixture::new().await;
    let replica = fixture.start().await;
    let router: Router = replica.readyz();
    let ask = async || {
        let request = Request::get("/readyz").body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().status()
    };
    assert_eq!(ask().await, 200);
    fixture.store.set_reading(Fault::Fails);
    sleep(STALE_AFTER).await;
    assert_eq!(ask().await, 503);
    fixture.store.set_reading(Fault::None);
    sleep(3 * SECOND).await;
    assert_eq!(ask().await, 200);
    fixture.store.replace(Arc::default());
    replica.failed().await;
    assert_eq!(ask().await, 503);
}

#[tokio::test(start_paused = true)]
async fn a_long_first_reading_is_followed_by_a_short_one() {
    let fixture = Fixture::new().await;
    fixture.store.set_reading(Fault::Slow(2 * STALE_AFTER));
    let start = Instant::now();
    let replica = fixture.start().await;
    assert_eq!(start.elapsed(), 4 * STALE_AFTER);
    assert_eq!(fixture.store.reads(), 2);
    fixture.store.set_reading(Fault::None);
    until(&fixture, &replica.verifier(), None).await;
}

/// A suspended machine counts its sleep, although neither its timers nor its wall clock do.
#[tokio::test(start_paused = true)]
async fn the_time_that_a_machine_was_suspended_counts_for_stale_after() {
    let fixture = Fixture::new().await;
    let asleep = Arc::new(AtomicU64::new(0));
    let (start, slept) = (Instant::now(), Arc::clone(&asleep));
    let uptime = move || start.elapsed() + Duration::from_secs(slept.load(Ordering::SeqCst));
    let replica = fixture.follower().uptime(uptime).start().await.unwrap();
    let verifier = replica.verifier();
    sleep(SECOND).await;
    fixture.store.set_reading(Fault::Fails);
    sleep(2 * SECOND).await;
    assert_eq!(fixture.refused(&verifier), None);
    asleep.store(3_600, Ordering::SeqCst);
    let took = until(&fixture, &verifier, Some(DenyReason::Stale)).await;
    assert!(took <= 2 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_ran_ahead_and_back_is_reported() {
    let fixture = Fixture::new().await;
    let replica = fixture.start().await;
    let router: Router = replica.readyz();
    let text = async || {
        let request = Request::get("/readyz").body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let bytes = axum::body::to_bytes(answer.into_body(), 10_000)
            .await
            .unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    fixture.refused(&replica.verifier());
    assert_eq!(replica.status().clock_ahead, Duration::ZERO);
    assert_eq!(text().await, "ready\n");

    fixture.clock.set_back(-86_400);
    sleep(2 * SECOND).await;
    assert_eq!(fixture.refused(&replica.verifier()), None);
    fixture.clock.set_back(86_400);
    sleep(2 * SECOND).await;
    let ahead = replica.status().clock_ahead.as_secs();
    assert!((86_390..=86_400).contains(&ahead), "{ahead}");
    let text = text().await;
    assert!(
        text.contains("ran ahead and back") && text.contains("restart"),
        "{text}"
    );
    assert!(replica.status().is_ready, "calls are decided");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_behind_the_last_change_is_reported() {
    let fixture = Fixture::new().await;
    fixture.clock.set_back(7_200);
    let replica = fixture.start().await;
    let request = Request::get("/readyz").body(Body::empty()).unwrap();
    let answer = replica.readyz::<()>().oneshot(request).await.unwrap();
    let bytes = axum::body::to_bytes(answer.into_body(), 10_000)
        .await
        .unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.contains("behind the last change"), "{text}");
}
