//! Why a feed cannot be read now.

use std::{error::Error, io};

use http::StatusCode;
use keyfob::{gateway::IndexError, key::RandomError};
use keyfob_feed::{Refused, SnapshotError};
use tokio_util::codec::LinesCodecError;

use super::upstream::Upstream;

/// A source of which the settings cannot work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpSourceError {
    /// There is no upstream.
    #[error("upstreams: there must be at least one")]
    NoUpstream,
    /// There is no key.
    #[error("key: there must be one, or a file of one")]
    NoKey,
    /// The key has characters that no key has.
    #[error("key: must be a keyfob key, of printable characters without spaces")]
    Key,
    /// The name is too long for a report, or has other than printable ASCII characters.
    #[error("name: must be at most 128 printable ASCII characters")]
    Name,
    /// Others could read the key on its way.
    #[error("upstream {0}: plain HTTP goes to the machine itself only, unless it is allowed")]
    PlainHttp(Upstream),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
    /// The root certificates cannot be read.
    #[error("the root certificates cannot be read")]
    RootCertificates(#[source] Box<dyn Error + Send + Sync>),
    /// The client certificate or its private key cannot be read.
    #[error("the client certificate cannot be read")]
    ClientCertificate(#[source] Box<dyn Error + Send + Sync>),
    /// The folder for a warm restart cannot be used.
    #[error("the folder for a warm restart cannot be used")]
    Folder(#[source] io::Error),
}

/// A feed cannot be read now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// The upstream cannot be reached.
    #[error("the upstream cannot be reached")]
    Connect(#[source] io::Error),
    /// The upstream is a folder, which answers nothing and takes no reports.
    #[error("the upstream is a folder: it answers nothing, and takes no reports")]
    NoServer,
    /// The upstream needs TLS, which is not set up.
    #[error("the upstream needs TLS")]
    NoTls,
    /// The file of the key cannot be read.
    #[error("the file of the key cannot be read")]
    KeyFile(#[source] io::Error),
    /// The file of the key has no key.
    #[error("the file of the key has no key")]
    KeyText,
    /// The connection failed.
    #[error("the connection failed")]
    Http(#[from] hyper::Error),
    /// The upstream refused the request: 401 or 403 for the key, 503 while it is not up to date
    /// itself.
    #[error("the upstream answered {0}")]
    Status(StatusCode),
    /// The upstream does not know the position any more, or has another history: a snapshot is loaded.
    #[error("the upstream does not have this position")]
    Gone,
    /// The answer is too long, or broke off.
    #[error("the answer is too long or incomplete")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    /// A line is too long, or the stream broke off.
    #[error("the stream failed")]
    Lines(#[source] LinesCodecError),
    /// The upstream closed the stream.
    #[error("the upstream closed the stream")]
    Closed,
    /// Something took too long.
    #[error("{0} took too long")]
    TimedOut(&'static str),
    /// The upstream sends nothing.
    #[error("the upstream sends nothing")]
    Silent,
    /// The upstream is not up to date.
    #[error("the upstream is behind the authority")]
    Behind,
    /// A line or a manifest was refused.
    #[error("refused: {0}")]
    Refused(#[from] Refused),
    /// The snapshot has keys of another prefix.
    #[error("the feed has keys of another prefix")]
    OtherFormat,
    /// The snapshot is longer than is allowed.
    #[error("the snapshot is longer than is allowed: {0} bytes")]
    TooLarge(u64),
    /// The snapshot was refused.
    #[error("the snapshot was refused")]
    Snapshot(#[from] SnapshotError),
    /// What was kept in a folder cannot be read.
    #[error("what was kept cannot be read")]
    Object(#[source] io::Error),
    /// The system has no random numbers.
    #[error("the random source failed")]
    Random(#[source] RandomError),
    /// What was sent cannot be applied.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl FeedError {
    /// Whether an upstream will go on refusing.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            // The others may pass: a proxy answers 404 while a server is deployed, 429 while it is busy.
            Self::Status(status) => matches!(
                *status,
                StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
            ),
            Self::Refused(refused) => *refused == Refused::OtherFilter,
            Self::OtherFormat => true,
            _ => false,
        }
    }

    /// Whether no upstream can be read, because of the settings of this process.
    pub(super) fn is_of_settings(&self) -> bool {
        matches!(self, Self::KeyFile(_) | Self::KeyText | Self::NoTls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_that_lasts_is_a_refusal() {
        let is_refusal = |status: &u16| {
            let status = StatusCode::from_u16(*status).unwrap();
            FeedError::Status(status).is_refusal()
        };
        let lasting: Vec<_> = (400..600).filter(is_refusal).collect();
        assert_eq!(lasting, [400, 401, 403]);
    }
}
