//! The lines of a filter, for other ways to readers than HTTP.

use std::{fmt, time::Duration};

use tokio::{sync::watch, time::sleep};

use crate::{
    filter::Filter,
    line::SignedLine,
    lines::{Cursor, Next},
};

use super::hub::{Hub, Joined};

/// Reads the lines of a filter as they are signed or arrive. [`Hub::lines`] makes it.
pub struct LineReader {
    hub: Hub,
    filter: Filter,
    changed: watch::Receiver<()>,
    cursor: Option<Cursor>,
}

impl LineReader {
    pub(super) fn open(hub: Hub, filter: Filter) -> Option<Self> {
        hub.source.open(&filter).ok()?;
        Some(Self {
            changed: hub.source.changed(),
            hub,
            filter,
            cursor: None,
        })
    }

    /// Waits for the next line. It continues the one before, except after a delay that was so long that
    /// lines were dropped, and when this server lost its own place. While the server is not up to
    /// date, there is none.
    ///
    /// The future may be dropped before it is ready; no line is lost.
    pub async fn next(&mut self) -> SignedLine {
        loop {
            self.changed.borrow_and_update();
            let Some(cursor) = self.cursor else {
                self.join().await;
                continue;
            };
            match self.hub.source.next(&self.filter, cursor) {
                Next::Line(line, next) => {
                    self.cursor = Some(next);
                    return line;
                }
                Next::Wait => drop(self.changed.changed().await),
                Next::Lost => self.cursor = None,
            }
        }
    }

    /// Finds the end of the lines.
    async fn join(&mut self) {
        let source = &self.hub.source;
        if let Some(position) = source.position()
            && let Ok(Joined::At(cursor)) = source.join(&self.filter, position, false).await
        {
            self.cursor = Some(cursor);
        } else {
            sleep(RETRY).await;
        }
    }
}

impl Drop for LineReader {
    fn drop(&mut self) {
        self.hub.source.close(&self.filter);
    }
}

impl fmt::Debug for LineReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineReader")
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

/// The pause before the end of the lines is looked for again.
const RETRY: Duration = Duration::from_millis(50);
