//! The audit trail: a hash chain with one event per commit.

use alloc::{string::String, vec::Vec};
use core::{fmt, str::FromStr};

use crate::{
    credential_id::CredentialId,
    hash::sha256,
    identity::{Actor, Context, Owner},
    name::{NamespaceId, Reason, RequestId, TeamId},
    revision::Revision,
    timestamp::Timestamp,
};

/// The audit event of a commit. It never holds a secret or the digest of one.
///
/// The hash of an event covers the event and the preceding hash, so changing, removing or moving an
/// event breaks the chain at that place: see [`AuditEvent::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AuditEvent {
    /// The revision of the commit. Every revision has exactly one event.
    pub revision: Revision,
    /// What was done.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub entry: AuditEntry,
    /// The hash over this event and the preceding hash.
    pub hash: ChainHash,
}

/// The content of an audit event; the store adds revision and hash.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct AuditEntry {
    /// When it was done.
    pub at: Timestamp,
    /// Who did it, and with which credential.
    pub actor: Actor,
    /// What was done.
    pub action: Action,
    /// The team; `None` for a change that affects every team.
    pub team: Option<TeamId>,
    /// The namespace, if the change affects one.
    pub namespace: Option<NamespaceId>,
    /// The owner of the key, or the owner that was removed, restored or whose keys were revoked.
    pub owner: Option<Owner>,
    /// The credential, if the change affects one.
    pub credential: Option<CredentialId>,
    /// The reason.
    pub reason: Option<Reason>,
    /// The identifier of the request.
    pub request_id: Option<RequestId>,
}

impl AuditEntry {
    /// Creates an entry for an action in `context` that names no object yet.
    pub fn new(action: Action, context: &Context) -> Self {
        Self {
            at: context.now,
            actor: context.actor.clone(),
            action,
            team: None,
            namespace: None,
            owner: None,
            credential: None,
            reason: context.reason.clone(),
            request_id: context.request_id.clone(),
        }
    }
}

impl AuditEvent {
    /// Creates the event at `revision`, chained to the preceding hash.
    pub fn chained(entry: AuditEntry, revision: Revision, before: ChainHash) -> Self {
        let hash = chain(&entry, revision, before);
        Self {
            revision,
            entry,
            hash,
        }
    }

