//! Reading URLs, by the driver's own parser.

use std::fmt;

use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};

use crate::ConnectError;

/// The location of a database, without its password: what may be shown of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    user: Option<String>,
    /// Each with its port.
    hosts: Vec<(String, u16)>,
    database: Option<String>,
    has_password: bool,
    is_local: bool,
    requires_tls: bool,
}

impl Location {
    /// Reads a URL as [`PostgresStore::connect`](crate::PostgresStore::connect) does.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Url`], which does not repeat the text.
    pub fn parse(url: &str) -> Result<Self, ConnectError> {
        let config = parse(url)?;
        let addresses = config.get_hostaddrs();
        let names: Vec<(String, bool)> = if config.get_hosts().is_empty() {
            let addresses = addresses.iter();
            addresses
                .map(|address| (address.to_string(), address.is_loopback()))
                .collect()
        } else {
            let hosts = config.get_hosts().iter().enumerate();
            hosts
                .map(|(at, host)| match (host, addresses.get(at)) {
                    (Host::Tcp(name), Some(address)) => (name.clone(), address.is_loopback()),
                    (Host::Tcp(name), None) => (name.clone(), is_loopback(name)),
                    #[cfg(unix)]
                    (Host::Unix(path), _) => (path.display().to_string(), true),
                })
                .collect()
        };
        let ports = config.get_ports();
        let port = |at: usize| ports.get(at).or_else(|| ports.first()).copied();
        Ok(Self {
            user: config.get_user().map(ToOwned::to_owned),
            is_local: names.iter().all(|(_, local)| *local),
            hosts: names
                .into_iter()
                .enumerate()
                .map(|(at, (name, _))| (name, port(at).unwrap_or(DEFAULT_PORT)))
                .collect(),
            database: config.get_dbname().map(ToOwned::to_owned),
            has_password: config.get_password().is_some(),
            requires_tls: config.get_ssl_mode() == SslMode::Require,
        })
    }

    /// Whether the URL holds a password.
    pub fn has_password(&self) -> bool {
        self.has_password
    }

    /// Whether an attacker between here and the database could make the connection go on without
    /// TLS: the database is on another machine, and `sslmode` does not require it.
    pub fn may_lose_tls(&self) -> bool {
        !self.is_local && !self.requires_tls
    }
}

/// As a URL, without the password and the parameters.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        for (at, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let host = host.replace('/', "%2F");
            if host.contains(':') {
                write!(f, "{comma}[{host}]")?;
            } else {
                write!(f, "{comma}{host}")?;
            }
            if *port != DEFAULT_PORT {
                write!(f, ":{port}")?;
            }
        }
        match &self.database {
            Some(database) => write!(f, "/{database}"),
            None => Ok(()),
        }
    }
}

/// Reads a URL. What libpq calls `verify-ca` and `verify-full` is what `require` means here: the
/// server's certificate and name are always verified.
pub(crate) fn parse(url: &str) -> Result<Config, ConnectError> {
    if is_ambiguous(url) {
        return Err(ConnectError::Url);
    }
    let (place, parameters) = match url.rsplit_once('?') {
        Some((place, parameters)) => (place, Some(parameters)),
        None => (url, None),
    };
    let parsed = match parameters {
        Some(parameters) => {
            let parameters: Vec<&str> = parameters
                .split('&')
                .map(|parameter| match parameter {
                    "sslmode=verify-full" | "sslmode=verify-ca" => "sslmode=require",
                    other => other,
                })
                .collect();
            format!("{place}?{}", parameters.join("&")).parse()
        }
        None => place.parse(),
    };
    let config: Config = parsed.map_err(|_| ConnectError::Url)?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(ConnectError::Url);
    }
    Ok(config)
}

/// Whether a part of the password could be taken for another part. The driver takes everything up to
/// the first `@` as user and password.
fn is_ambiguous(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else {
        // Only URLs are read, not lists of `name=value`.
        return true;
    };
    match rest.split_once('@') {
        Some((credentials, rest)) => {
            let user = credentials.split(':').next().unwrap_or_default();
            user.contains(['/', '?', '#']) || rest.contains('@')
        }
        None => false,
    }
}

