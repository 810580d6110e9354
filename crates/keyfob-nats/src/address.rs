//! Addresses of NATS servers.

use std::{fmt, net::IpAddr, str::FromStr};

use async_nats::ServerAddr;

/// A server of NATS: `tls://HOST[:PORT]` or `nats://HOST[:PORT]`. The default port is 4222.
///
/// # Examples
///
/// ```
/// use keyfob_nats::ServerAddress;
///
/// let server: ServerAddress = "tls://nats-1.example".parse()?;
/// assert_eq!(server.to_string(), "tls://nats-1.example:4222");
/// # Ok::<(), keyfob_nats::ServerAddressError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ServerAddress {
    tls: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
}

impl ServerAddress {
    /// Whether the connection is encrypted, or does not leave the machine.
    pub(crate) fn is_private(&self) -> bool {
        let host = self.host.as_str();
        let is_local =
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.tls || is_local
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls
    }
}

impl FromStr for ServerAddress {
    type Err = ServerAddressError;

    fn from_str(text: &str) -> Result<Self, ServerAddressError> {
        if !text.contains("://") {
            return Err(ServerAddressError("must begin with tls:// or nats://"));
        }
        let server: ServerAddr = text
            .parse()
            .map_err(|_| ServerAddressError("must be tls://HOST[:PORT] or nats://HOST[:PORT]"))?;
        let url = server.into_inner();
        let tls = match url.scheme() {
            "tls" => true,
            "nats" => false,
            _ => return Err(ServerAddressError("must begin with tls:// or nats://")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ServerAddressError(
                "must have no user and no password: use a file of credentials",
            ));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(ServerAddressError("must have no path and no query"));
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or(ServerAddressError("must name a host"))?;
        let without_brackets = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        Ok(Self {
            tls,
            host: without_brackets.unwrap_or(host).to_owned(),
            port: url.port().unwrap_or(4222),
        })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "tls" } else { "nats" };
        let (host, port) = (&self.host, self.port);
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text is not the address of a NATS server. It says why, and does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("NATS server: {0}")]
pub struct ServerAddressError(&'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_printed() {
        for (text, printed, private) in [
            ("tls://nats.example", "tls://nats.example:4222", true),
            ("tls://10.0.0.1:4443/", "tls://10.0.0.1:4443", true),
            ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222", true),
            ("nats://[::1]:4222", "nats://[::1]:4222", true),
            ("nats://localhost", "nats://localhost:4222", true),
            ("nats://10.0.0.1", "nats://10.0.0.1:4222", false),
            ("nats://nats.example", "nats://nats.example:4222", false),
        ] {
            let address: ServerAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), printed);
            assert_eq!(address.is_private(), private, "{text}");
            assert_eq!(printed.parse(), Ok(address));
        }
    }

    #[test]
    fn an_address_that_is_refused_is_not_repeated() {
        for text in [
            "nats.example:4222",
            "https://nats.example",
            "ws://nats.example",
            "tls://user:password@nats.example",
            "tls://token@nats.example",
            "tls://nats.example/password",
            "tls://nats.example?password",
            "tls://nats.example:password",
            "tls://",
            "",
        ] {
            let error = text.parse::<ServerAddress>().unwrap_err().to_string();
            assert!(!error.contains("password@"), "{error}");
            assert!(error.starts_with("NATS server: "), "{error}");
        }
    }
}