    /// Verifies consecutive events, oldest first, that follow the hash `before`, and returns the
    /// last hash.
    ///
    /// Start with [`ChainHash::START`] for the whole trail, or with the hash of an earlier event.
    /// Removal of events at the end of the trail is only detected by comparison with a hash that
    /// was kept elsewhere.
    ///
    /// # Errors
    ///
    /// [`ChainError`] has the revision of the first event that does not follow from its
    /// predecessor.
    pub fn verify<'a>(
        before: ChainHash,
        events: impl IntoIterator<Item = &'a Self>,
    ) -> Result<ChainHash, ChainError> {
        let mut last = before;
        for event in events {
            if chain(&event.entry, event.revision, last) != event.hash {
                return Err(ChainError {
                    revision: event.revision,
                });
            }
            last = event.hash;
        }
        Ok(last)
    }
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Action {
    /// A key was created.
    KeyCreated,
    /// A key's name, labels, scopes or expiry changed.
    KeyUpdated,
    /// A key was disabled.
    KeyDisabled,
    /// A key was enabled again.
    KeyEnabled,
    /// A key got a new secret.
    KeyRotated,
    /// A key's digest was replaced with one under the current pepper.
    KeyRehashed,
    /// A key was revoked.
    KeyRevoked,
    /// A key's record was deleted.
    KeyDeleted,
    /// All keys of an owner, a namespace or a team were revoked, without blocking new ones.
    AllRevoked,
    /// An owner, a namespace or a team was removed: all keys revoked, new ones blocked.
    Removed,
    /// An owner, a namespace or a team was restored: new keys are allowed again.
    Restored,
    /// A legacy credential was imported.
    LegacyImported,
    /// A legacy credential was blocked, as its subject was in a later import.
    LegacyBlocked,
    /// A legacy credential was revoked.
    LegacyRevoked,
    /// The policy for legacy credentials was set.
    LegacyPolicySet,
    /// The policy for keys was set.
    PolicySet,
    /// A namespace was bound to its team.
    NamespaceCreated,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 17] = [
        Self::KeyCreated,
        Self::KeyUpdated,
        Self::KeyDisabled,
        Self::KeyEnabled,
        Self::KeyRotated,
        Self::KeyRehashed,
        Self::KeyRevoked,
        Self::KeyDeleted,
        Self::AllRevoked,
        Self::Removed,
        Self::Restored,
        Self::LegacyImported,
        Self::LegacyBlocked,
        Self::LegacyRevoked,
        Self::LegacyPolicySet,
        Self::PolicySet,
        Self::NamespaceCreated,
    ];

    /// The stable name of the action, as in `key_created`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeyCreated => "key_created",
            Self::KeyUpdated => "key_updated",
            Self::KeyDisabled => "key_disabled",
            Self::KeyEnabled => "key_enabled",
            Self::KeyRotated => "key_rotated",
            Self::KeyRehashed => "key_rehashed",
            Self::KeyRevoked => "key_revoked",
            Self::KeyDeleted => "key_deleted",
            Self::AllRevoked => "all_revoked",
            Self::Removed => "removed",
            Self::Restored => "restored",
            Self::LegacyImported => "legacy_imported",
            Self::LegacyBlocked => "legacy_blocked",
            Self::LegacyRevoked => "legacy_revoked",
            Self::LegacyPolicySet => "legacy_policy_set",
            Self::PolicySet => "policy_set",
            Self::NamespaceCreated => "namespace_created",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Action {
    type Err = ActionError;

    fn from_str(text: &str) -> Result<Self, ActionError> {
        let named = Self::ALL.into_iter().find(|action| action.as_str() == text);
        named.ok_or(ActionError)
    }
}

/// A text is not an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("action: not the name of an action, as in key_created")]
pub struct ActionError;

/// A hash of the audit chain: a SHA-256 value, displayed as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ChainHash([u8; 32]);

impl ChainHash {
    /// The hash that the first event follows.
    pub const START: Self = Self([0; 32]);

    /// Creates a hash from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Parses 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let start = at.saturating_mul(2);
            let pair = text.get(start..start.saturating_add(2))?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        let hash = Self(bytes);
        (alloc::string::ToString::to_string(&hash) == text).then_some(hash)
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for ChainHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for ChainHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("hash is not 64 lower-case hexadecimal digits"))
    }
}

/// The audit trail was tampered with or has a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit trail breaks at revision {revision}")]
pub struct ChainError {
    /// The revision of the first event that does not follow from its predecessor.
    pub revision: Revision,
}

