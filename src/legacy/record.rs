//! The stored record of a legacy credential.

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

/// The stored record of a legacy credential: everything but the secret.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LegacyRecord {
    /// The public identifier.
    pub id: LegacyId,
    /// The namespace that it opens, and its team.
    pub tenant: Tenant,
    /// The `OpenWhisk` subject that it was issued to.
    pub subject: UserId,
    /// The digest of the credential.
    pub digest: KeyDigest,
    /// Whether the subject is blocked; the credential is then refused.
    pub blocked: bool,
    /// When it was imported.
    pub imported_at: Timestamp,
    /// Who imported it.
    pub imported_by: Actor,
    /// The revocation, if it was revoked.
    pub revoked: Option<Revocation>,
    /// The revision at which it was imported. Set by the store.
    pub created_revision: Revision,
    /// The revision at which the record last changed. Set by the store.
    pub revision: Revision,
}

impl LegacyRecord {
    /// Whether both records are of the same credential: UUID, key and tenant. The keys cannot be
    /// compared if their digests are under different peppers.
    #[cfg(any(feature = "std", feature = "import"))]
    pub(crate) fn is_same_credential(&self, other: &Self) -> bool {
        let comparable = self.digest.pepper() == other.digest.pepper();
        self.id == other.id
            && self.tenant == other.tenant
            && (!comparable || self.digest.to_text() == other.digest.to_text())
    }

    /// The targets whose cutoffs apply to the credential.
    pub fn targets(&self) -> [Target; 2] {
        [
            Target::Team(self.tenant.team.clone()),
            Target::Namespace(self.tenant.clone()),
        ]
    }

    /// Applies the cutoffs of its team and its namespace, as [`KeyRecord::with_cutoffs`] does.
    ///
    /// [`KeyRecord::with_cutoffs`]: crate::store::KeyRecord::with_cutoffs
    #[must_use]
    pub fn with_cutoffs<'a>(mut self, cutoffs: impl IntoIterator<Item = &'a Cutoff>) -> Self {
        if self.revoked.is_none() {
            self.revoked = Cutoff::first_covering(cutoffs, self.created_revision).cloned();
        }
        self
    }
}
