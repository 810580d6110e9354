//! Sources other than a store: what arrives late, too old, broken or never.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use keyfob::{
    Access, Context, DenyReason, KeyStore, Keyring, NewKey, Timestamp, Verifier,
    gateway::{Index, IndexError, UsageBatch, UsageDelta},
    key::{PepperId, Peppers},
    store::{Changes, Revision},
};
use keyfob_replica::{
    Failure, Follower, Replica, Source, SourceError, StartError, Synced, async_trait,
};
use tokio::{
    sync::Notify,
    time::{Duration, sleep, timeout},
};

use crate::{Fixture, SECOND, STALE_AFTER};

/// A source in memory: a test says what arrives.
#[derive(Clone, Default)]
struct Scripted(Arc<Inner>);

#[derive(Default)]
struct Inner {
    arrived: Mutex<VecDeque<Arrival>>,
    notify: Notify,
    /// What every call does until the test says otherwise.
    mode: Mutex<Mode>,
    usage: Mutex<Vec<UsageDelta>>,
    syncs: AtomicUsize,
}

enum Arrival {
    /// Changes, and the time that the sender states.
    Frame(Changes, Timestamp),
    Fails,
    Ends(IndexError),
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Mode {
    #[default]
    Works,
    Hangs,
    /// It claims that it can never tell of changes.
    Polled,
}

impl Scripted {
    fn arrive(&self, arrival: Arrival) {
        self.0.arrived.lock().unwrap().push_back(arrival);
        self.0.notify.notify_one();
    }

    fn set(&self, mode: Mode) {
        *self.0.mode.lock().unwrap() = mode;
    }

    fn mode(&self) -> Mode {
        *self.0.mode.lock().unwrap()
    }

