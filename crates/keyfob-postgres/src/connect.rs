//! Connections and their settings.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::{
    Connect, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts,
};
use tokio::{
    task::{AbortHandle, JoinHandle, JoinSet},
    time::timeout,
};
use tokio_postgres::{AsyncMessage, Client, Config, Error, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    ConnectError, DatabaseError, Location, Options, settings::Settings, sql, tls, url::Url,
};

/// Connects to one database, on whichever of its servers is the primary. Each connection has the
/// settings that the store relies on, unless a pooler gives each transaction another one.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Inner>);

struct Inner {
    location: Location,
    /// One for each server.
    servers: Vec<Config>,
    /// The server that was last connected to.
    last: AtomicUsize,
    tls: MakeRustlsConnect,
    settings: Settings,
    per_transaction: bool,
    /// For one server to answer.
    timeout: Duration,
    /// The servers themselves, if the others are poolers.
    listen: Option<Connector>,
}

/// What hears the asynchronous messages of the server.
type Hear = Arc<dyn Fn(AsyncMessage) + Send + Sync>;

impl Connector {
    pub(crate) fn new(url: &str, options: &Options) -> Result<Self, ConnectError> {
        if !options.schema_is_valid() {
            return Err(ConnectError::Schema);
        }
        let url = Url::parse(url)?;
        let of = |servers: Vec<Config>, per_transaction, listen| {
            let servers: Vec<Config> = servers
                .into_iter()
                .map(|config| with_limits(config, options))
                .collect();
            let mode = url.config.get_ssl_mode();
            Ok(Self(Arc::new(Inner {
                location: url.location(),
                servers,
                last: AtomicUsize::new(0),
                tls: tls::connector(mode, options)?,
                settings: Settings::new(options),
                per_transaction,
                timeout: options.connect_timeout,
                listen,
            })))
        };
        let listen = match url.listen() {
            Some(servers) => Some(of(servers, false, None)?),
            None => None,
        };
        let per_transaction = url.transaction_pooling || options.transaction_pooling;
        of(url.servers(), per_transaction, listen)
    }

    /// A connection pool, without a connection yet.
    pub(crate) fn pool(&self, options: &Options) -> Result<Pool, ConnectError> {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let first = self.0.servers.first().cloned().unwrap_or_default();
        let manager = Manager::from_connect(first, self.clone(), recycling);
        Pool::builder(manager)
            .max_size(options.pool_size)
            .timeouts(Timeouts {
                wait: Some(options.connect_timeout),
                create: Some(self.0.patience()),
                recycle: Some(options.connect_timeout),
            })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| ConnectError::Unreachable(DatabaseError::other(error)))
    }

    /// The settings of each transaction, if the connections do not have them.
    pub(crate) fn per_transaction(&self) -> Option<Settings> {
        self.0.per_transaction.then(|| self.0.settings.clone())
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// What can connect to a server that sends notices. Through a pooler that gives each transaction
    /// another connection, none comes.
    pub(crate) fn listener(&self) -> Option<&Self> {
        match &self.0.listen {
            Some(listen) => Some(listen),
            None => (!self.0.per_transaction).then_some(self),
        }
    }

    /// A connection outside the pool, with a task that drives it and passes asynchronous messages
    /// of the server to `hear`.
    pub(crate) async fn connect(
        &self,
        hear: impl Fn(AsyncMessage) + Send + Sync + 'static,
    ) -> Result<Alone, DatabaseError> {
        match timeout(self.0.patience(), self.0.connect(Arc::new(hear))).await {
            Ok(connected) => {
                let (client, task) = connected.map_err(DatabaseError::of_settings)?;
                Ok(Alone { client, task })
            }
            Err(_) => Err(DatabaseError::late()),
        }
    }

    /// Whether a pooler in transaction mode is in front of one of the servers. One that cannot be
    /// reached is not asked.
    pub(crate) async fn is_pooled(&self) -> bool {
        let mut asking = JoinSet::new();
        for at in 0..self.0.servers.len() {
            let connector = self.clone();
            asking.spawn(async move { connector.0.is_pooled(at).await });
        }
        let mut pooled = false;
        while let Some(answer) = asking.join_next().await {
            pooled |= matches!(answer, Ok(Some(true)));
        }
        pooled
    }
}

impl Inner {
    /// How long connecting may take: each server may hang.
    fn patience(&self) -> Duration {
        let servers = u32::try_from(self.servers.len()).unwrap_or(u32::MAX);
        self.timeout.saturating_mul(servers)
    }

