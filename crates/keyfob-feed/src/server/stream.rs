//! The stream of a reader.

use std::{convert::Infallible, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::unfold;
use keyfob::Timestamp;
use metrics::{counter, gauge};
use tokio::{sync::watch, time::Instant};

use crate::{
    filter::Filter,
    line::SignedLine,
    lines::{Cursor, Next},
    position::Position,
};

use super::{
    authorize::ReplicaRight,
    hub::{Hub, Joined},
    metrics as names,
    refusal::Refusal,
    shares::Share,
};

/// A reader's stream: a cursor, and no buffer.
pub(crate) struct Stream {
    hub: Hub,
    filter: Filter,
    right: ReplicaRight,
    _share: Share,
    judged: Instant,
    changed: watch::Receiver<()>,
    /// The line to send next.
    line: Option<SignedLine>,
    place: Place,
}

enum Place {
    At(Cursor),
    Joining(Position),
}

impl Stream {
    /// Begins a stream at a position, with a line that says at once up to when the reader is.
    pub(crate) async fn begin(
        hub: Hub,
        filter: Filter,
        right: ReplicaRight,
        position: Position,
    ) -> Result<Self, Refusal> {
        let share = hub.shares.open(&right, &filter)?;
        hub.source.open(&filter)?;
        gauge!(names::STREAMS).increment(1.0);
        // From here on, dropping it closes the filter.
        let mut stream = Self {
            changed: hub.source.changed(),
            hub,
            filter,
            right,
            _share: share,
            judged: Instant::now(),
            line: None,
            place: Place::Joining(position),
        };
        match stream
            .hub
            .source
            .join(&stream.filter, position, true)
            .await?
        {
            Joined::At(cursor) => stream.place = Place::At(cursor),
            Joined::Line(line, to) => {
                stream.line = Some(line);
                stream.place = Place::Joining(to);
            }
        }
        Ok(stream)
    }

    pub(crate) fn into_body(self) -> Body {
        // Boxed here, so that the body is not copied with its futures.
        Body::from_stream(unfold(Box::new(self), |mut stream| async move {
            let line = stream.next().await?;
            Some((Ok::<Bytes, Infallible>(line.to_sent()), stream))
        }))
    }

    /// The next line; `None` when the stream ends.
    pub(crate) async fn next(&mut self) -> Option<SignedLine> {
        let line = match self.line.take() {
            Some(line) => line,
            None => self.wait().await?,
        };
        if self.judged.elapsed() >= JUDGE_EVERY {
            self.judged = Instant::now();
            if !self.right.still_works(now()) {
                counter!(names::REVOKED).increment(1);
                tracing::info!("a stream ends: its credential no longer works");
                return None;
            }
        }
        let bytes = u64::try_from(line.to_sent().len()).unwrap_or(u64::MAX);
        counter!(names::BYTES).increment(bytes);
        Some(line)
    }

    async fn wait(&mut self) -> Option<SignedLine> {
        loop {
            match self.place {
                Place::Joining(position) => {
                    // Boxed, since few streams are joining at a time.
                    let join = self.hub.source.join(&self.filter, position, false);
                    match join.await.ok()? {
                        Joined::At(cursor) => self.place = Place::At(cursor),
                        Joined::Line(line, to) => {
                            self.place = Place::Joining(to);
                            return Some(line);
                        }
                    }
                }
                Place::At(cursor) => {
                    self.changed.borrow_and_update();
                    match self.hub.source.next(&self.filter, cursor) {
                        Next::Line(line, next) => {
                            self.place = Place::At(next);
                            return Some(line);
                        }
                        Next::Wait => self.changed.changed().await.ok()?,
                        Next::Lost => {
                            counter!(names::SLOW).increment(1);
                            return None;
                        }
                    }
                }
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.hub.source.close(&self.filter);
        gauge!(names::STREAMS).decrement(1.0);
    }
}

fn now() -> Timestamp {
    keyfob::now()
}

/// How often a credential is judged again: less than the time between two bookmarks.
const JUDGE_EVERY: Duration = Duration::from_millis(400);
