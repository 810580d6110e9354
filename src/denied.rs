//! Refusals and their reasons.

use crate::{authorization::HeaderError, credential_id::CredentialId};

/// A refusal of a credential.
///
/// `Display` writes the same text for every reason. `Debug` includes the reason, for logs.
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

    /// The entry of a credential whose secret matched changed while its grant was read: the
    /// verification begins again, and nobody else sees this value.
    pub(crate) fn interrupted(credential: CredentialId) -> Self {
        Self::known(DenyReason::NotReady, credential)
    }

    /// Whether it is the result of [`Denied::interrupted`]: an index that is not ready knows no
    /// credential.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.reason == DenyReason::NotReady && self.credential.is_some()
    }

    /// The reason, for logs and metrics. Do not show it to the caller.
    pub fn reason(&self) -> DenyReason {
        self.reason
    }

    /// The credential, if its secret was correct.
    pub fn credential(&self) -> Option<CredentialId> {
        self.credential
    }

    /// The HTTP status for the refusal: 401 if the caller is not authenticated, 403 for a valid key
    /// of another namespace or without a required scope, 503 if the service cannot decide.
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

/// The reason of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DenyReason {
    /// The request has no `Authorization` header field.
    NoCredential,
    /// The request has more than one `Authorization` header field.
    RepeatedHeader,
    /// The text is not a well-formed credential.
    Malformed,
    /// The secret's checksum is wrong: the key was mistyped or truncated, or never issued.
    Mistyped,
    /// The key does not exist.
    UnknownKey,
    /// The key exists, but the secret is wrong.
    WrongSecret,
    /// The secret was replaced by a rotation, and its grace period is over.
    Replaced,
    /// The credential was revoked, individually or by a cutoff.
    Revoked,
    /// The key is disabled, or the subject of the legacy credential is blocked.
    Disabled,
    /// The key is not valid yet.
    NotYetValid,
    /// The key has expired.
    Expired,
    /// The policy does not accept legacy credentials at this time.
    LegacyOff,
    /// The key is valid, but opens another namespace.
    WrongNamespace,
    /// The key is valid, but lacks a required scope.
    MissingScope,
    /// The index has not yet read its store to the end.
    NotReady,
    /// The index was last confirmed by its store longer ago than the bound on staleness: a
    /// revocation may be missing.
    Stale,
    /// The digest is under a pepper that the verifier does not have: a configuration error.
    PepperMissing,
}

impl DenyReason {
    /// The stable name of the reason, as in `unknown_key`.
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
    fn every_reason_has_a_stable_name_and_status() {
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
    fn missing_repeated_and_malformed_headers_have_different_reasons() {
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
