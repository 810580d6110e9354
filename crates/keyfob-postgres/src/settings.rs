//! The settings that the store relies on, of a connection or of a transaction.

use std::{sync::Arc, time::Duration};

use tokio_postgres::{
    Client, Error, Row,
    types::{ToSql, Type},
};

use crate::{Options, sql};

/// The schema, and the timeouts of a statement, a lock and an idle transaction.
#[derive(Clone, Debug)]
pub(crate) struct Settings(Arc<[String; 4]>);

impl Settings {
    pub(crate) fn new(options: &Options) -> Self {
        Self(Arc::new([
            options.schema.clone(),
            milliseconds(options.statement_timeout),
            milliseconds(options.lock_timeout),
            milliseconds(options.statement_timeout.min(IDLE_MAX)),
        ]))
    }

    /// Applies them to the connection, or to the transaction that it is in.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or is a standby:
    /// [`of_settings`](crate::DatabaseError::of_settings).
    pub(crate) async fn apply(
        &self,
        client: &Client,
        to_transaction: bool,
    ) -> Result<Vec<Row>, Error> {
        let [schema, statement, lock, idle] = self.0.each_ref().map(text);
        let to = (&to_transaction as &(dyn ToSql + Sync), Type::BOOL);
        // Not prepared: it runs once per connection, or behind a pooler.
        client
            .query_typed(sql::SETTINGS, &[schema, statement, lock, idle, to])
            .await
    }
}

fn text(setting: &String) -> (&(dyn ToSql + Sync), Type) {
    (setting, Type::TEXT)
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
    fn a_stopped_commit_is_ended_before_others_give_up() {
        let options = Options::default();
        assert_eq!(Settings::new(&options).0[3], "5000");
        assert!(IDLE_MAX < options.lock_timeout);
        let short = options.with_statement_timeout(Duration::from_secs(1));
        assert_eq!(Settings::new(&short).0[3], "1000");
    }

    #[test]
    fn no_setting_means_no_limit() {
        assert_eq!(milliseconds(Duration::ZERO), "1");
        assert_eq!(milliseconds(Duration::from_millis(1500)), "1500");
        assert_eq!(milliseconds(Duration::MAX), "2147483647");
    }
}
