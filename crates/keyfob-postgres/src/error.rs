//! Errors beyond those of the store contract.

use std::{error::Error, fmt, io};

use deadpool_postgres::{PoolError, TimeoutType};
use keyfob::store::StoreError;
use tokio_postgres::error::{Severity, SqlState};

/// A store could not be connected to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The text is not the URL of a database. The error does not quote it: it may hold a password.
    #[error(
        "not the URL of a PostgreSQL database, as in postgres://user@host/database; write @ in a password as %40"
    )]
    Url,
    /// A parameter of the URL that this library reads itself has no valid value.
    #[error("the parameter {0} of the database's URL must be {1}")]
    Parameter(&'static str, &'static str),
    /// The name of the schema is not allowed.
    #[error("schema: not 1 to 63 characters of a-z, 0-9 and _, beginning with a letter")]
    Schema,
    /// The certificates of the trusted authorities could not be read.
    #[error("the certificates of the trusted authorities could not be read")]
    Certificates(#[source] Box<dyn Error + Send + Sync>),
    /// The server could not be reached, refused the connection, or has the wrong certificate.
    #[error("the database could not be connected to")]
    Unreachable(#[source] DatabaseError),
    /// The server is a standby, which takes no writes and may lack the last changes.
    #[error(
        "the server is a standby, which takes no writes and may lack the last changes; name every server of the cluster in the URL, as in postgres://user@a,b/database"
    )]
    Standby,
    /// A pooler in transaction mode is in front of the server, and the options do not say so.
    #[error(
        "a pooler in transaction mode is in front of the database; add pool_mode=transaction to its URL, or use a pool in session mode"
    )]
    TransactionPooling,
    /// The database has an encoding that cannot hold every name.
    #[error("the database's encoding is {0}; it must be UTF8")]
    Encoding(String),
    /// A later version of this library created the schema.
    #[error("the store has schema {found}; this program knows schemas up to {known}")]
    Newer {
        /// The database's schema.
        found: i32,
        /// The latest schema that this version knows.
        known: i32,
    },
    /// The schema could not be migrated, or has another history.
    #[error("the store's schema could not be migrated")]
    Migration(#[source] Box<dyn Error + Send + Sync>),
}

impl ConnectError {
    /// An error of connecting.
    pub(crate) fn of(error: DatabaseError) -> Self {
        if error.is_standby() {
            return Self::Standby;
        }
        Self::Unreachable(error)
    }
}

/// An error of the database or of the connection to it.
///
/// It has the server's message, without the rows that the server quotes in its details.
#[derive(Debug)]
pub struct DatabaseError(Fault);

#[derive(Debug)]
enum Fault {
    /// The server answered with an error.
    Refused {
        code: SqlState,
        fatal: bool,
        message: String,
        constraint: Option<String>,
    },
    /// The connection failed, or a message could not be decoded.
    Failed {
        error: tokio_postgres::Error,
        lost: bool,
    },
    /// The server did not answer in time.
    Late,
    /// No connection became free in time.
    Busy,
    /// The server is a standby.
    Standby,
    /// A row does not hold what it should.
    Unfit {
        column: String,
        why: Box<dyn Error + Send + Sync>,
    },
    Other(Box<dyn Error + Send + Sync>),
}

impl DatabaseError {
    pub(crate) const fn late() -> Self {
        Self(Fault::Late)
    }

    pub(crate) const fn busy() -> Self {
        Self(Fault::Busy)
    }

    pub(crate) fn unfit(column: &str, why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Fault::Unfit {
            column: column.to_owned(),
            why: why.into(),
        })
    }

    pub(crate) fn other(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Fault::Other(why.into()))
    }

    /// An error of a new connection, or of one of the pool.
    pub(crate) fn of_pool(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::of_settings(error),
            PoolError::Timeout(TimeoutType::Create) => Self::late(),
            PoolError::Timeout(_) => Self::busy(),
            other => Self::other(other),
        }
    }

    /// An error of connecting, or of the settings that begin a connection or a transaction: they
    /// divide by zero on a standby.
    pub(crate) fn of_settings(error: tokio_postgres::Error) -> Self {
        if error.code() == Some(&SqlState::DIVISION_BY_ZERO) {
            return Self(Fault::Standby);
        }
        error.into()
    }

    /// Whether the server is a standby.
    pub(crate) fn is_standby(&self) -> bool {
        matches!(self.0, Fault::Standby)
    }

    /// The `SQLSTATE` code, if the server answered with an error.
    pub fn code(&self) -> Option<&str> {
        match &self.0 {
            Fault::Refused { code, .. } => Some(code.code()),
            _ => None,
        }
    }

    /// Whether the connection was lost, and the transaction with it.
    pub(crate) fn is_lost(&self) -> bool {
        match &self.0 {
            Fault::Refused { fatal, .. } => *fatal,
            Fault::Failed { lost, .. } => *lost,
            Fault::Late => true,
            Fault::Busy | Fault::Standby | Fault::Unfit { .. } | Fault::Other(_) => false,
        }
    }

    /// Whether the same call may succeed a moment later.
    pub(crate) fn is_passing(&self) -> bool {
        match &self.0 {
            Fault::Refused { code, fatal, .. } => {
                let passing = [
                    SqlState::T_R_SERIALIZATION_FAILURE,
                    SqlState::T_R_DEADLOCK_DETECTED,
                    SqlState::ADMIN_SHUTDOWN,
                    SqlState::CRASH_SHUTDOWN,
                    SqlState::CANNOT_CONNECT_NOW,
                ];
                passing.contains(code) || (*fatal && code.code().starts_with("08"))
            }
            Fault::Failed { lost, .. } => *lost,
            Fault::Late | Fault::Busy | Fault::Standby | Fault::Unfit { .. } | Fault::Other(_) => {
                false
            }
        }
    }
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self(match error.as_db_error() {
            Some(said) => Fault::Refused {
                code: said.code().clone(),
                fatal: matches!(
                    said.parsed_severity(),
                    Some(Severity::Fatal | Severity::Panic)
                ),
                message: said.message().to_owned(),
                constraint: said.constraint().map(ToOwned::to_owned),
            },
            None => Fault::Failed {
                lost: error.is_closed() || error.source().is_some_and(<dyn Error>::is::<io::Error>),
                error,
            },
        })
    }
}

impl From<DatabaseError> for StoreError {
    /// Of a call that only reads.
    fn from(error: DatabaseError) -> Self {
        Self::definite(error)
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Fault::Refused {
                code,
                message,
                constraint,
                ..
            } => {
                write!(f, "the database answered: {message} ({})", code.code())?;
                match constraint {
                    Some(constraint) => write!(f, ", constraint {constraint}"),
                    None => Ok(()),
                }
            }
            Fault::Failed { lost: true, .. } => {
                f.write_str("the connection to the database failed")
            }
            Fault::Failed { lost: false, .. } => {
                f.write_str("a message to or from the database could not be encoded or decoded")
            }
            Fault::Late => f.write_str("the database did not answer in time"),
            Fault::Busy => f.write_str("no connection to the database became free in time"),
            Fault::Standby => f.write_str(
                "the server is a standby, which takes no writes and may lack the last changes",
            ),
            Fault::Unfit { column, .. } => {
                write!(f, "column {column} does not hold what it should")
            }
            Fault::Other(_) => f.write_str("the database could not be used"),
        }
    }
}

impl Error for DatabaseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Fault::Failed { error, .. } => Some(error),
            Fault::Unfit { why, .. } | Fault::Other(why) => Some(&**why),
            Fault::Refused { .. } | Fault::Late | Fault::Busy | Fault::Standby => None,
        }
    }
}