    fn syncs(&self) -> usize {
        self.0.syncs.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Source for Scripted {
    async fn wait(&self, _: &Index) -> Result<bool, SourceError> {
        match self.mode() {
            Mode::Works => {}
            Mode::Hangs => std::future::pending().await,
            Mode::Polled => return Ok(false),
        }
        if self.0.arrived.lock().unwrap().is_empty() {
            self.0.notify.notified().await;
        }
        Ok(true)
    }

    async fn sync(&self, index: &Index, _: Timestamp) -> Result<Synced, SourceError> {
        self.0.syncs.fetch_add(1, Ordering::SeqCst);
        if self.mode() == Mode::Hangs {
            std::future::pending::<()>().await;
        }
        loop {
            let arrival = self.0.arrived.lock().unwrap().pop_front();
            match arrival {
                None => return Ok(Synced::AsSent),
                Some(Arrival::Frame(changes, as_of)) => index.apply(&changes, as_of)?,
                Some(Arrival::Fails) => return Err(SourceError::unavailable("connection lost")),
                Some(Arrival::Ends(error)) => return Err(error.into()),
            }
        }
    }

    async fn report(&self, usage: Option<&UsageBatch>, _: Timestamp) -> Result<(), SourceError> {
        if self.mode() == Mode::Hangs {
            std::future::pending::<()>().await;
        }
        let usage = usage.map_or(&[][..], |batch| &batch.usage);
        self.0.usage.lock().unwrap().extend_from_slice(usage);
        Ok(())
    }
}

/// An authority with a key, and the sender that tells a replica of its changes.
struct Sender {
    fixture: Fixture,
    source: Scripted,
    sent: Mutex<Revision>,
}

impl Sender {
    async fn new() -> Self {
        Self {
            fixture: Fixture::new().await,
            source: Scripted::default(),
            sent: Mutex::new(Revision::ZERO),
        }
    }

    /// What the authority has and was not sent yet, with the time of the reading.
    async fn frame(&self) -> (Changes, Timestamp) {
        let now = self.fixture.clock.now();
        let after = *self.sent.lock().unwrap();
        let changes = self.fixture.store.memory().changes(after, 1000).await;
        let changes = changes.unwrap();
        *self.sent.lock().unwrap() = changes.next_after;
        (changes, now)
    }

    async fn send(&self) {
        let (changes, as_of) = self.frame().await;
        self.source.arrive(Arrival::Frame(changes, as_of));
    }

    fn follower(&self) -> Follower {
        let clock = self.fixture.clock.clone();
        Follower::from_source(self.source.clone(), "acme")
            .stale_after(STALE_AFTER)
            .clock(move || clock.now())
    }

    /// A replica that was sent everything.
    async fn start(&self) -> Replica {
        self.send().await;
        self.follower().start().await.unwrap()
    }

    fn refused(&self, verifier: &Verifier) -> Option<DenyReason> {
        self.fixture.refused(verifier)
    }

    /// Sends bookmarks, each this long after it was made, for a time.
    async fn send_late(&self, late: Duration, every: Duration, times: u32) {
        for _ in 0..times {
            let (changes, as_of) = self.frame().await;
            let source = self.source.clone();
            tokio::spawn(async move {
                sleep(late).await;
                source.arrive(Arrival::Frame(changes, as_of));
            });
            sleep(every).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_sender_tells_is_in_force_as_soon_as_it_arrives() {
    let sender = Sender::new().await;
    let replica = sender.start().await;
    let verifier = replica.verifier();
    assert_eq!(sender.refused(&verifier), None);
    sleep(3 * SECOND).await;
    sender.fixture.revoke().await;
    sender.send().await;
    assert_eq!(sender.refused(&verifier), None);
    sleep(Duration::from_millis(20)).await;
    assert_eq!(sender.refused(&verifier), Some(DenyReason::Revoked));
    assert_eq!(replica.status().revision, *sender.sent.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_open_connection_that_delivers_nothing_confirms_nothing() {
    for mode in [Mode::Works, Mode::Polled] {
        let sender = Sender::new().await;
        sender.source.set(mode);
        let replica = sender.start().await;
        let verifier = replica.verifier();
        sleep(9 * SECOND).await;
        assert_eq!(sender.refused(&verifier), None);
        let status = replica.status();
        assert_eq!(status.age, Some(9 * SECOND));
        assert_eq!(status.last_error, None);
        sleep(SECOND).await;
        assert_eq!(sender.refused(&verifier), Some(DenyReason::Stale));
        sleep(60 * SECOND).await;
        assert_eq!(sender.refused(&verifier), Some(DenyReason::Stale));
        sender.send().await;
        sleep(SECOND).await;
        assert_eq!(sender.refused(&verifier), None);
    }
}

#[tokio::test(start_paused = true)]
async fn the_age_of_a_frame_that_arrives_late_counts_from_the_time_that_it_states() {
    let sender = Sender::new().await;
    let replica = sender.start().await;
    let verifier = replica.verifier();
    // As old as 9 seconds when the next one arrives.
    sender.send_late(8 * SECOND, SECOND, 30).await;
    assert_eq!(sender.refused(&verifier), None);
    let age = replica.status().age.unwrap();
    assert!((8 * SECOND..=9 * SECOND).contains(&age), "{age:?}");
    // A little later, and each of them is too old when it arrives.
    sleep(20 * SECOND).await;
    sender.send_late(11 * SECOND, SECOND, 30).await;
    assert_eq!(sender.refused(&verifier), Some(DenyReason::Stale));
    assert!(!replica.status().is_ready);
}

/// By the wall clock, which runs back at the rate at which time passes, nothing ages.
#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_stands_still_does_not_extend_the_age_of_what_was_sent() {
    let sender = Sender::new().await;
    let replica = sender.start().await;
    let verifier = replica.verifier();
    let (changes, as_of) = sender.frame().await;
    for second in 1..30 {
        sleep(SECOND).await;
        sender.fixture.clock.set_back(1);
        // The same bookmark again: a relay that has lost the authority.
        let again = Arrival::Frame(changes.clone(), as_of);
        sender.source.arrive(again);
        sleep(Duration::from_millis(50)).await;
        let expected = (second >= 10).then_some(DenyReason::Stale);
        assert_eq!(sender.refused(&verifier), expected, "{second}");
    }
    sender.fixture.clock.set_back(-30);
    sender.send().await;
    sleep(SECOND).await;
    assert_eq!(sender.refused(&verifier), None);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_is_asked_again_and_its_replica_refuses_in_time() {
    let sender = Sender::new().await;
    let replica = sender.start().await;
    let verifier = replica.verifier();
    sender.source.set(Mode::Hangs);
    sleep(9 * SECOND).await;
    assert_eq!(sender.refused(&verifier), None);
    let error = replica.status().last_error.unwrap();
    assert!(error.starts_with("no answer within"), "{error}");
    sleep(SECOND).await;
    assert_eq!(sender.refused(&verifier), Some(DenyReason::Stale));
    sender.source.set(Mode::Works);
    sender.send().await;
    sleep(4 * SECOND).await;
    assert_eq!(sender.refused(&verifier), None);
    assert_eq!(replica.status().last_error, None);
    // Usage goes back the same way.
    assert_eq!(replica.stop().await, 0);
    let usage = sender.source.0.usage.lock().unwrap();
    let accepted: u64 = usage.iter().map(|usage| usage.count).sum();
    assert_eq!(accepted, 2);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_asked_again_with_back_off() {
    let sender = Sender::new().await;
    let replica = sender.start().await;
    for _ in 0..10_000 {
        sender.source.arrive(Arrival::Fails);
    }
    sleep(2 * SECOND).await;
    assert_eq!(replica.status().last_error.unwrap(), "connection lost");
    let before = sender.source.syncs();
    sleep(30 * SECOND).await;
    let syncs = sender.source.syncs() - before;
    assert!((10..=40).contains(&syncs), "{syncs}");
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_can_no_longer_be_applied_fails_the_replica() {
    let sender = Sender::new().await;
    let replica = sender.start().await;
    let verifier = replica.verifier();
    let failure = IndexError::Full;
    sender.source.arrive(Arrival::Ends(failure));
    assert_eq!(replica.failed().await, Failure::Index(failure));
    assert_eq!(sender.refused(&verifier), Some(DenyReason::Stale));
    assert_eq!(replica.status().last_error.unwrap(), failure.to_string());
    // Not even what arrives then makes it go on.
    sender.send().await;
    sleep(3 * SECOND).await;
    assert_eq!(sender.refused(&verifier), Some(DenyReason::Stale));
}

#[tokio::test(start_paused = true)]
async fn a_replica_starts_with_what_was_sent_and_refuses_what_is_too_old() {
    let sender = Sender::new().await;
    let (changes, as_of) = sender.frame().await;
    sleep(STALE_AFTER).await;
    sender.source.arrive(Arrival::Frame(changes, as_of));
    let replica = sender.follower().start().await.unwrap();
    let verifier = replica.verifier();
    assert_eq!(sender.refused(&verifier), Some(DenyReason::Stale));
    sender.send().await;
    sleep(SECOND).await;
    assert_eq!(sender.refused(&verifier), None);
}

#[tokio::test(start_paused = true)]
async fn a_replica_starts_when_everything_was_sent_for_the_first_time() {
    for mode in [Mode::Works, Mode::Polled] {
        let sender = Sender::new().await;
        sender.source.set(mode);
        let starting = timeout(60 * SECOND, sender.follower().start()).await;
        assert!(starting.is_err(), "nothing was sent yet");
        let syncs = sender.source.syncs();
        assert!((1..=61).contains(&syncs), "{syncs}");

        let sends = async {
            sleep(SECOND).await;
            sender.send().await;
        };
        let (replica, ()) = tokio::join!(sender.follower().start(), sends);
        let verifier = replica.unwrap().verifier();
        assert_eq!(sender.refused(&verifier), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_over_a_source_does_not_start_with_an_invalid_prefix_bound_or_source() {
    let sender = Sender::new().await;
    let follower = Follower::from_source(sender.source.clone(), "NOT ONE");
    let error = follower.start().await.unwrap_err();
    assert!(matches!(error, StartError::Open(_)), "{error}");
    let error = sender.follower().stale_after(SECOND).start().await;
    assert!(matches!(error.unwrap_err(), StartError::StaleAfter(_)));
    sender.source.arrive(Arrival::Fails);
    let error = sender.follower().start().await.unwrap_err();
    assert_eq!(error.to_string(), "connection lost");
}

#[tokio::test(start_paused = true)]
async fn peppers_belong_to_the_follower_of_a_source() {
    let sender = Sender::new().await;
    let peppers = Peppers::none()
        .with_current(PepperId::new(1).unwrap(), &[7; 32])
        .unwrap();
    let store = sender.fixture.store.memory();
    let builder = Keyring::builder(store, "acme".parse().unwrap()).peppers(peppers.clone());
    let keyring = builder.open(sender.fixture.clock.now()).await.unwrap();
    let new = NewKey::for_user("team", "orders", "bob", "laptop").unwrap();
    let context = Context::system(sender.fixture.clock.now());
    let created = keyring.create(&context, new).await.unwrap();
    for (peppers, expected) in [
        (peppers, None),
        (Peppers::none(), Some(DenyReason::PepperMissing)),
    ] {
        let (changes, as_of) = sender.frame().await;
        *sender.sent.lock().unwrap() = Revision::ZERO;
        sender.source.arrive(Arrival::Frame(changes, as_of));
        let replica = sender.follower().peppers(peppers).start().await.unwrap();
        let verifier = replica.verifier();
        let verdict = verifier.verify_text(
            created.secret.expose().as_bytes(),
            &Access::to("orders"),
            sender.fixture.clock.now(),
        );
        assert_eq!(verdict.err().map(|denied| denied.reason()), expected);
    }
}
