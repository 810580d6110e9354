//! A relay: it serves what an authority signed.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use bytes::Bytes;
use keyfob::store::async_trait;
use metrics::counter;
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    filter::Filter,
    frame::FrameHead,
    line::{Document, LineError, SignedLine},
    lines::{Cursor, Lines, Next},
    position::Position,
    publisher::Limits,
    signer::Trust,
    snapshot::{Manifest, ObjectName},
};

use super::{
    authorize::ReplicaRight,
    hub::{AHEAD_WITHIN, CURRENT_WITHIN, Hub, Joined, Source},
    metrics as names,
    refusal::Refusal,
    report::{Fleet, Report},
    snapshots::{Keeps, Made, Snapshots, shared},
};

/// What a relay asks the authority, or another relay, for.
///
/// Each call is one request of [`Hub::router`](super::Hub::router), and returns what was answered.
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// `GET /v1/feed/frame`: one frame from a position to the present.
    async fn frame(&self, filter: &Filter, after: Position) -> Result<SignedLine, UpstreamError>;

    /// `GET /v1/feed/snapshot`: a manifest.
    async fn manifest(&self, filter: &Filter) -> Result<SignedLine, UpstreamError>;

    /// `GET /v1/feed/snapshots/…`: an object. It need not be verified: the relay does.
    async fn object(&self, name: ObjectName) -> Result<Bytes, UpstreamError>;

    /// `GET /v1/feed/signers`: signers documents.
    async fn signers(&self) -> Result<Vec<SignedLine>, UpstreamError>;

    /// `POST /v1/feed/report`: the report of a replica, as it arrived.
    async fn report(&self, body: Bytes) -> Result<(), UpstreamError>;
}

/// An upstream server did not give what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// It answered 410, or 404 for an object.
    #[error("upstream no longer has it")]
    Gone,
    /// It cannot be reached, or refuses.
    #[error("upstream: {0}")]
    Unavailable(String),
}

/// Serves what an authority signed, byte for byte.
///
/// It reads no store and has no signing key. Give it each line of the upstream stream by
/// [`Relay::accept`]. What its readers need besides, it asks [`Upstream`] for, once for all of them.
/// Cheap to clone.
#[derive(Clone)]
pub struct Relay {
    shared: Arc<Relayed>,
    hub: Hub,
}

impl Relay {
    /// Creates a relay that carries these filters, for readers that ask for exactly one of them.
    pub fn new(
        upstream: impl Upstream,
        trust: Trust,
        filters: impl IntoIterator<Item = Filter>,
        limits: Limits,
    ) -> Self {
        let filters = filters.into_iter();
        let shared = Arc::new(Relayed {
            upstream: Box::new(upstream),
            trust: RwLock::new(trust),
            channels: filters.map(|filter| (filter, RwLock::default())).collect(),
            limits,
            changed: watch::Sender::new(()),
            snapshots: Snapshots::new(MANIFEST_EVERY, OBJECT_BYTES),
            fetching: Arc::default(),
            catch_ups: Mutex::default(),
        });
        let source: Arc<dyn Source> = Arc::clone(&shared) as _;
        Self {
            shared,
            hub: Hub::over(source, Fleet::default()),
        }
    }

    /// What connections share.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Takes a line of the upstream stream for a filter, without its line break. After a line that does
    /// not follow the one before, readers resume by their positions.
    ///
    /// # Errors
    ///
    /// - no trusted signer signed it -> [`RelayError::Line`]
    /// - it is for another filter, or this one is not carried -> [`RelayError::OtherFilter`]
    pub fn accept(&self, filter: &Filter, line: &[u8]) -> Result<(), RelayError> {
        let head = self.shared.head(line)?;
        let channel = self.shared.channels.get(filter);
        let channel = channel.filter(|_| head.filter == filter.id());
        let channel = channel.ok_or(RelayError::OtherFilter)?;
        {
            let mut channel = write(channel);
            let lines = channel.lines.get_or_insert_with(|| Lines::at(head.from));
            if lines.end() != head.from {
                lines.restart(head.from);
            }
            let Limits {
                lines: most,
                line_bytes,
                ..
            } = self.shared.limits;
            lines.push(SignedLine::received(line), head.to, most, line_bytes);
            channel.last_is_bookmark = head.from == head.to && !head.more;
            channel.last = Some(Instant::now());
        }
        self.shared.changed.send_replace(());
        Ok(())
    }

