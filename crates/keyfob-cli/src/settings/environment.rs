//! Environment variables without a flag in the command.

use std::{collections::BTreeMap, env};

/// The environment variables that start with `KEYFOB_`, without that.
pub(super) struct Variables(BTreeMap<String, String>);

impl Variables {
    pub(super) fn read() -> Self {
        let values = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter_map(|(name, value)| Some((name.strip_prefix("KEYFOB_")?.to_owned(), value)));
        Self(values.collect())
    }

    /// The variable of a setting.
    pub(super) fn value(&self, setting: &str) -> Option<String> {
        self.0.get(&setting.to_uppercase()).cloned()
    }

    /// Warnings about variables of none of these settings: their names may be mistyped.
    pub(super) fn unknown(&self, settings: &[&str]) -> Vec<String> {
        let known = |name: &str| {
            name == "CONFIG"
                || name.starts_with("PEPPER_")
                || is_of_kubernetes(name)
                || settings.contains(&name.to_lowercase().as_str())
        };
        let names = self.0.keys().filter(|name| !known(name));
        names
            .map(|name| format!("unknown environment variable KEYFOB_{name}"))
            .collect()
    }
}

/// Whether Kubernetes sets the variable for a service named `keyfob`.
fn is_of_kubernetes(name: &str) -> bool {
    name == "PORT" || name.starts_with("PORT_") || name.starts_with("SERVICE_")
}