fn is_loopback(name: &str) -> bool {
    let address = name.parse::<std::net::IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

const DEFAULT_PORT: u16 = 5432;

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> SslMode {
        parse(url).unwrap().get_ssl_mode()
    }

    #[test]
    fn the_url_says_whether_tls_is_required() {
        assert_eq!(mode("postgres://u@h/d"), SslMode::Prefer);
        assert_eq!(mode("postgres://u@h/d?sslmode=disable"), SslMode::Disable);
        for strict in ["require", "verify-ca", "verify-full"] {
            let url = format!("postgres://u@h/d?connect_timeout=3&sslmode={strict}");
            assert_eq!(mode(&url), SslMode::Require, "{strict}");
        }
        for (url, may_lose_tls) in [
            ("postgres://u@db/d", true),
            ("postgres://u@db/d?sslmode=prefer", true),
            ("postgres://u@db/d?sslmode=disable", true),
            ("postgres://u@127.0.0.1,db/d", true),
            ("postgres://u@localhost/d?hostaddr=10.0.0.1", true),
            ("postgres://u@db/d?sslmode=verify-full", false),
            ("postgres://u@127.0.0.1,localhost/d", false),
            ("postgres://u@db/d?hostaddr=127.0.0.1", false),
            ("postgres://u@%2Frun%2Fpostgresql/d", false),
        ] {
            let location = Location::parse(url).unwrap();
            assert_eq!(location.may_lose_tls(), may_lose_tls, "{url}");
        }
    }

    #[test]
    fn no_error_repeats_what_may_be_a_password() {
        for bad in [
            "postgres://u:hunter2@h:port/d",
            "postgres://u:hunter2@/d",
            "postgres://u:p@h/d?hunter2=x",
            "postgres://u:p@hunter2@h/d",
            "postgres://u:p@hunter2/x@h/d",
            "postgres://h/d?password=p@hunter2",
            "postgres://h/d?sslpassword=hunter2",
            "host=h user=u password=hunter2",
            "mysql://u:hunter2@h/d",
            "",
        ] {
            let error = Location::parse(bad).unwrap_err();
            assert!(matches!(error, ConnectError::Url), "{bad}");
            let said = format!("{error} {error:?}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn a_password_is_noticed_and_not_shown() {
        for (url, shown, password) in [
            ("postgres://db/keys", "postgres://db/keys", None),
            ("postgresql://k@db:1/keys", "postgres://k@db:1/keys", None),
            (
                "postgres://k:pw@db/keys",
                "postgres://k@db/keys",
                Some("pw"),
            ),
            (
                "postgres://k:p:w@db/keys",
                "postgres://k@db/keys",
                Some("p:w"),
            ),
            (
                "postgres://k:a/b@db/keys",
                "postgres://k@db/keys",
                Some("a/b"),
            ),
            (
                "postgres://k:a?b@db/keys",
                "postgres://k@db/keys",
                Some("a?b"),
            ),
            (
                "postgres://k:a#b@db/keys",
                "postgres://k@db/keys",
                Some("a#b"),
            ),
            (
                "postgres://k:p%40w@db/keys",
                "postgres://k@db/keys",
                Some("p@w"),
            ),
            (
                "postgres://k@db:5433/keys?password=pw",
                "postgres://k@db:5433/keys",
                Some("pw"),
            ),
            (
                "postgres://k:pw@a:1,b:2/keys?sslmode=require",
                "postgres://k@a:1,b:2/keys",
                Some("pw"),
            ),
            (
                "postgres://k:pw@%2Frun%2Fpostgresql/keys",
                "postgres://k@%2Frun%2Fpostgresql/keys",
                Some("pw"),
            ),
        ] {
            let config = parse(url).unwrap();
            assert_eq!(config.get_password(), password.map(str::as_bytes), "{url}");
            let location = Location::parse(url).unwrap();
            assert_eq!(location.has_password(), password.is_some(), "{url}");
            assert_eq!(location.to_string(), shown);
        }
    }
}