    /// Replaces the trusted signers, unless those of a later signers document are trusted already.
    pub fn set_trust(&self, trust: &Trust) {
        let mut own = write(&self.shared.trust);
        if trust.version() > own.version() {
            own.clone_from(trust);
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("filters", &self.shared.channels.keys())
            .finish_non_exhaustive()
    }
}

/// A relay cannot serve a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// No trusted signer signed it.
    #[error(transparent)]
    Line(#[from] LineError),
    /// It is for another filter, or this one is not carried.
    #[error("the line is for another filter")]
    OtherFilter,
}

struct Relayed {
    upstream: Box<dyn Upstream>,
    trust: RwLock<Trust>,
    channels: HashMap<Filter, RwLock<Channel>>,
    limits: Limits,
    changed: watch::Sender<()>,
    snapshots: Snapshots,
    /// One object is fetched at a time.
    fetching: Arc<tokio::sync::Mutex<()>>,
    catch_ups: Mutex<HashMap<(Filter, Position), Arc<CatchUp>>>,
}

#[derive(Default)]
struct Channel {
    lines: Option<Lines>,
    last_is_bookmark: bool,
    /// When the last line arrived.
    last: Option<Instant>,
}

/// A frame that was fetched, and when. Those who need it wait for the one who fetches it.
type CatchUp = tokio::sync::Mutex<Option<(Instant, SignedLine, Position)>>;

impl Relayed {
    /// Verifies a line, and reads what it says of itself.
    fn head(&self, line: &[u8]) -> Result<FrameHead, LineError> {
        let trust = read(&self.trust);
        FrameHead::parse(trust.verify(Document::Frame, line)?).ok_or(LineError::Malformed)
    }

    fn channel(&self, filter: &Filter) -> Result<RwLockReadGuard<'_, Channel>, Refusal> {
        let channel = self.channels.get(filter).ok_or(Refusal::NotCarried)?;
        let channel = read(channel);
        match channel.last {
            Some(last) if last.elapsed() < CURRENT_WITHIN => Ok(channel),
            _ => Err(Refusal::NotCurrent),
        }
    }

    fn find(
        &self,
        filter: &Filter,
        position: Position,
        fresh: bool,
    ) -> Result<Option<Joined>, Refusal> {
        let channel = self.channel(filter)?;
        let Some(lines) = &channel.lines else {
            return Err(Refusal::NotCurrent);
        };
        let last = lines.last().filter(|_| channel.last_is_bookmark);
        Ok(match (lines.find(position), last) {
            (Some(_), Some(last)) if fresh && lines.end() == position => {
                Some(Joined::Line(last.clone(), position))
            }
            (found, _) => found.map(Joined::At),
        })
    }

    /// Fetches a frame from a position to the present, once for all readers at it.
    async fn fetch(
        &self,
        filter: &Filter,
        position: Position,
    ) -> Result<(SignedLine, Position), Refusal> {
        let slot = self.slot(filter, position);
        let mut kept = slot.lock().await;
        if let Some((at, line, to)) = &*kept
            && at.elapsed() < FRAME_FOR
        {
            return Ok((line.clone(), *to));
        }
        let fetched = timeout(FETCH_WITHIN, self.upstream.frame(filter, position)).await;
        let line = fetched.map_err(|_| Refusal::NotCurrent)?.map_err(refusal)?;
        // Nothing is served that the readers would refuse.
        let head = self.head(line.as_bytes()).map_err(|error| {
            tracing::error!(%error, "upstream sent a frame that cannot be verified");
            Refusal::NotCurrent
        })?;
        if head.from != position || head.filter != filter.id() {
            return Err(Refusal::NotCurrent);
        }
        *kept = Some((Instant::now(), line.clone(), head.to));
        Ok((line, head.to))
    }

