//! What people call the namespaces of a team.

use std::collections::HashMap;

use crate::{
    client::Refused,
    screens::keys::page_of_namespaces,
    visit::Visit,
    wire::{Key, Namespace},
};

/// The titles of namespaces.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<String, String>);

impl Names {
    /// Those of the team that is worked in: of its first thousand namespaces, also of those that were removed.
    pub(crate) async fn read(visit: &Visit) -> Result<Self, Refused> {
        let first = page_of_namespaces(visit, "").await?;
        Ok(Self::of(&first.namespaces))
    }

    /// A label, or with the name where several namespaces have the same.
    pub(crate) fn of(namespaces: &[Namespace]) -> Self {
        let mut titles: HashMap<String, u64> = HashMap::new();
        for namespace in namespaces {
            *titles.entry(namespace.title()).or_default() += 1;
        }
        let named = namespaces.iter().map(|namespace| {
            let (name, mut title) = (namespace.namespace.clone(), namespace.title());
            if titles.get(&title).is_some_and(|number| *number > 1) {
                title = format!("{title} ({name})");
            }
            (name, title)
        });
        Self(named.collect())
    }

    /// What people call a namespace; its name if it has no label.
    pub(crate) fn title(&self, namespace: &str) -> String {
        let title = self.0.get(namespace);
        title.map_or_else(|| namespace.to_owned(), Clone::clone)
    }

    /// Has keys show the title of their namespace.
    pub(crate) fn name<'a>(&self, keys: impl IntoIterator<Item = &'a mut Key>) {
        for key in keys {
            key.title = self.title(&key.namespace);
        }
    }

    /// Whether a text that was typed to confirm means this namespace: its title, or its name.
    pub(crate) fn is(&self, typed: &str, namespace: &str) -> bool {
        typed == namespace || typed == self.title(namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str, label: &str) -> Namespace {
        serde_json::from_value(serde_json::json!({
            "namespace": name, "label": label, "created_at": "2025-12-19T10:30:00Z", "removed": false,
        }))
        .unwrap()
    }

    #[test]
    fn a_namespace_is_called_by_its_label_and_by_its_name_where_two_have_the_same() {
        let names = Names::of(&[
            namespace("fn-1", "orders"),
            namespace("fn-2", "billing"),
            namespace("fn-3", "orders"),
            namespace("control:acme", "control:acme"),
        ]);
        for (name, title) in [
            ("fn-1", "orders (fn-1)"),
            ("fn-2", "billing"),
            ("fn-3", "orders (fn-3)"),
            ("control:acme", "Control plane (panel and API)"),
            ("other", "other"),
        ] {
            assert_eq!(names.title(name), title);
        }
        assert!(names.is("billing", "fn-2") && names.is("fn-2", "fn-2"));
        assert!(!names.is("orders", "fn-1") && !names.is("", "fn-1"));
    }
}
