//! What a store keeps of a legacy credential.

use crate::{
    cutoff::{Cutoff, Target},
    digest::KeyDigest,
    identity::{Actor, Tenant},
    legacy::LegacyId,
    name::UserId,
    revision::Revision,
    revocation::Revocation,
    timestamp::Timestamp,
};

/// A legacy credential as a store keeps it: everything but the secret.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LegacyRecord {
    /// The public identifier, the UUID.
    pub id: LegacyId,
    /// The namespace that it opens, and the team it is imported for.
    pub tenant: Tenant,
    /// The subject it belonged to where it was issued.
    pub subject: UserId,
    /// The digest of the credential's text.
    pub digest: KeyDigest,
    /// Whether the subject was blocked: then it authenticates nobody.
    pub blocked: bool,
    /// When it was imported.
    pub imported_at: Timestamp,
    /// Who imported it.
    pub imported_by: Actor,
    /// When, by whom and why it was revoked, if it was.
    pub revoked: Option<Revocation>,
    /// The store's revision at which it was imported. Set by the store.
    pub created_revision: Revision,
    /// The store's revision at which the record last changed. Set by the store.
    pub revision: Revision,
}

impl LegacyRecord {
    /// The targets whose cuts revoke the credential.
    pub fn targets(&self) -> [Target; 2] {
        [
            Target::Team(self.tenant.team.clone()),
            Target::Namespace(self.tenant.clone()),
        ]
    }

    /// The record as it reads behind these cutoffs, as [`KeyRecord::with_cutoffs`]. The cutoffs
    /// are those of its team and its namespace.
    ///
    /// [`KeyRecord::with_cutoffs`]: crate::KeyRecord::with_cutoffs
    #[must_use]
    pub fn with_cutoffs<'a>(mut self, cutoffs: impl IntoIterator<Item = &'a Cutoff>) -> Self {
        if self.revoked.is_none() {
            self.revoked = Cutoff::first_covering(cutoffs, self.created_revision).cloned();
        }
        self
    }
}