    /// The place for a frame from a position. Frames that nobody waits for are dropped when they are
    /// too old, or when there are too many or too large ones.
    fn slot(&self, filter: &Filter, position: Position) -> Arc<CatchUp> {
        let mut slots = self.catch_ups();
        let mut bytes = 0;
        slots.retain(|_, slot| {
            if Arc::strong_count(slot) > 1 {
                return true;
            }
            // Nobody waits for it, so nobody has locked it.
            let kept = slot.try_lock().ok();
            let kept = kept.as_deref().and_then(Option::as_ref);
            kept.is_some_and(|(at, line, _)| {
                bytes += line.as_bytes().len();
                at.elapsed() < FRAME_FOR && bytes <= self.limits.catch_up_bytes
            })
        });
        if slots.len() >= self.limits.catch_ups.max(1) {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(slots.entry((filter.clone(), position)).or_default())
    }

    fn catch_ups(&self) -> MutexGuard<'_, HashMap<(Filter, Position), Arc<CatchUp>>> {
        self.catch_ups
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch_manifest(&self, filter: &Filter) -> Result<Made, Refusal> {
        let fetched = timeout(MADE_WITHIN, self.upstream.manifest(filter)).await;
        let line = fetched.map_err(|_| Refusal::NotCurrent)?.map_err(refusal)?;
        let manifest: Option<Manifest> = {
            let trust = read(&self.trust);
            let raw = trust.verify(Document::Manifest, line.as_bytes());
            raw.ok().and_then(|raw| serde_json::from_slice(raw).ok())
        };
        let Some(manifest) = manifest.filter(|manifest| manifest.filter() == filter.id()) else {
            tracing::error!("upstream sent a manifest that cannot be verified");
            return Err(Refusal::NotCurrent);
        };
        self.snapshots.tell(manifest.object());
        Ok(Made::new(line, manifest))
    }

    async fn fetch_object(&self, name: ObjectName) -> Result<Bytes, Refusal> {
        let fetched = timeout(MADE_WITHIN, self.upstream.object(name)).await;
        let object = fetched
            .map_err(|_| Refusal::NotCurrent)?
            .map_err(|error| match error {
                UpstreamError::Gone => Refusal::NotFound,
                error @ UpstreamError::Unavailable(_) => refusal(error),
            })?;
        if !name.is_of(&object) {
            tracing::error!("upstream sent an object that is not the one of its name");
            return Err(Refusal::NotCurrent);
        }
        counter!(names::SNAPSHOTS).increment(1);
        // Its filters are those that its operator chose.
        let keeps = Keeps::Part(Arc::default());
        self.snapshots.keep(name, object.clone(), keeps);
        Ok(object)
    }
}

#[async_trait]
impl Source for Relayed {
    fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn open(&self, filter: &Filter) -> Result<(), Refusal> {
        match self.channels.get(filter) {
            Some(_) => Ok(()),
            None => Err(Refusal::NotCarried),
        }
    }

    fn close(&self, _: &Filter) {}

    fn next(&self, filter: &Filter, cursor: Cursor) -> Next {
        let channel = self.channels.get(filter).map(read);
        let lines = channel.as_ref().and_then(|channel| channel.lines.as_ref());
        lines.map_or(Next::Lost, |lines| lines.next(cursor))
    }

    async fn join(
        &self,
        filter: &Filter,
        position: Position,
        fresh: bool,
    ) -> Result<Joined, Refusal> {
        let mut changed = self.changed.subscribe();
        if let Some(joined) = self.find(filter, position, fresh)? {
            return Ok(joined);
        }
        let (line, to) = self.fetch(filter, position).await?;
        if to == position && !fresh {
            // Upstream has no more. This relay gets there by its own stream.
            let deadline = Instant::now() + AHEAD_WITHIN / 2;
            while let Ok(Ok(())) = timeout_at(deadline, changed.changed()).await {
                if let Some(joined) = self.find(filter, position, fresh)? {
                    return Ok(joined);
                }
            }
        }
        Ok(Joined::Line(line, to))
    }

    async fn frame(&self, filter: &Filter, position: Position) -> Result<SignedLine, Refusal> {
        drop(self.channel(filter)?);
        let (line, _) = self.fetch(filter, position).await?;
        Ok(line)
    }

    async fn manifest(
        self: Arc<Self>,
        filter: &Filter,
        _: &ReplicaRight,
    ) -> Result<SignedLine, Refusal> {
        drop(self.channel(filter)?);
        let manifest = self.snapshots.manifest(
            filter,
            |_| true,
            || {
                let (relayed, filter) = (Arc::clone(&self), filter.clone());
                async move { relayed.fetch_manifest(&filter).await }
            },
        );
        Ok(manifest.await?.line)
    }

