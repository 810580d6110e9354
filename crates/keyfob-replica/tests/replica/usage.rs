//! Usage, and the end.

use keyfob::{gateway::Usage, key::CredentialId};
use keyfob_replica::Replica;
use tokio::time::{Duration, Instant, sleep};

use crate::{Fixture, SECOND, store::Fault};

impl Fixture {
    fn call(&self, replica: &Replica, times: usize) {
        for _ in 0..times {
            assert_eq!(self.refused(&replica.verifier()), None);
        }
    }

    /// What the store has of the key's usage.
    async fn recorded(&self) -> Option<Usage> {
        let credential = CredentialId::Key(self.info.id);
        self.remote.usage(&[credential]).await.unwrap().pop()
    }

    async fn accepted(&self) -> u64 {
        self.recorded().await.map_or(0, |usage| usage.accepted)
    }
}

#[tokio::test(start_paused = true)]
async fn usage_is_written_every_interval() {
    let fixture = Fixture::new().await;
    let replica = fixture.start().await;
    fixture.call(&replica, 3);
    sleep(9 * SECOND).await;
    assert_eq!(fixture.recorded().await, None);
    let now = fixture.clock.now();
    sleep(2 * SECOND).await;
    let usage = fixture.recorded().await.unwrap();
    assert_eq!((usage.accepted, usage.refused), (3, 0));
    assert!(usage.last_used.unwrap() <= now);
    // Nothing to write, nothing written.
    assert_eq!(fixture.store.writes(), 1);
    sleep(60 * SECOND).await;
    assert_eq!(fixture.store.writes(), 1);
    fixture.call(&replica, 4);
    sleep(10 * SECOND).await;
    assert_eq!(fixture.accepted().await, 7);
}

#[tokio::test(start_paused = true)]
async fn what_a_failing_store_does_not_take_is_written_later_once() {
    let fixture = Fixture::new().await;
    let replica = fixture.start().await;
    fixture.store.set_usage(Fault::Fails);
    for _ in 0..5 {
        fixture.call(&replica, 10);
        sleep(10 * SECOND).await;
    }
    assert_eq!(fixture.accepted().await, 0);
    fixture.store.set_usage(Fault::None);
    sleep(10 * SECOND).await;
    assert_eq!(fixture.accepted().await, 50);
    fixture.call(&replica, 1);
    assert_eq!(replica.stop().await, 0);
    assert_eq!(fixture.accepted().await, 51);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_on_usage_does_not_hold_up_the_follower() {
    let fixture = Fixture::new().await;
    let replica = fixture.start().await;
    fixture.store.set_usage(Fault::Hangs);
    fixture.call(&replica, 5);
    sleep(35 * SECOND).await;
    assert_eq!(fixture.refused(&replica.verifier()), None);
    fixture.store.set_usage(Fault::None);
    // The hanging attempt is given up after a while.
    sleep(30 * SECOND).await;
    assert_eq!(fixture.accepted().await, 6);
}

#[tokio::test(start_paused = true)]
async fn the_end_writes_the_last_uses() {
    let fixture = Fixture::new().await;
    let replica = fixture.start().await;
    fixture.call(&replica, 2);
    let start = Instant::now();
    assert_eq!(replica.stop().await, 0);
    assert!(start.elapsed() < Duration::from_millis(10));
    assert_eq!(fixture.accepted().await, 2);
    // And nothing reads any more.
    let reads = fixture.store.reads();
    sleep(60 * SECOND).await;
    assert_eq!(fixture.store.reads(), reads);
}

#[tokio::test(start_paused = true)]
async fn the_end_does_not_wait_long_and_tells_what_was_lost() {
    for fault in [Fault::Hangs, Fault::Fails] {
        for in_progress in [false, true] {
            let fixture = Fixture::new().await;
            let replica = fixture.start().await;
            let monitor = replica.monitor();
            fixture.store.set_usage(fault);
            fixture.call(&replica, 7);
            if in_progress {
                sleep(11 * SECOND).await;
            }
            let start = Instant::now();
            assert_eq!(replica.stop().await, 7, "{fault:?} {in_progress}");
            assert!(start.elapsed() <= 5 * SECOND + Duration::from_millis(10));
            assert_eq!(monitor.status().lost_usage, 7);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_the_batch_that_is_being_written() {
    let fixture = Fixture::new().await;
    let replica = fixture.start().await;
    fixture.store.set_usage(Fault::Hangs);
    fixture.call(&replica, 3);
    sleep(11 * SECOND).await;
    // The store does hang, so its batch is given up at the end and returned as lost, but it is not
    // written twice.
    fixture.store.set_usage(Fault::None);
    let lost = replica.stop().await;
    assert_eq!((lost, fixture.accepted().await), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn usage_is_still_written_after_the_store_went_back() {
    let fixture = Fixture::new().await;
    let replica = fixture.start().await;
    fixture.call(&replica, 1);
    fixture.store.replace(std::sync::Arc::default());
    replica.failed().await;
    assert_eq!(replica.stop().await, 0);
    assert_eq!(fixture.store.writes(), 1);
}