    /// Connects to the first server that is a primary, beginning with the last one that was. A
    /// server that hangs, as one that was stopped does, is given up for the next one.
    async fn connect(&self, hear: Hear) -> Result<(Client, JoinHandle<()>), Error> {
        let count = self.servers.len();
        let first = self.last.load(Ordering::Relaxed);
        let mut order = (0..count).map(|n| (first + n) % count.max(1)).peekable();
        loop {
            let at = order.next().unwrap_or_default();
            let attempt = Attempt { of: self, at };
            let connecting = self.connect_to(at, &hear);
            let connected = if order.peek().is_none() {
                // The caller ends this attempt.
                connecting.await
            } else {
                match timeout(self.timeout, connecting).await {
                    Ok(connected) => connected,
                    Err(_) => continue,
                }
            };
            attempt.has_ended();
            match connected {
                Err(error) if order.peek().is_some() => {
                    tracing::debug!(%error, "a server is not the primary; the next one is tried");
                }
                Err(error) => return Err(error),
                Ok(connected) => {
                    self.last.store(at, Ordering::Relaxed);
                    return Ok(connected);
                }
            }
        }
    }

    async fn connect_to(&self, at: usize, hear: &Hear) -> Result<(Client, JoinHandle<()>), Error> {
        let (client, task) = self.raw(at, hear).await?;
        let unused = AbortOnDrop(Some(task.abort_handle()));
        self.settings.apply(&client, self.per_transaction).await?;
        unused.disarm();
        Ok((client, task))
    }

    /// A connection without settings.
    async fn raw(&self, at: usize, hear: &Hear) -> Result<(Client, JoinHandle<()>), Error> {
        let fallback = Config::new();
        let config = self.servers.get(at).unwrap_or(&fallback);
        let (client, connection) = config.connect(self.tls.clone()).await?;
        let hear = Arc::clone(hear);
        Ok((client, tokio::spawn(drive(connection, hear))))
    }

    /// Whether this server's connections are not each a server process of their own; none if it
    /// does not say.
    ///
    /// Two connections ask for their process in turn, in an order in which no pooler can give each
    /// of them always the same one, whether it prefers the one that was used last or the one that
    /// was not used for longest. Nothing is set meanwhile, since it would be set for others.
    async fn is_pooled(&self, at: usize) -> Option<bool> {
        let nothing: Hear = Arc::new(|_| ());
        let asking = async {
            let (one, two) = tokio::join!(self.raw(at, &nothing), self.raw(at, &nothing));
            let ((one, task), (two, other)) = (one.ok()?, two.ok()?);
            let _unused = [task, other].map(|task| AbortOnDrop(Some(task.abort_handle())));
            let (first, second) = (process(&one).await?, process(&two).await?);
            let mut pooled = first == second;
            for _ in 0..4 {
                pooled |= process(&two).await? != second;
                pooled |= process(&one).await? != first;
                pooled |= process(&one).await? != first;
                pooled |= process(&two).await? != second;
                if pooled {
                    break;
                }
            }
            Some(pooled)
        };
        timeout(self.timeout, asking).await.ok().flatten()
    }
}

/// An attempt to connect to a server. If it is given up, here or by a caller that does not wait so
/// long, the next attempt begins with the next server.
struct Attempt<'a> {
    of: &'a Inner,
    at: usize,
}

impl Attempt<'_> {
    fn has_ended(self) {
        std::mem::forget(self);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let next = (self.at + 1) % self.of.servers.len().max(1);
        let last = &self.of.last;
        let _ = last.compare_exchange(self.at, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Connect for Connector {
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        Box::pin(self.0.connect(Arc::new(|_| ())))
    }
}

/// The configuration holds a password.
impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("location", &format_args!("{}", self.0.location))
            .field("per_transaction", &self.0.per_transaction)
            .field("listen", &self.0.listen)
            .finish_non_exhaustive()
    }
}

/// A connection outside the pool. It is closed when this is dropped.
pub(crate) struct Alone {
    pub(crate) client: Client,
    task: JoinHandle<()>,
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends the task of a connection that is not used in the end.
struct AbortOnDrop(Option<AbortHandle>);

impl AbortOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

fn with_limits(mut config: Config, options: &Options) -> Config {
    config.connect_timeout(options.connect_timeout);
    if config.get_application_name().is_none() {
        config.application_name("keyfob");
    }
    // A server that vanished is noticed within a minute.
    config
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(30))
        .keepalives_interval(Duration::from_secs(10))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_secs(30));
    config
}

/// The server process behind a connection at this moment.
async fn process(client: &Client) -> Option<String> {
    let row = client.query_typed_one(sql::PROCESS, &[]).await.ok()?;
    row.try_get(0).ok()
}

async fn drive<T>(mut connection: tokio_postgres::Connection<Socket, T>, hear: Hear)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        match std::future::poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(message)) => hear(message),
            Some(Err(error)) => {
                tracing::debug!(%error, "a connection to the database ended");
                return;
            }
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_holds_no_password() {
        let options = Options::default();
        let connector = Connector::new("postgres://u:hunter2@h:1/d", &options).unwrap();
        let printed = format!("{connector:?} {:?}", connector.pool(&options).unwrap());
        assert!(printed.contains("Connector"), "{printed}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