    async fn object(self: Arc<Self>, name: ObjectName) -> Result<Bytes, Refusal> {
        if let Some(object) = self.snapshots.object(name) {
            return Ok(object);
        }
        if !self.snapshots.was_told(name) {
            return Err(Refusal::NotFound);
        }
        let one = Arc::clone(&self.fetching).lock_owned().await;
        if let Some(object) = self.snapshots.object(name) {
            return Ok(object);
        }
        shared(async move {
            let _one = one;
            self.fetch_object(name).await
        })
        .await
    }

    async fn signers(&self) -> Result<Vec<SignedLine>, Refusal> {
        let fetched = timeout(FETCH_WITHIN, self.upstream.signers()).await;
        fetched.map_err(|_| Refusal::NotCurrent)?.map_err(refusal)
    }

    async fn report(&self, _: &Report, body: &Bytes) -> Result<(), Refusal> {
        let handed_on = timeout(FETCH_WITHIN, self.upstream.report(body.clone())).await;
        handed_on.map_err(|_| Refusal::NotCurrent)?.map_err(refusal)
    }

    fn is_current(&self) -> bool {
        self.channels
            .keys()
            .all(|filter| self.channel(filter).is_ok())
    }

    fn position(&self) -> Option<Position> {
        let ends = self.channels.values().filter_map(|channel| {
            let channel = read(channel);
            channel.lines.as_ref().map(Lines::end)
        });
        ends.min()
    }
}

fn refusal(error: UpstreamError) -> Refusal {
    match error {
        UpstreamError::Gone => Refusal::gone(),
        UpstreamError::Unavailable(error) => {
            tracing::warn!(error, "upstream does not answer");
            Refusal::NotCurrent
        }
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// How long a frame that was fetched is given to other readers at its position.
const FRAME_FOR: Duration = Duration::from_secs(1);
/// How long a manifest is given to readers before the next one is fetched.
const MANIFEST_EVERY: Duration = Duration::from_secs(5);
/// How many bytes of objects are kept.
const OBJECT_BYTES: usize = 1 << 30;
const FETCH_WITHIN: Duration = Duration::from_secs(5);
/// How long upstream may take for a manifest, for which it may have to make a snapshot, or for an object.
const MADE_WITHIN: Duration = Duration::from_mins(2);

#[cfg(test)]
mod tests {
    use keyfob::{
        audit::{ChainHash, TrailHead},
        key::SystemRandom,
        store::Revision,
    };

    use super::*;
    use crate::keys::FeedKeys;

    /// Has a frame without entries for every position.
    struct Frames(Arc<FeedKeys>);

    #[async_trait]
    impl Upstream for Frames {
        async fn frame(&self, _: &Filter, after: Position) -> Result<SignedLine, UpstreamError> {
            let head = FrameHead {
                from: after,
                to: after,
                as_of: 1,
                filter: None,
                more: false,
            };
            Ok(head.signed(&[], &self.0))
        }

        async fn manifest(&self, _: &Filter) -> Result<SignedLine, UpstreamError> {
            Err(UpstreamError::Gone)
        }

        async fn object(&self, _: ObjectName) -> Result<Bytes, UpstreamError> {
            Err(UpstreamError::Gone)
        }

        async fn signers(&self) -> Result<Vec<SignedLine>, UpstreamError> {
            Err(UpstreamError::Gone)
        }

        async fn report(&self, _: Bytes) -> Result<(), UpstreamError> {
            Err(UpstreamError::Gone)
        }
    }

    #[tokio::test]
    async fn what_is_kept_for_readers_that_come_back_is_bounded() {
        let keys = Arc::new(FeedKeys::generate(&SystemRandom).unwrap());
        let trust = Trust::pinned(keys.signers()).unwrap();
        let position = |revision| {
            keys.mark_key().position(TrailHead {
                revision: Revision::new(revision),
                hash: ChainHash::from_bytes([7; 32]),
            })
        };
        let one = Frames(Arc::clone(&keys));
        let one = one.frame(&Filter::All, position(1)).await.unwrap();
        let limits = Limits {
            catch_up_bytes: 10 * one.as_bytes().len(),
            ..Limits::default()
        };
        let relay = Relay::new(Frames(Arc::clone(&keys)), trust, [Filter::All], limits);
        for revision in 100..200 {
            let fetched = relay.shared.fetch(&Filter::All, position(revision)).await;
            assert_eq!(fetched.ok().map(|(_, to)| to), Some(position(revision)));
        }
        assert!(relay.shared.catch_ups().len() <= 11);
    }
}
