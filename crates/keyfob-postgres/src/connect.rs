//! Connections and their settings.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use deadpool_postgres::{
    Connect, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts,
};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, Config, Error, Socket, types::Type};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{ConnectError, DatabaseError, Options, sql, tls, url::parse};

/// Connects to one database. Each connection has the settings that the store relies on.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Inner>);

struct Inner {
    config: Config,
    tls: MakeRustlsConnect,
    settings: [String; 4],
    timeout: Duration,
}

impl Connector {
    pub(crate) fn new(url: &str, options: &Options) -> Result<Self, ConnectError> {
        if !options.schema_is_valid() {
            return Err(ConnectError::Schema);
        }
        let mut config = parse(url)?;
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
        let settings = [
            options.schema.clone(),
            milliseconds(options.statement_timeout),
            milliseconds(options.lock_timeout),
            milliseconds(options.statement_timeout.min(IDLE_MAX)),
        ];
        let tls = tls::connector(config.get_ssl_mode(), options)?;
        Ok(Self(Arc::new(Inner {
            config,
            tls,
            settings,
            timeout: options.connect_timeout,
        })))
    }

    /// A connection pool, without a connection yet.
    pub(crate) fn pool(&self, options: &Options) -> Result<Pool, ConnectError> {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_connect(self.0.config.clone(), self.clone(), recycling);
        let timeout = Some(options.connect_timeout);
        Pool::builder(manager)
            .max_size(options.pool_size)
            .timeouts(Timeouts {
                wait: timeout,
                create: timeout,
                recycle: timeout,
            })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| ConnectError::Unreachable(DatabaseError::other(error)))
    }

    /// A connection outside the pool, with a task that drives it and passes asynchronous messages
    /// of the server to `hear`.
    pub(crate) async fn connect(
        &self,
        hear: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<Alone, DatabaseError> {
        let connecting = self.0.connect(hear);
        match tokio::time::timeout(self.0.timeout, connecting).await {
            Ok(connected) => {
                let (client, task) = connected?;
                Ok(Alone { client, task })
            }
            Err(_) => Err(DatabaseError::late()),
        }
    }
}

impl Inner {
    async fn connect(
        &self,
        hear: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<(Client, JoinHandle<()>), Error> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        let task = tokio::spawn(drive(connection, hear));
        let settings = self.settings.each_ref();
        let [schema, statement, lock, idle] = settings.map(|setting| (setting as _, Type::TEXT));
        // It runs once per connection, so it is not prepared.
        match client
            .query_typed(sql::SETTINGS, &[schema, statement, lock, idle])
            .await
        {
            Ok(_) => Ok((client, task)),
            Err(error) => {
                task.abort();
                Err(error)
            }
        }
    }
}

impl Connect for Connector {
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        Box::pin(self.0.connect(|_| ()))
    }
}

/// The configuration holds a password.
impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("hosts", &self.0.config.get_hosts())
            .field("ports", &self.0.config.get_ports())
            .field("database", &self.0.config.get_dbname())
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

async fn drive<T>(
    mut connection: tokio_postgres::Connection<Socket, T>,
    mut hear: impl FnMut(AsyncMessage),
) where
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

/// How long a transaction may wait for its next statement. A process that is stopped within a commit
/// holds the lock of the log, for which commits of all others wait, so this is shorter than
/// [`Options::with_lock_timeout`]'s default. Between two statements a commit does no other work.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// A time as the server's settings have it, at least one millisecond: zero would mean no limit.
fn milliseconds(time: Duration) -> String {
    time.as_millis().clamp(1, 2_147_483_647).to_string()
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

    #[test]
    fn a_stopped_commit_is_ended_before_others_give_up() {
        let settings = |options: &Options| {
            let connector = Connector::new("postgres://u@h/d", options).unwrap();
            connector.0.settings.clone()
        };
        let options = Options::default();
        assert_eq!(settings(&options)[3], "5000");
        assert!(IDLE_MAX < options.lock_timeout);
        let short = options.with_statement_timeout(Duration::from_secs(1));
        assert_eq!(settings(&short)[3], "1000");
    }

    #[test]
    fn no_setting_means_no_limit() {
        assert_eq!(milliseconds(Duration::ZERO), "1");
        assert_eq!(milliseconds(Duration::from_millis(1500)), "1500");
        assert_eq!(milliseconds(Duration::MAX), "2147483647");
    }
}
