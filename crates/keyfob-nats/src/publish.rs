//! The authority's side: lines to subjects.

use std::time::Duration;

use async_nats::connection::State;
use keyfob_feed::{
    Filter,
    server::{Hub, LineReader},
};
use metrics::counter;
use tokio::{task::JoinSet, time::timeout};

use crate::{Broker, metrics as names};

/// Lines that are published until this is dropped.
#[derive(Debug)]
pub struct Publication {
    _tasks: JoinSet<()>,
}

pub(crate) fn start(
    broker: &Broker,
    hub: &Hub,
    filters: impl IntoIterator<Item = Filter>,
) -> Result<Publication, NotCarried> {
    let mut tasks = JoinSet::new();
    for filter in filters {
        let subject = broker.subjects.subject(&filter);
        let lines = hub.lines(filter).ok_or(NotCarried)?;
        tasks.spawn(publish(broker.clone(), lines, subject));
    }
    Ok(Publication { _tasks: tasks })
}

async fn publish(broker: Broker, mut lines: LineReader, subject: String) {
    loop {
        // What cannot be published now is not kept: readers read it from an upstream, and later lines
        // would be too old.
        let line = lines.next().await.to_line();
        if broker.client.connection_state() != State::Connected {
            counter!(names::NOT_PUBLISHED, "reason" => "disconnected").increment(1);
            continue;
        }
        if line.len() > broker.client.max_payload() {
            tracing::debug!(bytes = line.len(), "a line is too long for NATS");
            counter!(names::NOT_PUBLISHED, "reason" => "too_long").increment(1);
            continue;
        }
        let published = broker.client.publish(subject.clone(), line);
        match timeout(PUBLISH_WITHIN, published).await {
            Ok(Ok(())) => counter!(names::PUBLISHED).increment(1),
            Ok(Err(_)) | Err(_) => {
                counter!(names::NOT_PUBLISHED, "reason" => "failed").increment(1);
            }
        }
    }
}

/// The server does not carry the filter, or has no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the feed does not carry the filter that is to be published, or has no room for it")]
pub struct NotCarried;

/// How long the client may take to accept a line.
const PUBLISH_WITHIN: Duration = Duration::from_secs(1);
