//! What stands in the environment and is nobody's flag.

use std::{collections::BTreeMap, env};

/// The variables that begin with `KEYFOB_`, but for those that every command has a flag for.
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

    /// What is there and means nothing: a variable whose name is mistyped would go unnoticed.
    pub(super) fn unknown(&self) -> Vec<String> {
        let known = |name: &&String| {
            KNOWN.contains(&name.as_str()) || name.starts_with("PEPPER_") || is_of_kubernetes(name)
        };
        self.values
            .keys()
            .filter(|name| !known(name))
            .map(|name| format!("the variable KEYFOB_{name} means nothing"))
            .collect()
    }
}

/// What Kubernetes sets for a service of the name `keyfob`.
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
