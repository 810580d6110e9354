//! Environment variables without a flag in the command.

use std::{collections::BTreeMap, env, ffi::OsString};

/// The environment variables that start with `KEYFOB_`, without that. An empty one is not set.
pub(super) struct Variables(BTreeMap<String, String>);

impl Variables {
    pub(super) fn read() -> Self {
        let values = set()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter_map(|(name, value)| Some((name.strip_prefix("KEYFOB_")?.to_owned(), value)))
            .filter(|(name, value)| !is_of_kubernetes(name, value));
        Self(values.collect())
    }

    /// The variable of a setting.
    pub(super) fn value(&self, setting: &str) -> Option<String> {
        self.0.get(&setting.to_uppercase()).cloned()
    }

    /// Warnings about variables of none of these settings: their names may be mistyped.
    pub(super) fn unknown(&self, settings: &[String]) -> Vec<String> {
        let known = |name: &str| {
            name == "CONFIG"
                || name.starts_with("PEPPER_")
                || settings.contains(&name.to_lowercase())
        };
        let names = self.0.keys().filter(|name| !known(name));
        names
            .map(|name| format!("unknown environment variable KEYFOB_{name}"))
            .collect()
    }
}

/// The environment variables that are set, without the empty ones: a manifest has no other way to
/// leave a variable out.
pub(super) fn set() -> impl Iterator<Item = (OsString, OsString)> {
    env::vars_os().filter(|(_, value)| !value.is_empty())
}

/// Whether Kubernetes makes the variable, for a service whose name begins with `keyfob`. It makes
/// `X_SERVICE_HOST`, `X_SERVICE_PORT`, `X_SERVICE_PORT_<NAME>`, `X_PORT` and
/// `X_PORT_<NUMBER>_<PROTOCOL>`, alone or with `_ADDR`, `_PORT` and `_PROTO`.
pub(super) fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let ends = |end: &str| name == end || name.ends_with(&format!("_{end}"));
    let within = |part: &str| name.starts_with(part) || name.contains(&format!("_{part}"));
    let is_url = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    let parts: Vec<&str> = name.split('_').collect();
    let of_port = parts.windows(3).any(|part| match part {
        ["PORT", number, protocol] => {
            number.parse::<u16>().is_ok() && ["TCP", "UDP", "SCTP"].contains(protocol)
        }
        _ => false,
    });
    ends("SERVICE_HOST")
        || ends("SERVICE_PORT")
        || within("SERVICE_PORT_")
        || of_port
        || ends("PORT") && is_url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_kubernetes_are_told_from_mistyped_ones() {
        for (name, value) in [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_PORT", "80"),
            ("SERVICE_PORT_HTTP", "80"),
            ("PORT", "tcp://10.0.0.1:80"),
            ("PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("PORT_80_TCP_ADDR", "10.0.0.1"),
            ("POSTGRES_SERVICE_HOST", "10.0.0.1"),
            ("POSTGRES_SERVICE_PORT_POSTGRES", "5432"),
            ("POSTGRES_PORT", "tcp://10.0.0.1:5432"),
            ("POSTGRES_PORT_5432_TCP", "tcp://10.0.0.1:5432"),
            ("POSTGRES_PORT_5432_TCP_PORT", "5432"),
            ("POSTGRES_PORT_5432_TCP_PROTO", "tcp"),
            ("PEPPER_STORE_PORT_53_UDP_ADDR", "10.0.0.1"),
        ] {
            assert!(is_of_kubernetes(name, value), "{name}");
        }
        for (name, value) in [
            ("PORT", "8080"),
            ("STORES", "memory:"),
            ("LISTEN_PORT", "8080"),
            ("PORT_NUMBER", "80"),
            ("SERVICE", "x"),
            ("POSTGRES_URL", "tcp://10.0.0.1:5432"),
        ] {
            assert!(!is_of_kubernetes(name, value), "{name}");
        }
    }
}
