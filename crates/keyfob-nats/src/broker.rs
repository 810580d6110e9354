//! The connection to NATS.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_nats::{AuthError, Client, ConnectOptions, Event, ServerAddr};
use keyfob_feed::{Filter, server::Hub};
use keyfob_replica::{ClientTls, HttpSourceError, LineReceiver};
use metrics::gauge;
use tokio::sync::watch;

use crate::{
    NotCarried, Publication, ServerAddress, StreamName, SubjectPrefix, Subscription, credentials,
    metrics as names, publish, subscribe,
};

/// A connection to NATS, by which an authority publishes lines and a relay receives them. Cheap to clone.
///
/// It reconnects by itself, with back-off, as long as it exists. Meanwhile nothing is published: readers
/// get by from their upstreams.
#[derive(Clone)]
pub struct Broker {
    pub(crate) client: Client,
    pub(crate) subjects: SubjectPrefix,
    pub(crate) stream: StreamName,
    /// How many times it has connected.
    pub(crate) connected: watch::Receiver<u64>,
}

/// The settings of a [`Broker`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct BrokerBuilder {
    servers: Vec<ServerAddress>,
    credentials: Option<PathBuf>,
    tls: ClientTls,
    allow_plain: bool,
    subjects: SubjectPrefix,
    stream: StreamName,
    name: String,
}

impl Broker {
    /// The settings of a connection.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Publishes the lines of a server of the feed for these filters, until the result is dropped.
    ///
    /// # Errors
    ///
    /// The server does not carry a filter, or has no room for it -> [`NotCarried`].
    pub fn publish(
        &self,
        hub: &Hub,
        filters: impl IntoIterator<Item = Filter>,
    ) -> Result<Publication, NotCarried> {
        publish::start(self, hub, filters)
    }

    /// Receives the lines for a filter, until the subscription is dropped. The receiver is for
    /// [`HttpSourceBuilder::broadcast`](keyfob_replica::HttpSourceBuilder::broadcast).
    pub fn subscribe(&self, filter: &Filter) -> (LineReceiver, Subscription) {
        subscribe::start(self, filter)
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker")
            .field("subjects", &self.subjects)
            .field("state", &self.client.connection_state())
            .finish_non_exhaustive()
    }
}

impl BrokerBuilder {
    /// Adds a server. Only the servers that are named here are used, not those that they announce.
    pub fn server(mut self, server: ServerAddress) -> Self {
        self.servers.push(server);
        self
    }

    /// Authenticates with this file: of credentials (a JWT and its seed), or of the seed of an nkey. It is
    /// read for each connection.
    pub fn credentials_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.credentials = Some(file.into());
        self
    }

    /// Trusts the certificates in this file (PEM), and not those of the system.
    pub fn root_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.tls.set_root_certificates(file);
        self
    }

    /// Shows this certificate to servers that ask for one. Both files are PEM.
    pub fn client_certificate(
        mut self,
        certificates: impl Into<PathBuf>,
        private_key: impl Into<PathBuf>,
    ) -> Self {
        self.tls.set_client_certificate(certificates, private_key);
        self
    }

    /// Allows connections to other machines without TLS.
    ///
    /// # Security
    ///
    /// Anyone who sees the traffic then reads the feed: identifiers, owners and digests. Seeds are not sent.
    pub fn allow_plain(mut self) -> Self {
        self.allow_plain = true;
        self
    }

    /// What subjects begin with.
    pub fn subjects(mut self, prefix: SubjectPrefix) -> Self {
        self.subjects = prefix;
        self
    }

    /// The stream that keeps the last line of each subject. A subscription asks it for the last line when it
    /// connects. It is not necessary that there is one.
    pub fn stream(mut self, stream: StreamName) -> Self {
        self.stream = stream;
        self
    }

    /// The name by which NATS lists this connection.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Connects, in the background if no server can be reached now.
    ///
    /// # Errors
    ///
    /// [`BrokerError`] if the settings cannot work.
    pub async fn connect(self) -> Result<Broker, BrokerError> {
        let open = |server: &&ServerAddress| !server.is_private();
        if let Some(server) = self.servers.iter().find(open)
            && !self.allow_plain
        {
            return Err(BrokerError::Plain(server.clone()));
        }
        let servers: Result<Vec<ServerAddr>, _> = self
            .servers
            .iter()
            .map(|server| server.to_string().parse())
            .collect();
        let servers = servers.map_err(|_| BrokerError::NoServer)?;
        if servers.is_empty() {
            return Err(BrokerError::NoServer);
        }
        let (told, connected) = watch::channel(0);
        let mut options = match self.credentials {
            None => ConnectOptions::new(),
            Some(file) => {
                // A mistake shows at the start.
                credentials::sign(&file, b"")
                    .await
                    .map_err(|error| BrokerError::Credentials(error.into()))?;
                let file = Arc::new(file);
                ConnectOptions::with_auth_callback(move |nonce| {
                    let file = Arc::clone(&file);
                    async move {
                        let signed = credentials::sign(&file, &nonce).await;
                        signed.map_err(AuthError::new)
                    }
                })
            }
        };
        if self.servers.iter().any(ServerAddress::is_tls) {
            let config = self.tls.config()?;
            options = options.tls_client_config(Arc::unwrap_or_clone(config));
        }
        let told = Arc::new(told);
        let options = options
            .name(self.name)
            .retry_on_initial_connect()
            // They may be on other machines, without TLS.
            .ignore_discovered_servers()
            .connection_timeout(CONNECT_WITHIN)
            .ping_interval(PING_EVERY)
            .subscription_capacity(MESSAGES)
            .max_reconnects(None)
            .reconnect_delay_callback(delay)
            .event_callback(move |event| {
                let told = Arc::clone(&told);
                async move { observe(&event, &told) }
            });
        let client = options.connect(servers).await;
        Ok(Broker {
            client: client.map_err(|error| BrokerError::Connect(error.into()))?,
            subjects: self.subjects,
            stream: self.stream,
            connected,
        })
    }
}

