//! Recording of usage, and shutdown.

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

    /// Returns the key's usage as the store has it.
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
    // No usage, no write.
    assert_eq!(fixture.store.writes(), 1);
    sleep(60 * SECOND).await;
    assert_eq!(fixture.store.writes(), 1);
    fixture.call(&replica, 4);
    sleep(10 * SECOND).await;
    assert_eq!(fixture.accepted().await, 7);
}

#[tokio::test(start_paused = true)]
async fn usage_that_a_failing_store_refused_is_written_once_later() {
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
async fn a_hanging_usage_write_does_not_delay_the_follower() {
    let fixture = Fixture::new().await;
    let replica = fixture.start().await;
    fixture.store.set_usage(Fault::Hangs);
    fixture.call(&replica, 5);
    sleep(35 * SECOND).await;
    assert_eq!(fixture.refused(&replica.verifier()), None);
    fixture.store.set_usage(Fault::None);
    // The hanging write times out.
    sleep(30 * SECOND).await;
    assert_eq!(fixture.accepted().await, 6);
}

#[tokio::test(start_paused = true)]
async fn shutdown_writes_the_last_uses() {
    let fixture = Fixture::new().await;
    let replica = fixture.start().await;
    fixture.call(&replica, 2);
    let start = Instant::now();
    assert_eq!(replica.stop().await, 0);
    assert!(start.elapsed() < Duration::from_millis(10));
    assert_eq!(fixture.accepted().await, 2);
    // After the shutdown the feed is not read any more.
    let reads = fixture.store.reads();
    sleep(60 * SECOND).await;
    assert_eq!(fixture.store.reads(), reads);
}

#[tokio::test(start_paused = true)]
async fn shutdown_times_out_and_reports_lost_uses() {
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
async fn shutdown_waits_for_the_batch_in_progress() {
    let fixture = Fixture::new().await;
    let replica = fixture.start().await;
    fixture.store.set_usage(Fault::Hangs);
    fixture.call(&replica, 3);
    sleep(11 * SECOND).await;
    // The store hangs, so its batch is abandoned at shutdown and returned as lost, but it is not
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
