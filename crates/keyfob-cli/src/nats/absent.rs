//! What takes the place of NATS in a program without it: values that do not exist.

use std::{convert::Infallible, str::FromStr};

use keyfob_feed::{Filter, server::Hub};
use keyfob_replica::LineReceiver;

use crate::{failure::Failure, settings::NatsSettings};

/// A connection.
// The field is private, so that the compiler does not call the code that has one unreachable.
pub(crate) struct Nats(Infallible);

pub(crate) struct Publication(Infallible);

pub(crate) struct Subscription(Infallible);

#[derive(Debug)]
pub(crate) enum ServerAddress {}

#[derive(Debug)]
pub(crate) enum StreamName {}

#[derive(Debug)]
pub(crate) enum SubjectPrefix {}

#[derive(Debug, thiserror::Error)]
#[error("this program was built without the feature `nats`")]
pub(crate) struct ServerAddressError;

impl FromStr for ServerAddress {
    type Err = ServerAddressError;

    fn from_str(_: &str) -> Result<Self, ServerAddressError> {
        Err(ServerAddressError)
    }
}

impl FromStr for StreamName {
    type Err = ServerAddressError;

    fn from_str(_: &str) -> Result<Self, ServerAddressError> {
        Err(ServerAddressError)
    }
}

impl FromStr for SubjectPrefix {
    type Err = ServerAddressError;

    fn from_str(_: &str) -> Result<Self, ServerAddressError> {
        Err(ServerAddressError)
    }
}

// As the other one, which ends what it publishes.
impl Drop for Publication {
    fn drop(&mut self) {}
}

impl Nats {
    #[expect(clippy::unused_async, reason = "the other one connects")]
    pub(crate) async fn connect(_: NatsSettings, _: &str) -> Result<Option<Self>, Failure> {
        Ok(None)
    }

    pub(crate) fn publish(&self, _: &Hub, _: Vec<Filter>) -> Result<Publication, Failure> {
        match self.0 {}
    }

    pub(crate) fn subscribe(&self, _: &Filter) -> (LineReceiver, Subscription) {
        match self.0 {}
    }
}

pub(crate) fn describe_metrics() {}
