//! Reading URLs, by the driver's own parser.

use std::{fmt, net::IpAddr};

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
        Url::parse(url).map(|url| url.location())
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

/// A URL that was read.
#[derive(Debug)]
pub(crate) struct Url {
    pub(crate) config: Config,
    /// Whether a pooler gives each transaction another connection: `pool_mode=transaction`.
    pub(crate) transaction_pooling: bool,
    /// `listen`: the servers themselves, which send notices.
    listen: Option<Config>,
}

impl Url {
    /// Reads a URL. What libpq calls `verify-ca` and `verify-full` is what `require` means here: the
    /// server's certificate and name are always verified.
    pub(crate) fn parse(url: &str) -> Result<Self, ConnectError> {
        if is_ambiguous(url) {
            return Err(ConnectError::Url);
        }
        let (place, parameters) = match url.rsplit_once('?') {
            Some((place, parameters)) => (place, parameters),
            None => (url, ""),
        };
        let (mut transaction_pooling, mut listen) = (false, None);
        let mut text = place.to_owned();
        let mut mark = '?';
        for parameter in parameters.split('&').filter(|text| !text.is_empty()) {
            let parameter = match parameter.split_once('=') {
                Some(("sslmode", "verify-full" | "verify-ca")) => "sslmode=require",
                Some(("pool_mode", "transaction")) => {
                    transaction_pooling = true;
                    continue;
                }
                Some(("pool_mode", "session")) => continue,
                Some(("pool_mode", _)) => {
                    let modes = "session or transaction";
                    return Err(ConnectError::Parameter("pool_mode", modes));
                }
                Some(("listen", servers)) => {
                    listen = Some(listen_servers(servers)?);
                    continue;
                }
                _ => parameter,
            };
            text.push(mark);
            text.push_str(parameter);
            mark = '&';
        }
        Ok(Self {
            config: of_driver(&text)?,
            transaction_pooling,
            listen,
        })
    }

    /// The configuration of each server of the URL.
    pub(crate) fn servers(&self) -> Vec<Config> {
        servers(&self.config, &self.config)
    }

    /// The configuration of each server to listen at, if the URL names some.
    pub(crate) fn listen(&self) -> Option<Vec<Config>> {
        let listen = self.listen.as_ref();
        listen.map(|places| servers(&self.config, places))
    }

    pub(crate) fn location(&self) -> Location {
        let config = &self.config;
        let places = places(config);
        let listen = self.listen.iter().flat_map(self::places);
        Location {
            user: config.get_user().map(ToOwned::to_owned),
            is_local: places
                .iter()
                .cloned()
                .chain(listen)
                .all(|place| place.is_local()),
            hosts: places
                .into_iter()
                .map(|place| (place.name(), place.port))
                .collect(),
            database: config.get_dbname().map(ToOwned::to_owned),
            has_password: config.get_password().is_some(),
            requires_tls: config.get_ssl_mode() == SslMode::Require,
        }
    }
}

fn of_driver(text: &str) -> Result<Config, ConnectError> {
    let config: Config = text.parse().map_err(|_| ConnectError::Url)?;
    let (hosts, addresses) = (config.get_hosts().len(), config.get_hostaddrs().len());
    let servers = hosts.max(addresses);
    let fits = |count: usize| count == 0 || count == servers;
    let has_ports = config.get_ports().len() <= 1 || fits(config.get_ports().len());
    if servers == 0 || !fits(hosts) || !fits(addresses) || !has_ports {
        return Err(ConnectError::Url);
    }
    Ok(config)
}

/// The value of `listen`: servers as in a URL.
fn listen_servers(text: &str) -> Result<Config, ConnectError> {
    let refused = ConnectError::Parameter("listen", "HOST or HOST:PORT, separated by commas");
    if text.contains(['/', '@', '?', '#']) {
        return Err(refused);
    }
    of_driver(&format!("postgres://{text}")).map_err(|_| refused)
}

/// One server of a URL.
#[derive(Clone)]
struct Place {
    host: Option<Host>,
    address: Option<IpAddr>,
    port: u16,
}

impl Place {
    fn name(&self) -> String {
        match (&self.host, self.address) {
            (Some(Host::Tcp(name)), _) => name.clone(),
            #[cfg(unix)]
            (Some(Host::Unix(path)), _) => path.display().to_string(),
            (None, address) => address
                .map(|address| address.to_string())
                .unwrap_or_default(),
        }
    }

    fn is_local(&self) -> bool {
        match (&self.host, self.address) {
            #[cfg(unix)]
            (Some(Host::Unix(_)), _) => true,
            (_, Some(address)) => address.is_loopback(),
            (Some(Host::Tcp(name)), None) => is_loopback(name),
            (None, None) => false,
        }
    }
}

