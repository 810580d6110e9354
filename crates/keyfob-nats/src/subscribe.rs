//! The relay's side: messages to lines.

use std::time::Duration;

use async_nats::Message;
use bytes::Bytes;
use futures_util::StreamExt as _;
use keyfob_feed::Filter;
use keyfob_replica::{LineReceiver, LineSender};
use metrics::counter;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{Broker, metrics as names};

/// Lines that are received until this is dropped.
#[derive(Debug)]
pub struct Subscription {
    _task: JoinSet<()>,
}

pub(crate) fn start(broker: &Broker, filter: &Filter) -> (LineReceiver, Subscription) {
    let (lines, receiver) = LineReceiver::new();
    let mut task = JoinSet::new();
    task.spawn(receive(
        broker.clone(),
        broker.subjects.subject(filter),
        lines,
    ));
    (receiver, Subscription { _task: task })
}

async fn receive(broker: Broker, subject: String, lines: LineSender) {
    let mut connected = broker.connected.clone();
    // Also for a connection that is there already.
    connected.mark_changed();
    let mut asking = JoinSet::new();
    loop {
        let mut messages = match broker.client.subscribe(subject.clone()).await {
            Ok(messages) => messages,
            Err(error) => {
                tracing::error!(%error, "the subject cannot be subscribed to");
                sleep(PAUSE).await;
                continue;
            }
        };
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => give(&lines, message.payload),
                    None => break,
                },
                Ok(()) = connected.changed() => {
                    asking.abort_all();
                    asking.spawn(ask_for_last(broker.clone(), subject.clone(), lines.clone()));
                }
                Some(_) = asking.join_next() => {}
            }
        }
        sleep(PAUSE).await;
    }
}

/// Asks the stream for the last line, so that the relay knows at once where the feed is.
async fn ask_for_last(broker: Broker, subject: String, lines: LineSender) {
    let request = broker
        .client
        .request(broker.stream.last_of(&subject), Bytes::new());
    match timeout(LAST_WITHIN, request).await {
        // Not found, for example.
        Ok(Ok(Message {
            status: Some(status),
            ..
        })) => tracing::debug!(%status, "NATS keeps no last line"),
        Ok(Ok(message)) => give(&lines, message.payload),
        Ok(Err(error)) => tracing::debug!(%error, "NATS keeps no last line"),
        Err(_) => tracing::debug!("NATS did not answer with the last line"),
    }
}

fn give(lines: &LineSender, line: Bytes) {
    counter!(names::RECEIVED).increment(1);
    if !lines.send(line) {
        counter!(names::DROPPED).increment(1);
    }
}

/// The pause before another attempt to subscribe.
const PAUSE: Duration = Duration::from_secs(1);
const LAST_WITHIN: Duration = Duration::from_secs(2);
