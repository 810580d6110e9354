//! The policies for legacy credentials, as verification reads them.

use std::sync::atomic::{AtomicU32, Ordering};

use alloc::collections::BTreeMap;

use crate::{index::slab::Slab, legacy::LegacyPolicy, name::NamespaceId};

/// The policies for legacy credentials, read without a lock: every change is a new version, and
/// old versions stay. They are few.
pub(super) struct LegacyPolicies {
    versions: Slab<BTreeMap<Option<NamespaceId>, LegacyPolicy>>,
    current: AtomicU32,
}

impl LegacyPolicies {
    pub(super) fn new() -> Self {
        Self {
            versions: Slab::new(),
            current: AtomicU32::new(0),
        }
    }

    pub(super) fn of(&self, namespace: &NamespaceId) -> &LegacyPolicy {
        static OFF: LegacyPolicy = LegacyPolicy::Off;
        self.versions
            .get(self.current.load(Ordering::Acquire))
            .and_then(|all| all.get(&Some(namespace.clone())).or_else(|| all.get(&None)))
            .unwrap_or(&OFF)
    }

    pub(super) fn set(
        &self,
        namespace: Option<&NamespaceId>,
        policy: Option<&LegacyPolicy>,
    ) -> Option<()> {
        let current = self.current.load(Ordering::Relaxed);
        let mut all = self.versions.get(current).cloned().unwrap_or_default();
        match policy {
            Some(policy) => all.insert(namespace.cloned(), policy.clone()),
            None => all.remove(&namespace.cloned()),
        };
        let version = self.versions.push(all)?;
        self.current.store(version, Ordering::Release);
        Some(())
    }
}