fn places(config: &Config) -> Vec<Place> {
    let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
    let ports = config.get_ports();
    let place = |at: usize| Place {
        host: hosts.get(at).cloned(),
        address: addresses.get(at).copied(),
        port: *ports
            .get(at)
            .or_else(|| ports.first())
            .unwrap_or(&DEFAULT_PORT),
    };
    (0..hosts.len().max(addresses.len())).map(place).collect()
}

/// The same configuration for each of these servers alone: the driver, given several, waits for one
/// that hangs and does not try the next.
fn servers(config: &Config, of: &Config) -> Vec<Config> {
    let server = |place: Place| {
        let mut one = Config::new();
        match place.host {
            Some(Host::Tcp(name)) => _ = one.host(name),
            #[cfg(unix)]
            Some(Host::Unix(path)) => _ = one.host_path(path),
            None => {}
        }
        if let Some(address) = place.address {
            one.hostaddr(address);
        }
        one.port(place.port)
            .ssl_mode(config.get_ssl_mode())
            .ssl_negotiation(config.get_ssl_negotiation())
            .target_session_attrs(config.get_target_session_attrs())
            .channel_binding(config.get_channel_binding())
            .load_balance_hosts(config.get_load_balance_hosts());
        if let Some(user) = config.get_user() {
            one.user(user);
        }
        if let Some(password) = config.get_password() {
            one.password(password);
        }
        if let Some(database) = config.get_dbname() {
            one.dbname(database);
        }
        if let Some(options) = config.get_options() {
            one.options(options);
        }
        if let Some(name) = config.get_application_name() {
            one.application_name(name);
        }
        one
    };
    places(of).into_iter().map(server).collect()
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
    let address = name.parse::<IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

const DEFAULT_PORT: u16 = 5432;

#[cfg(test)]
mod tests {
    use tokio_postgres::config::TargetSessionAttrs;

    use super::*;

    fn mode(url: &str) -> SslMode {
        Url::parse(url).unwrap().config.get_ssl_mode()
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
            ("postgres://u@localhost/d?listen=127.0.0.1:5433", false),
            ("postgres://u@localhost/d?listen=db", true),
        ] {
            let location = Location::parse(url).unwrap();
            assert_eq!(location.may_lose_tls(), may_lose_tls, "{url}");
        }
    }

    #[test]
    fn each_server_of_a_url_is_connected_to_alone() {
        let url = "postgres://k:pw@a:1,b:2/keys?pool_mode=transaction&listen=c:3,%2Frun&sslmode=require\
                   &target_session_attrs=read-write&application_name=x";
        let url = Url::parse(url).unwrap();
        assert!(url.transaction_pooling);
        for (servers, expected) in [
            (url.servers(), [("a", 1), ("b", 2)]),
            (url.listen().unwrap(), [("c", 3), ("/run", 5432)]),
        ] {
            let found: Vec<_> = servers.iter().map(|one| (places(one), one)).collect();
            assert_eq!(found.len(), 2);
            for ((places, one), (name, port)) in found.into_iter().zip(expected) {
                assert_eq!((places[0].name().as_str(), places[0].port), (name, port));
                assert_eq!(places.len(), 1);
                assert_eq!(one.get_user(), Some("k"));
                assert_eq!(one.get_password(), Some(&b"pw"[..]));
                assert_eq!(one.get_dbname(), Some("keys"));
                assert_eq!(one.get_application_name(), Some("x"));
                assert_eq!(one.get_ssl_mode(), SslMode::Require);
                assert_eq!(
                    one.get_target_session_attrs(),
                    TargetSessionAttrs::ReadWrite
                );
            }
        }
        let plain = Url::parse("postgres://h/d?pool_mode=session").unwrap();
        assert!(!plain.transaction_pooling && plain.listen().is_none());
    }

    #[test]
    fn a_parameter_with_a_wrong_value_is_named() {
        for (url, named) in [
            ("postgres://h/d?pool_mode=hunter2", "pool_mode"),
            ("postgres://h/d?listen=hunter2:x", "listen"),
            ("postgres://h/d?listen=", "listen"),
            ("postgres://h/d?listen=h/hunter2", "listen"),
        ] {
            let error = Url::parse(url).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(said.contains(named) && !said.contains("hunter2"), "{said}");
        }
        let count = Url::parse("postgres://a,b/d?hostaddr=10.0.0.1").unwrap_err();
        assert!(matches!(count, ConnectError::Url));
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
            let config = Url::parse(url).unwrap().config;
            assert_eq!(config.get_password(), password.map(str::as_bytes), "{url}");
            let location = Location::parse(url).unwrap();
            assert_eq!(location.has_password(), password.is_some(), "{url}");
            assert_eq!(location.to_string(), shown);
        }
    }
}
