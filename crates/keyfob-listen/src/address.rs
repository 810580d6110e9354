//! Addresses to listen on.

use std::{
    fmt, fs, io,
    net::{self, SocketAddr},
    os::unix::{
        self,
        fs::{FileTypeExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use rustix::net::listen;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    time::sleep,
};

/// An address to listen on.
///
/// The text form is a host and a port, as in `127.0.0.1:8080`, `localhost:8080` or `[::]:8080`, or
/// `unix:` and the path of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// A host, which is resolved by [`Address::bind`], and a port. Port 0 takes any free port.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Binds the address.
    ///
    /// A socket that another process left at the path is replaced; its owner and group can connect
    /// to the new one.
    ///
    /// # Errors
    ///
    /// [`BindError`] names the address.
    pub async fn bind(&self) -> Result<Listener, BindError> {
        let bound = match self {
            Self::Tcp(address) => bind_tcp(address).await,
            Self::Unix(path) => bind_unix(path).await,
        };
        bound.map_err(|source| BindError {
            address: self.clone(),
            source,
        })
    }

    /// Whether only processes of this machine can connect.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(address) => match address.parse::<SocketAddr>() {
                Ok(address) => address.ip().is_loopback(),
                Err(_) => address.starts_with("localhost:"),
            },
        }
    }
}

async fn bind_tcp(address: &str) -> io::Result<Listener> {
    let listener = TcpListener::bind(address).await?;
    listen(&listener, BACKLOG)?;
    Ok(Listener::Tcp(listener))
}

async fn bind_unix(path: &Path) -> io::Result<Listener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket {
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    listen(&listener, BACKLOG)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(Listener::Unix(listener, Socket(path.to_owned())))
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(AddressError),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or(AddressError)?;
        let plain = !host.is_empty() && !host.contains([':', '/', '@']);
        let bracketed = host.starts_with('[') && text.parse::<SocketAddr>().is_ok();
        if (plain || bracketed) && port.parse::<u16>().is_ok() {
            Ok(Self::Tcp(text.to_owned()))
        } else {
            Err(AddressError)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.pad(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A text is not an address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a host and a port, as in 127.0.0.1:8080, localhost:8080 or [::]:8080, or unix:PATH"
)]
pub struct AddressError;

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    address: Address,
    source: io::Error,
}

/// A bound address.
#[derive(Debug)]
#[non_exhaustive]
pub enum Listener {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A Unix socket, which is removed with the listener.
    Unix(UnixListener, Socket),
}

/// The file of a bound Unix socket.
#[derive(Debug)]
pub struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // Another process may have removed or replaced it.
        let _ = fs::remove_file(&self.0);
    }
}

impl Listener {
    /// The address as others reach it: with the port that was taken for port 0.
    pub fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => Ok(Address::Tcp(listener.local_addr()?.to_string())),
            Self::Unix(_, Socket(path)) => Ok(Address::Unix(path.clone())),
        }
    }

    /// The IP address and port; none for a Unix socket.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    /// The next connection. After an error that concerns the listener, such as too many open files,
    /// it waits a second and tries again.
    pub(crate) async fn accept(&self) -> (Accepted, Option<SocketAddr>) {
        loop {
            let accepted = match self {
                Self::Tcp(listener) => {
                    let accepted = listener.accept().await;
                    accepted.and_then(|(stream, peer)| {
                        // What is written is sent at once; without it, it only arrives later.
                        let _ = stream.set_nodelay(true);
                        Ok((Accepted::Tcp(stream.into_std()?), Some(peer)))
                    })
                }
                Self::Unix(listener, _) => {
                    let accepted = listener.accept().await;
                    accepted.and_then(|(stream, _)| Ok((Accepted::Unix(stream.into_std()?), None)))
                }
            };
            match accepted {
                Ok(accepted) => return accepted,
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Whether the connection failed before it was accepted, and not the listener.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

const PAUSE: Duration = Duration::from_secs(1);

/// How many connections may wait to be accepted: as many as Linux allows by default (`net.core.somaxconn`). Tokio
/// lets 128 wait, and a client that finds no place tries again only after a second.
const BACKLOG: i32 = 4_096;

/// An accepted connection, which no runtime serves yet.
pub(crate) enum Accepted {
    Tcp(net::TcpStream),
    Unix(unix::net::UnixStream),
}

impl Accepted {
    /// The connection, served by the runtime that calls this.
    pub(crate) fn here(self) -> io::Result<Connection> {
        Ok(match self {
            Self::Tcp(stream) => Connection::Tcp(TcpStream::from_std(stream)?),
            Self::Unix(stream) => Connection::Unix(UnixStream::from_std(stream)?),
        })
    }
}

/// A connection of a runtime.
pub(crate) enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn an_address_has_one_text_form() {
        for text in [
            "127.0.0.1:8080",
            "localhost:0",
            "[::]:8080",
            "unix:/run/keyfob.sock",
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        for text in [
            "",
            "8080",
            ":8080",
            "host",
            "http://host:80",
            "::1:80",
            "host:99999",
            "unix:",
        ] {
            assert_eq!(text.parse::<Address>(), Err(AddressError), "{text}");
        }
    }

    #[tokio::test]
    async fn a_socket_that_was_left_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyfob.sock");
        let address = Address::Unix(path.clone());
        let listener = address.bind().await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let in_use = address.bind().await.unwrap_err();
        assert_eq!(in_use.source.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists());

        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        address.bind().await.unwrap();

        fs::write(&path, "a file").unwrap();
        address.bind().await.unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"a file");
    }

    #[tokio::test]
    async fn many_connections_can_wait_to_be_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyfob.sock");
        let tcp: Address = "127.0.0.1:0".parse().unwrap();
        let tcp = tcp.bind().await.unwrap();
        let unix = Address::Unix(path.clone()).bind().await.unwrap();
        let address = tcp.socket_address().unwrap();
        let mut waiting = (Vec::new(), Vec::new());
        for number in 0..300 {
            let connected = timeout(PAUSE / 2, TcpStream::connect(address)).await;
            waiting
                .0
                .push(connected.unwrap_or_else(|_| panic!("{number}")).unwrap());
            waiting.1.push(UnixStream::connect(&path).await.unwrap());
        }
        drop(unix);
    }
}
