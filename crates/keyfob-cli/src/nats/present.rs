//! A connection to NATS by the settings.

use keyfob_feed::{Filter, server::Hub};
use keyfob_nats::{Broker, Subscription};
use keyfob_replica::LineReceiver;

pub(crate) use keyfob_nats::{
    Publication, ServerAddress, ServerAddressError, StreamName, SubjectPrefix,
    metrics::describe as describe_metrics,
};

use crate::{
    exit::Exit,
    failure::{Failure, with_sources},
    settings::NatsSettings,
};

pub(crate) struct Nats(Broker);

impl Nats {
    /// Connects, if the settings name servers.
    pub(crate) async fn connect(
        settings: NatsSettings,
        name: &str,
    ) -> Result<Option<Self>, Failure> {
        if settings.servers.is_empty() {
            return Ok(None);
        }
        let mut builder = Broker::builder().name(name);
        for server in settings.servers {
            builder = builder.server(server);
        }
        if let Some(file) = settings.credentials {
            builder = builder.credentials_file(file);
        }
        if let Some(file) = settings.ca {
            builder = builder.root_certificates(file);
        }
        if let (Some(certificate), Some(key)) = (settings.certificate, settings.key) {
            builder = builder.client_certificate(certificate, key);
        }
        if let Some(subjects) = settings.subjects {
            builder = builder.subjects(subjects);
        }
        if let Some(stream) = settings.stream {
            builder = builder.stream(stream);
        }
        let broker = builder.connect().await;
        broker.map(Self).map(Some).map_err(|error| {
            let error = with_sources(&error);
            Failure::usage(format!("nats: {error}"))
        })
    }

    /// Publishes these parts of the feed.
    pub(crate) fn publish(&self, hub: &Hub, parts: Vec<Filter>) -> Result<Publication, Failure> {
        let published = self.0.publish(hub, parts);
        published.map_err(|error| Failure::new(Exit::Failed, format!("nats_carry: {error}")))
    }

    /// Receives a part of the feed.
    pub(crate) fn subscribe(&self, part: &Filter) -> (LineReceiver, Subscription) {
        self.0.subscribe(part)
    }
}
