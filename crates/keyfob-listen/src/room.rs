//! The limit on connections.

use std::{
    collections::HashMap,
    future::pending,
    num::NonZeroU32,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::gauge;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

use crate::{leaving::Progress, metrics::CONNECTIONS};

/// Has a place for each connection.
pub(crate) struct Room {
    places: Arc<Semaphore>,
    most: u32,
    list: Arc<List>,
    entered: u64,
    /// When the log last said that connections wait.
    said: Option<Instant>,
    name: &'static str,
}

impl Room {
    pub(crate) fn new(name: &'static str, most: NonZeroU32) -> Self {
        let most = most.get().min(PLACES_MAX);
        Self {
            places: Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(usize::MAX))),
            most,
            list: Arc::default(),
            entered: 0,
            said: None,
            name,
        }
    }

    /// Waits until there is no connection.
    pub(crate) async fn empty(&self) {
        let _ = self.places.acquire_many(self.most).await;
    }

    /// Waits until there are fewer connections than the limit. One of those that may stay no longer has to make room
    /// for each that waits: otherwise clients that ask for something now and then, or for nothing, would lock out all
    /// others for as long as they like.
    pub(crate) async fn enter(&mut self) -> (Place, Listed) {
        let places = Arc::clone(&self.places);
        let permit = match places.try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.wait().await,
        };
        self.entered += 1;
        (
            Place::new(permit, self.name),
            Listed::new(Arc::clone(&self.list), self.entered),
        )
    }

    async fn wait(&mut self) -> OwnedSemaphorePermit {
        if self.said.is_none_or(|said| said.elapsed() > SAID_EVERY) {
            self.said = Some(Instant::now());
            let listener = self.name;
            tracing::warn!(
                listener,
                "the limit on connections is reached: new ones wait"
            );
        }
        let mut permit = pin!(Arc::clone(&self.places).acquire_owned());
        loop {
            let again = self.list.make_room();
            let again = async {
                match again {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                // The semaphore is never closed.
                Ok(permit) = &mut permit => return permit,
                () = again => {}
            }
        }
    }
}

/// The connections that may be told to leave, by the order in which they came.
#[derive(Default)]
struct List(Mutex<HashMap<u64, Progress>>);

impl List {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a connection to leave, if one may stay no longer: the one that has had no request for the longest time, or
    /// else the oldest. Returns when to try again; none if no connection can leave.
    fn make_room(&self) -> Option<Instant> {
        let now = Instant::now();
        let list = self.lock();
        let staying = list.values().filter(|connection| !connection.has_to_end());
        let stays = staying.map(|connection| (connection.stay(now), connection));
        let (stay, connection) = stays.min_by_key(|(stay, _)| {
            let is_over = stay.until <= now;
            (!is_over, is_over && stay.is_busy, stay.until)
        })?;
        if stay.until > now {
            // Or until its request has been answered.
            return Some(stay.until.min(now + PATIENCE));
        }
        connection.leave();
        Some(now + PATIENCE)
    }
}

/// A connection that may be told to leave until this is dropped.
pub(crate) struct Listed {
    list: Arc<List>,
    number: u64,
    progress: Progress,
}

impl Listed {
    fn new(list: Arc<List>, number: u64) -> Self {
        let progress = Progress::new();
        list.lock().insert(number, progress.clone());
        Self {
            list,
            number,
            progress,
        }
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.list.lock().remove(&self.number);
    }
}

/// How long one that waits lets a connection leave before another one has to: it cannot if its client does not read.
const PATIENCE: Duration = Duration::from_millis(10);

/// How often the log says that connections wait.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// A semaphore of Tokio has room for at least that many.
const PLACES_MAX: u32 = u32::MAX >> 4;

/// The place of an open connection, which is counted until it is dropped.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    name: &'static str,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, name: &'static str) -> Self {
        gauge!(CONNECTIONS, "listener" => name).increment(1.0);
        Self {
            _permit: permit,
            name,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        gauge!(CONNECTIONS, "listener" => self.name).decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;

    /// A full room, and what has a place.
    async fn full(places: u32) -> (Room, Vec<Option<(Place, Listed)>>) {
        let mut room = Room::new("test", NonZeroU32::new(places).unwrap());
        let mut all = Vec::new();
        for _ in 0..places {
            all.push(Some(room.enter().await));
        }
        (room, all)
    }

    /// Which of the connections leaves so that another one gets a place, and how long that takes.
    async fn who_leaves(
        room: &mut Room,
        all: &mut [Option<(Place, Listed)>],
    ) -> (Vec<usize>, Duration) {
        let start = Instant::now();
        let leave = async {
            loop {
                let told = |open: &Option<(Place, Listed)>| {
                    open.as_ref()
                        .is_some_and(|(_, open)| open.progress().has_to_end())
                };
                let who: Vec<usize> = (0..all.len()).filter(|at| told(&all[*at])).collect();
                if !who.is_empty() {
                    for at in &who {
                        all[*at] = None;
                    }
                    return who;
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        let both = async { tokio::join!(room.enter(), leave) };
        let (entered, who) = timeout(Duration::from_secs(30), both).await.unwrap();
        all[who[0]] = Some(entered);
        (who, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_without_a_request_for_the_longest_time_makes_room() {
        let (mut room, mut all) = full(3).await;
        sleep(Duration::from_secs(3)).await;
        all[2] = None;
        all[2] = Some(room.enter().await);
        sleep(Duration::from_secs(3)).await;
        let note = |at: usize| all[at].as_ref().unwrap().1.progress().note();
        note(2);
        sleep(Duration::from_secs(1)).await;
        note(0);
        let (who, time) = who_leaves(&mut room, &mut all).await;
        assert_eq!(who, [1]);
        assert!(time < Duration::from_millis(10), "{time:?}");
        // The first one is older, but not idle.
        let (who, _) = who_leaves(&mut room, &mut all).await;
        assert_eq!(who, [2]);
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_idle_one_the_oldest_makes_room_after_its_turn() {
        let (mut room, mut all) = full(2).await;
        let (_, first) = all[0].as_ref().unwrap();
        let _in_progress = first.progress().begin();
        let (_, second) = all[1].as_ref().unwrap();
        let second = second.progress().clone();
        tokio::spawn(async move {
            loop {
                second.note();
                sleep(Duration::from_millis(100)).await;
            }
        });
        let (who, time) = who_leaves(&mut room, &mut all).await;
        assert!(who == [0] || who == [1], "{who:?}");
        assert!(time >= Duration::from_secs(5), "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn another_one_makes_room_if_the_first_takes_long() {
        let (mut room, all) = full(3).await;
        sleep(Duration::from_secs(1)).await;
        let waits = timeout(PATIENCE * 3 / 2, room.enter());
        assert!(waits.await.is_err());
        let told = all
            .iter()
            .flatten()
            .filter(|(_, open)| open.progress().has_to_end());
        assert_eq!(told.count(), 2);
    }
}
