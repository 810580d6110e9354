//! Addresses at which a feed is served.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

/// Where a feed is served: `https://HOST[:PORT]`, `http://HOST[:PORT]` or `unix:PATH`; or `file:PATH`, a folder
/// that another process keeps for its warm restart
/// ([`saved_in`](crate::HttpSourceBuilder::saved_in)), or a copy of one.
///
/// A process that can write to the folder can put a reader back to an earlier state of the feed, which decides no
/// longer than the bound on staleness from its own time; a server cannot.
///
/// # Examples
///
/// ```
/// use keyfob_replica::Upstream;
///
/// let upstream: Upstream = "https://keys.example:8443".parse()?;
/// assert_eq!(upstream.to_string(), "https://keys.example:8443");
/// # Ok::<(), keyfob_replica::UpstreamError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Upstream(pub(super) Address);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Address {
    Tcp {
        tls: bool,
        /// Without the brackets of an IPv6 address.
        host: String,
        port: u16,
    },
    Unix(PathBuf),
    /// A folder.
    Folder(PathBuf),
}

impl Upstream {
    /// Whether the connection is encrypted, or does not leave the machine.
    pub(super) fn is_private(&self) -> bool {
        match &self.0 {
            Address::Tcp { tls: true, .. } | Address::Unix(_) | Address::Folder(_) => true,
            Address::Tcp { host, .. } => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }

    /// Whether it is a folder: then no key is needed, and no usage is taken.
    pub fn is_folder(&self) -> bool {
        matches!(self.0, Address::Folder(_))
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.0, Address::Tcp { tls: true, .. })
    }

    /// The value of the header `Host`.
    pub(super) fn host(&self) -> String {
        match &self.0 {
            Address::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port, .. } => format!("{host}:{port}"),
            Address::Unix(_) | Address::Folder(_) => "localhost".to_owned(),
        }
    }
}

impl FromStr for Upstream {
    type Err = UpstreamError;

    fn from_str(text: &str) -> Result<Self, UpstreamError> {
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                return Err(UpstreamError("the path of a Unix socket must be absolute"));
            }
            return Ok(Self(Address::Unix(path.into())));
        }
        if let Some(path) = text.strip_prefix("file:") {
            if !path.starts_with('/') {
                return Err(UpstreamError("the path of a folder must be absolute"));
            }
            return Ok(Self(Address::Folder(path.into())));
        }
        let uri: http::Uri = text
            .parse()
            .map_err(|_| UpstreamError("must be https://HOST[:PORT]"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => {
                return Err(UpstreamError(
                    "must begin with https:, http:, unix: or file:",
                ));
            }
        };
        let authority = uri.authority().ok_or(UpstreamError("must name a host"))?;
        if authority.as_str().contains('@') {
            return Err(UpstreamError("must have no user and no password"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(UpstreamError("must have no path and no query"));
        }
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        Ok(Self(Address::Tcp {
            tls,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
        }))
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Address::Tcp { tls, .. } => {
                let scheme = if *tls { "https" } else { "http" };
                write!(f, "{scheme}://{}", self.host())
            }
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Folder(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not the address of an upstream. It says why, and does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("upstream: {0}")]
pub struct UpstreamError(&'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_printed() {
        for (text, printed, private) in [
            ("https://keys.example", "https://keys.example:443", true),
            (
                "https://keys.example:8443/",
                "https://keys.example:8443",
                true,
            ),
            ("http://127.0.0.1:8082", "http://127.0.0.1:8082", true),
            ("http://[::1]:8082", "http://[::1]:8082", true),
            ("http://localhost", "http://localhost:80", true),
            ("http://10.0.0.1", "http://10.0.0.1:80", false),
            ("http://keys.example", "http://keys.example:80", false),
            ("unix:/run/keyfob.sock", "unix:/run/keyfob.sock", true),
            ("file:/srv/feed", "file:/srv/feed", true),
        ] {
            let upstream: Upstream = text.parse().unwrap();
            assert_eq!(upstream.to_string(), printed);
            assert_eq!(upstream.is_private(), private, "{text}");
            assert_eq!(printed.parse(), Ok(upstream));
        }
    }

    #[test]
    fn an_address_that_is_refused_is_not_repeated() {
        for text in [
            "keys.example:8443",
            "ftp://keys.example",
            "https://user:password@keys.example",
            "https://keys.example/feed",
            "https://keys.example?password",
            "unix:relative",
            "file:relative",
            "https://",
            "",
        ] {
            let error = text.parse::<Upstream>().unwrap_err().to_string();
            assert!(!error.contains("password@"), "{error}");
            assert!(error.starts_with("upstream: "), "{error}");
        }
    }
}
