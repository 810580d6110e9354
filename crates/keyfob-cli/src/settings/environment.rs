//! Environment variables without a flag in the command.

use std::{collections::BTreeMap, env};

/// The environment variables that start with `KEYFOB_`.
pub(super) struct Values {
    values: BTreeMap<String, String>,
    /// Whether the settings of `serve` are read from here, since the command has no flags for them.
    read_serve: bool,
}

impl Values {
    pub(super) fn read(read_serve: bool) -> Self {
        let values = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter_map(|(name, value)| Some((name.strip_prefix("KEYFOB_")?.to_owned(), value)))
            .collect();
        Self { values, read_serve }
    }

    pub(super) fn value(&self, name: &str) -> Option<String> {
        let value = self
            .read_serve
            .then(|| self.values.get(&name.to_uppercase()));
        value.flatten().cloned()
    }

    /// Warnings about unknown variables: their names may be mistyped.
    pub(super) fn unknown(&self) -> Vec<String> {
        let known = |name: &&String| {
            KNOWN.contains(&name.as_str()) || name.starts_with("PEPPER_") || is_of_kubernetes(name)
        };
        self.values
            .keys()
            .filter(|name| !known(name))
            .map(|name| format!("unknown environment variable KEYFOB_{name}"))
            .collect()
    }
}

/// Whether Kubernetes sets the variable for a service named `keyfob`.
fn is_of_kubernetes(name: &str) -> bool {
    name == "PORT" || name.starts_with("PORT_") || name.starts_with("SERVICE_")
}

const KNOWN: [&str; 20] = [
    "AS",
    "COLOR",
    "CONFIG",
    "CONNECTIONS",
    "FLUSH_EVERY",
    "FOLLOW_EVERY",
    "HEADER_TIMEOUT",
    "LISTEN",
    "LOG",
    "LOG_FORM",
    "NAMESPACE",
    "NAMESPACE_HEADER",
    "OPERATOR",
    "OPERATORS",
    "OPERATOR_FILE",
    "OUTPUT",
    "PREFIX",
    "STALE_AFTER",
    "STORE",
    "TEAM",
];
