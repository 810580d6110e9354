//! Refusals: one text outside, the reason inside.

use crate::{authorization::HeaderError, credential_id::CredentialId};

/// A credential was refused.
///
/// What it displays is one text for every reason; its `Debug` form, for logs, has the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("access denied")]
pub struct Denied {
    reason: DenyReason,
    credential: Option<CredentialId>,
}

impl Denied {
    pub(crate) fn unknown(reason: DenyReason) -> Self {
        Self {
            reason,
            credential: None,
        }
    }

    pub(crate) fn known(reason: DenyReason, credential: CredentialId) -> Self {
        Self {
            reason,
            credential: Some(credential),
        }
    }

    /// Why: for logs and metrics, not for the caller.
    pub fn reason(&self) -> DenyReason {
        self.reason
    }

    /// The credential whose secret was right, if one was: an attempt that can be tied to a key.
    pub fn credential(&self) -> Option<CredentialId> {
        self.credential
    }

    /// The HTTP status to answer: 401 for whoever is not authenticated, 403 for a valid key of
    /// another namespace or without the scope, 503 for what is not the caller's fault.
    pub fn status(&self) -> u16 {
        match self.reason {
            DenyReason::WrongNamespace | DenyReason::MissingScope => 403,
            DenyReason::NotReady | DenyReason::Stale | DenyReason::PepperMissing => 503,
            DenyReason::NoCredential
            | DenyReason::RepeatedHeader
            | DenyReason::Malformed
            | DenyReason::Mistyped
            | DenyReason::UnknownKey
            | DenyReason::WrongSecret
            | DenyReason::Replaced
            | DenyReason::Revoked
            | DenyReason::Disabled
            | DenyReason::NotYetValid
            | DenyReason::Expired
            | DenyReason::LegacyOff => 401,
        }
    }
}

impl From<HeaderError> for Denied {
    fn from(error: HeaderError) -> Self {
        Self::unknown(match error {
            HeaderError::Missing => DenyReason::NoCredential,
            HeaderError::Repeated => DenyReason::RepeatedHeader,
            _ => DenyReason::Malformed,
        })
    }
}

/// Why a credential was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DenyReason {
    /// There was no `Authorization` header field.
    NoCredential,
    /// There was more than one.
    RepeatedHeader,
    /// What was presented has not the shape of a credential.
    Malformed,
    /// The secret's checksum does not fit: mistyped, cut off or made up.
    Mistyped,
    /// There is no such key.
    UnknownKey,
    /// There is such a key, and this is not its secret.
    WrongSecret,
    /// The secret was replaced by a rotation, and its grace is over.
    Replaced,
    /// The key, or all of its owner's, its namespace's or its team's, was revoked.
    Revoked,
    /// The key is switched off, or the legacy subject was blocked.
    Disabled,
    /// The key's time has not come.
    NotYetValid,
    /// The key's time is over.
    Expired,
    /// Legacy credentials are not accepted now.
    LegacyOff,
    /// The key is valid, and opens another namespace.
    WrongNamespace,
    /// The key is valid, and lacks a scope.
    MissingScope,
    /// The index has not yet followed its store.
    NotReady,
    /// The index was not confirmed by its store for longer than its bound: a revocation may be
    /// missing.
    Stale,
    /// The key's digest was made under a pepper that the verifier was not given: a fault of the
    /// configuration, not of the caller.
    PepperMissing,
}

impl DenyReason {
    /// The reason's lasting name, as in `unknown_key`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoCredential => "no_credential",
            Self::RepeatedHeader => "repeated_header",
            Self::Malformed => "malformed",
            Self::Mistyped => "mistyped",
            Self::UnknownKey => "unknown_key",
            Self::WrongSecret => "wrong_secret",
            Self::Replaced => "replaced",
            Self::Revoked => "revoked",
            Self::Disabled => "disabled",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::LegacyOff => "legacy_off",
            Self::WrongNamespace => "wrong_namespace",
            Self::MissingScope => "missing_scope",
            Self::NotReady => "not_ready",
            Self::Stale => "stale",
            Self::PepperMissing => "pepper_missing",
        }
    }
}

impl core::fmt::Display for DenyReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_reason_has_a_lasting_name_and_a_status() {
        for (reason, name, status) in [
            (DenyReason::NoCredential, "no_credential", 401),
            (DenyReason::RepeatedHeader, "repeated_header", 401),
            (DenyReason::Malformed, "malformed", 401),
            (DenyReason::Mistyped, "mistyped", 401),
            (DenyReason::UnknownKey, "unknown_key", 401),
            (DenyReason::WrongSecret, "wrong_secret", 401),
            (DenyReason::Replaced, "replaced", 401),
            (DenyReason::Revoked, "revoked", 401),
            (DenyReason::Disabled, "disabled", 401),
            (DenyReason::NotYetValid, "not_yet_valid", 401),
            (DenyReason::Expired, "expired", 401),
            (DenyReason::LegacyOff, "legacy_off", 401),
            (DenyReason::WrongNamespace, "wrong_namespace", 403),
            (DenyReason::MissingScope, "missing_scope", 403),
            (DenyReason::NotReady, "not_ready", 503),
            (DenyReason::PepperMissing, "pepper_missing", 503),
        ] {
            assert_eq!(reason.as_str(), name);
            assert_eq!(format!("{reason:>16}"), format!("{name:>16}"));
            assert_eq!(Denied::unknown(reason).status(), status, "{name}");
        }
    }

    #[test]
    fn a_header_that_is_missing_or_repeated_is_not_a_malformed_one() {
        for (error, reason) in [
            (HeaderError::Missing, DenyReason::NoCredential),
            (HeaderError::Repeated, DenyReason::RepeatedHeader),
            (HeaderError::Scheme, DenyReason::Malformed),
        ] {
            let denied = Denied::from(error);
            assert_eq!((denied.reason(), denied.credential()), (reason, None));
        }
    }
}
