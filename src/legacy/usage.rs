//! Usage of legacy credentials.

use crate::{legacy::LegacyRecord, timestamp::Timestamp, usage::Usage};

/// A legacy credential and its usage.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LegacyUse {
    /// The credential.
    pub record: LegacyRecord,
    /// Its usage; `None` if it was not used since its import.
    pub usage: Option<Usage>,
}

/// The total usage of the legacy credentials of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamespaceUse {
    /// The number of credentials that are not revoked.
    pub credentials: u64,
    /// The minute of the last accepted use.
    pub last_used: Option<Timestamp>,
    /// The number of accepted uses.
    pub accepted: u64,
    /// The number of uses that were refused although the secret was correct.
    pub refused: u64,
}

impl NamespaceUse {
    /// Adds the usage of a credential.
    pub fn add(&mut self, credential: &LegacyUse) {
        let live = credential.record.revoked.is_none();
        self.credentials = self.credentials.saturating_add(u64::from(live));
        if let Some(usage) = &credential.usage {
            self.last_used = self.last_used.max(usage.last_used);
            self.accepted = self.accepted.saturating_add(usage.accepted);
            self.refused = self.refused.saturating_add(usage.refused);
        }
    }
}
