//! A replica over a store that fails, hangs, is restored from a backup and recovers.
//!
//! Time is Tokio's paused clock, which also moves the clock of the verifiers: no test waits.

mod following;
mod source;
mod store;
mod usage;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use keyfob::{
    Access, Context, DenyReason, IssuedKey, KeyInfo, Keyring, NewKey, Timestamp, Verifier,
    manage::CreatedKey,
};
use keyfob_replica::{Follower, Replica};
use tokio::time::{Instant, sleep};

use store::Faulty;

const SECOND: Duration = Duration::from_secs(1);
const STALE_AFTER: Duration = Duration::from_secs(10);

/// The wall clock: it advances with Tokio's, and can be set.
#[derive(Clone)]
struct Clock {
    start: Instant,
    offset: Arc<AtomicI64>,
}

impl Clock {
    fn new() -> Self {
        let offset = Arc::new(AtomicI64::new(1_700_000_000));
        let start = Instant::now();
        Self { start, offset }
    }

    fn now(&self) -> Timestamp {
        let elapsed = self.start.elapsed().as_secs();
        let seconds = self.offset.load(Ordering::SeqCst);
        Timestamp::from_unix(seconds).plus_seconds(elapsed)
    }

    fn set_back(&self, seconds: i64) {
        self.offset.fetch_sub(seconds, Ordering::SeqCst);
    }
}

/// A store, the keyring of another process that uses it, and a key.
struct Fixture {
    clock: Clock,
    store: Faulty,
    remote: Keyring,
    key: IssuedKey,
    info: KeyInfo,
}

impl Fixture {
    async fn new() -> Self {
        let clock = Clock::new();
        let store = Faulty::new();
        let builder = Keyring::builder(store.memory(), "acme".parse().unwrap());
        let remote = builder.open(clock.now()).await.unwrap();
        let new = NewKey::for_user("team", "orders", "alice", "laptop").unwrap();
        let created = remote.create(&Context::system(clock.now()), new).await;
        let CreatedKey { secret, info, .. } = created.unwrap();
        Self {
            clock,
            store,
            remote,
            key: secret,
            info,
        }
    }

    fn follower(&self) -> Follower {
        let clock = self.clock.clone();
        Follower::new(self.store.clone(), "acme")
            .stale_after(STALE_AFTER)
            .clock(move || clock.now())
    }

    async fn start(&self) -> Replica {
        self.follower().start().await.unwrap()
    }

    /// Revokes the key in another process.
    async fn revoke(&self) {
        let context = Context::system(self.clock.now());
        let revoked = self
            .remote
            .revoke(&context, &self.info.tenant, self.info.id, None);
        revoked.await.unwrap();
    }

    /// Returns the reason for which the verifier refuses the key now, or `None`.
    fn refused(&self, verifier: &Verifier) -> Option<DenyReason> {
        let text = self.key.expose().as_bytes();
        let verdict = verifier.verify_text(text, &Access::to("orders"), self.clock.now());
        verdict.err().map(|denied| denied.reason())
    }
}

/// Waits until the verifier returns this answer, and returns how long it took.
async fn until(fixture: &Fixture, verifier: &Verifier, answer: Option<DenyReason>) -> Duration {
    let start = Instant::now();
    while fixture.refused(verifier) != answer {
        assert!(start.elapsed() < 60 * SECOND, "never {answer:?}");
        sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}