fn observe(event: &Event, told: &watch::Sender<u64>) {
    match event {
        Event::Connected => {
            gauge!(names::CONNECTED).increment(1.0);
            told.send_modify(|times| *times += 1);
            tracing::info!("connected to NATS");
        }
        Event::Disconnected => {
            gauge!(names::CONNECTED).decrement(1.0);
            tracing::warn!("disconnected from NATS");
        }
        Event::SlowConsumer(_) => {
            tracing::warn!("messages of NATS were dropped: the relay is too slow");
        }
        // Such as a subject that the server does not permit.
        Event::ServerError(error) => tracing::error!(%error, "NATS refused a request"),
        Event::ClientError(error) => tracing::warn!(%error, "NATS cannot be reached"),
        event => tracing::debug!(%event, "NATS"),
    }
}

/// The pause before an attempt: doubled each time, with jitter.
fn delay(attempts: usize) -> Duration {
    let doubled = DELAY_MIN * 2_u32.saturating_pow(u32::try_from(attempts).unwrap_or(u32::MAX));
    let delay = doubled.min(DELAY_MAX);
    let random = RandomState::new().hash_one(attempts);
    delay / 2 + delay.mul_f64(f64::from(u32::try_from(random >> 32).unwrap_or(0)) / 2_f64.powi(33))
}

/// The settings of a [`Broker`] cannot work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// There is no server.
    #[error("NATS servers: there must be at least one")]
    NoServer,
    /// Others could read the feed on its way.
    #[error("NATS server {0}: without TLS, only this machine may be named")]
    Plain(ServerAddress),
    /// The file of credentials cannot be used.
    #[error(transparent)]
    Credentials(Box<dyn std::error::Error + Send + Sync>),
    /// A file of certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] HttpSourceError),
    /// The client cannot be started.
    #[error("the client of NATS cannot be started")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
}

const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// A connection of which two pings are not answered is closed.
const PING_EVERY: Duration = Duration::from_secs(3);
/// How many messages may wait for the task of a subscription.
const MESSAGES: usize = 1_024;
const DELAY_MIN: Duration = Duration::from_millis(50);
const DELAY_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_doubled_up_to_a_maximum_with_jitter() {
        for (attempts, least, most) in [(0, 25, 50), (1, 50, 100), (4, 400, 800)] {
            let (least, most) = (Duration::from_millis(least), Duration::from_millis(most));
            let delay = delay(attempts);
            assert!((least..=most).contains(&delay), "{attempts}: {delay:?}");
        }
        for attempts in [20, 1_000, usize::MAX] {
            let delay = delay(attempts);
            assert!((DELAY_MAX / 2..=DELAY_MAX).contains(&delay), "{delay:?}");
        }
    }

    #[tokio::test]
    async fn settings_that_cannot_work_are_refused() {
        let no_server = Broker::builder().connect().await;
        assert!(matches!(no_server, Err(BrokerError::NoServer)));
        let plain = Broker::builder().server("nats://nats.example".parse().unwrap());
        assert!(matches!(plain.connect().await, Err(BrokerError::Plain(_))));
        let no_file = Broker::builder()
            .server("nats://127.0.0.1:1".parse().unwrap())
            .credentials_file("/nonexistent");
        let refused = no_file.connect().await;
        assert!(matches!(refused, Err(BrokerError::Credentials(_))));
    }
}
