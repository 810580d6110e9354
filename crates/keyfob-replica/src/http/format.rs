//! The format of the keys of a feed, which its manifests state.

use backon::BackoffBuilder as _;
use keyfob::key::KeyFormat;
use keyfob_feed::Receiver;
use tokio::time::sleep;

use super::{
    FeedError, HttpSource, client::WORK_WITHIN, opening::with_query, saved::Kind, session::Session,
};
use crate::{error::chain, follow::backoff};

impl HttpSource {
    /// Returns the format of the keys: of what was kept for a warm restart, or of the first upstream
    /// that answers. It tries until one does, with back-off.
    ///
    /// # Errors
    ///
    /// [`FeedError::Status`] if every upstream refused the key, [`FeedError::Refused`] with
    /// [`OtherFilter`](keyfob_feed::Refused::OtherFilter) if it reads another part than the filter, [`FeedError::KeyFile`] and
    /// [`FeedError::KeyText`]: these do not end by themselves.
    pub async fn key_format(&self) -> Result<KeyFormat, FeedError> {
        let session = self.session.lock().await;
        if let Some(format) = session.kept_format() {
            return Ok(format);
        }
        let mut delays = backoff().build();
        loop {
            // One of several may not carry the part, or not know a new key yet.
            let mut refused = 0;
            for upstream in 0..self.config.upstreams.len() {
                match session.format_of(upstream).await {
                    Ok(format) => return Ok(format),
                    Err(error) if error.is_of_settings() => return Err(error),
                    Err(error) => {
                        refused += usize::from(error.is_refusal());
                        if refused == self.config.upstreams.len() {
                            return Err(error);
                        }
                        let upstream = self.config.upstreams.get(upstream);
                        let error = chain(&error);
                        tracing::warn!(?upstream, error, "the feed cannot be read");
                    }
                }
            }
            sleep(delays.next().unwrap_or_default()).await;
        }
    }
}

impl Session {
    fn kept_format(&self) -> Option<KeyFormat> {
        let records = self.keeper.read().ok()?.records;
        let mut receiver = self.receiver.clone();
        for record in records {
            match record.kind {
                // A document that is refused leaves the pinned keys.
                Kind::Signers => drop(receiver.restore_trust(&record.line)),
                Kind::Manifest => return self.format(&mut receiver, &record.line).ok(),
                Kind::Pins | Kind::Unproven | Kind::Frame | Kind::Bookmark => {}
            }
        }
        None
    }

    async fn format_of(&self, upstream: usize) -> Result<KeyFormat, FeedError> {
        let config = &self.config;
        if let Some(folder) = config.folder(upstream) {
            let kept = folder.kept().await?;
            return self.format(&mut self.receiver.clone(), &kept.manifest);
        }
        let upstream = config.upstreams.get(upstream).ok_or(FeedError::Closed)?;
        let mut connection = config.client.connect(upstream).await?;
        let path = with_query("/v1/feed/snapshot", &config.query);
        let line = connection.read(&path, WORK_WITHIN).await?;
        self.format(&mut self.receiver.clone(), &line)
    }

    fn format(&self, receiver: &mut Receiver, line: &[u8]) -> Result<KeyFormat, FeedError> {
        Ok(receiver.manifest(line, self.config.clocks.now())?.format())
    }
}