/// SHA-256 over the preceding hash and every field of the event. Each field has a length prefix, so
/// that no two events have the same bytes.
fn chain(entry: &AuditEntry, revision: Revision, before: ChainHash) -> ChainHash {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(b"kfa1");
    bytes.extend_from_slice(&before.0);
    bytes.extend_from_slice(&revision.get().to_be_bytes());
    bytes.extend_from_slice(&entry.at.as_unix().to_be_bytes());
    let owner = |owner: &Owner| alloc::format!("{owner}");
    let fields: [Option<String>; 9] = [
        Some(entry.action.as_str().into()),
        entry.actor.owner.as_ref().map(owner),
        entry.actor.credential.map(|id| alloc::format!("{id}")),
        entry.team.as_ref().map(|text| text.as_str().into()),
        entry.namespace.as_ref().map(|text| text.as_str().into()),
        entry.owner.as_ref().map(owner),
        entry.credential.map(|id| alloc::format!("{id}")),
        entry.reason.as_ref().map(|text| text.as_str().into()),
        entry.request_id.as_ref().map(|text| text.as_str().into()),
    ];
    for field in fields {
        // The prefix is 0 for an absent field, n + 1 for n bytes: absent and empty differ.
        let length = field
            .as_ref()
            .map_or(0, |text| text.len().saturating_add(1));
        bytes.extend_from_slice(&(length as u64).to_be_bytes());
        bytes.extend_from_slice(field.unwrap_or_default().as_bytes());
    }
    ChainHash(sha256(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::UserId;

    fn trail(length: u64) -> Vec<AuditEvent> {
        let context = Context::new(
            Actor::user(UserId::new("alice").unwrap()),
            Timestamp::from_unix(1_800_000_000),
        );
        let mut last = ChainHash::START;
        (1..=length)
            .map(|revision| {
                let entry = AuditEntry::new(Action::KeyUpdated, &context);
                let event = AuditEvent::chained(entry, Revision::new(revision), last);
                last = event.hash;
                event
            })
            .collect()
    }

    fn verify(events: &[AuditEvent]) -> Result<ChainHash, ChainError> {
        AuditEvent::verify(ChainHash::START, events)
    }

    fn breaks_at(revision: u64) -> Result<ChainHash, ChainError> {
        Err(ChainError {
            revision: Revision::new(revision),
        })
    }

    #[test]
    fn an_action_round_trips_through_its_text() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse(), Ok(action));
        }
        assert_eq!("Key_created".parse::<Action>(), Err(ActionError));
    }

    #[test]
    fn a_complete_trail_verifies() {
        let events = trail(20);
        assert_eq!(verify(&events), Ok(events[19].hash));
        assert_eq!(verify(&[]), Ok(ChainHash::START));
        assert_eq!(
            AuditEvent::verify(events[9].hash, &events[10..]),
            Ok(events[19].hash)
        );
    }

    #[test]
    fn tampering_is_detected_at_its_revision() {
        let events = trail(20);
        for at in 0..20 {
            let revision = events[at].revision.get();

            let mut changed = events.clone();
            changed[at].entry.reason = Some(Reason::new("another").unwrap());
            assert_eq!(verify(&changed), breaks_at(revision));

            let mut renumbered = events.clone();
            renumbered[at].revision = Revision::new(99);
            assert_eq!(verify(&renumbered), breaks_at(99));

            if at + 1 < 20 {
                let mut removed = events.clone();
                removed.remove(at);
                assert_eq!(verify(&removed), breaks_at(revision + 1));

                let mut swapped = events.clone();
                swapped.swap(at, at + 1);
                assert_eq!(verify(&swapped), breaks_at(revision + 1));
            }
        }
    }

    #[test]
    fn moving_text_between_fields_changes_the_hash() {
        let context = Context::new(Actor::system(), Timestamp::UNIX_EPOCH);
        let mut one = AuditEntry::new(Action::KeyCreated, &context);
        let mut two = one.clone();
        one.team = Some(TeamId::new("ab").unwrap());
        two.team = Some(TeamId::new("a").unwrap());
        two.namespace = Some(NamespaceId::new("b").unwrap());
        let hash = |entry: &AuditEntry| chain(entry, Revision::ZERO, ChainHash::START);
        assert_ne!(hash(&one), hash(&two));
        two.team = None;
        two.namespace = Some(NamespaceId::new("ab").unwrap());
        assert_ne!(hash(&one), hash(&two));
    }

    #[test]
    fn a_hash_has_exactly_one_text_form() {
        let hash = trail(1)[0].hash;
        let text = alloc::format!("{hash}");
        assert_eq!(ChainHash::parse(&text), Some(hash));
        assert_eq!(ChainHash::parse(&text.to_uppercase()), None);
        assert_eq!(ChainHash::parse(&text[..63]), None);
        assert_eq!(ChainHash::parse(&alloc::format!("{text}0")), None);
    }
}
