//! Who still uses legacy credentials.

use crate::{legacy::LegacyRecord, timestamp::Timestamp, usage::Usage};

/// A legacy credential and its use.
#[derive(Clone, Debug)]
pub struct LegacyUse {
    /// The credential.
    pub record: LegacyRecord,
    /// Its use; none if it was never used since it was imported.
    pub usage: Option<Usage>,
}

/// The use of all legacy credentials of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamespaceUse {
    /// How many legacy credentials it has that are not revoked.
    pub credentials: u64,
    /// The minute of the last accepted use.
    pub last_used: Option<Timestamp>,
    /// How many uses were accepted.
    pub accepted: u64,
    /// How many uses were refused although the secret was right.
    pub refused: u64,
}

impl NamespaceUse {
    pub(crate) fn add(&mut self, credential: &LegacyUse) {
        let live = credential.record.revoked.is_none();
        self.credentials = self.credentials.saturating_add(u64::from(live));
        if let Some(usage) = &credential.usage {
            self.last_used = self.last_used.max(usage.last_used);
            self.accepted = self.accepted.saturating_add(usage.accepted);
            self.refused = self.refused.saturating_add(usage.refused);
        }
    }
}
