//! What a relay asks its upstreams for, besides the stream.

use std::sync::Arc;

use bytes::Bytes;
use keyfob::store::async_trait;
use keyfob_feed::{
    Filter, ObjectName, Position, SignedLine,
    server::{Upstream, UpstreamError},
};
use tokio::time::timeout;

use super::{
    FeedError, HttpSource,
    client::{ANSWER_WITHIN, Connection, WORK_WITHIN},
    opening::with_query,
};
use crate::error::chain;

/// The upstreams of a source, for a relay that serves what the source receives.
///
/// Each request goes to the upstream that the source reads, and to the others if that one fails.
#[derive(Clone, Debug)]
pub struct HttpUpstream(Arc<HttpSource>);

impl HttpUpstream {
    /// Asks the upstreams of this source, with its key.
    pub fn new(source: Arc<HttpSource>) -> Self {
        Self(source)
    }

    /// Asks one upstream after the other until one answers.
    async fn ask(&self, request: &Request) -> Result<Bytes, UpstreamError> {
        let config = &self.0.config;
        let read = self.0.status().upstream;
        let mut upstreams: Vec<super::Upstream> = config.upstreams.clone();
        // A stable sort: the rest stays in its order.
        upstreams.sort_by_key(|upstream| Some(upstream) != read.as_ref());
        let mut failure = String::new();
        for upstream in upstreams {
            let most = config.snapshot_bytes_max;
            let answer = match config.client.connect(&upstream).await {
                Ok(mut connection) => request.send(&mut connection, most).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(FeedError::Gone) => return Err(UpstreamError::Gone),
                Err(FeedError::Status(status)) if status == http::StatusCode::NOT_FOUND => {
                    return Err(UpstreamError::Gone);
                }
                Err(error) => failure = format!("{upstream}: {}", chain(&error)),
            }
        }
        Err(UpstreamError::Unavailable(failure))
    }

    async fn line(&self, path: &str, filter: &Filter) -> Result<SignedLine, UpstreamError> {
        let request = Request::Lines(with_query(path, &filter.to_query()));
        Ok(SignedLine::received(&self.ask(&request).await?))
    }
}

/// A request to an upstream.
enum Request {
    /// For signed lines.
    Lines(String),
    /// For the object of a snapshot.
    Object(ObjectName),
    /// With the report of a replica.
    Report(Bytes),
}

impl Request {
    /// Sends it, and reads the answer. An object has at most `most` bytes.
    async fn send(&self, connection: &mut Connection, most: u64) -> Result<Bytes, FeedError> {
        match self {
            Self::Lines(path) => connection.read(path, WORK_WITHIN).await,
            Self::Object(name) => connection.object(*name, most, None, |_| ()).await,
            Self::Report(body) => {
                let sent = connection.post("/v1/feed/report", body.to_vec());
                let answer = timeout(ANSWER_WITHIN, sent).await;
                answer.unwrap_or(Err(FeedError::TimedOut("the answer")))?;
                Ok(Bytes::new())
            }
        }
    }
}

#[async_trait]
impl Upstream for HttpUpstream {
    async fn frame(&self, filter: &Filter, after: Position) -> Result<SignedLine, UpstreamError> {
        let path = format!("/v1/feed/frame?after={after}");
        self.line(&path, filter).await
    }

    async fn manifest(&self, filter: &Filter) -> Result<SignedLine, UpstreamError> {
        self.line("/v1/feed/snapshot", filter).await
    }

    async fn object(&self, name: ObjectName) -> Result<Bytes, UpstreamError> {
        self.ask(&Request::Object(name)).await
    }

    async fn signers(&self) -> Result<Vec<SignedLine>, UpstreamError> {
        let lines = self.ask(&Request::Lines("/v1/feed/signers".into())).await?;
        let lines = lines.split(|byte| *byte == b'\n');
        Ok(lines.map(SignedLine::received).collect())
    }

    async fn report(&self, body: Bytes) -> Result<(), UpstreamError> {
        self.ask(&Request::Report(body)).await.map(drop)
    }
}
