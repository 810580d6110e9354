//! The audit trail: a hash chain with one event per commit.

mod canonical;
mod change;
mod verification;

use alloc::vec::Vec;
use core::{fmt, str::FromStr};

pub use change::{Field, FieldChange, Value};
pub use verification::{Object, RecordFault, Verified, VerifyError, verify};

pub(crate) use change::Fields;

use crate::{
    audit::canonical::Canonical,
    credential_id::CredentialId,
    identity::{Actor, Context, Owner},
    name::{NamespaceId, Reason, RequestId, TeamId},
    revision::Revision,
    store::Item,
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
///
/// Who gives an entry to a [`Commit`](crate::store::Commit) says when, by whom, why and for which
/// request. What was changed, and in which object, is computed by
/// [`Commit::decide`](crate::store::Commit::decide) in the transaction that stores the change, and
/// replaces what the commit says of it.
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
    /// The fields that changed, with their old and new values: at the creation of an object all
    /// that it has, at its deletion all that it had.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Vec::is_empty")
    )]
    pub changes: Vec<FieldChange>,
    /// The revision of the state that the change replaced: that of the object's last change before
    /// this one.
    pub replaces: Option<Revision>,
    /// The hash of the record that the store holds since this commit, digests included; `None` if
    /// the change leaves no record in the change feed.
    pub record: Option<RecordHash>,
}

impl AuditEntry {
    /// The reason of a revocation whose credential was found in the open. `: ` and the place where
    /// it was found can follow.
    pub const FOUND_IN_THE_OPEN: &'static str = "found in the open";

    /// Whether a credential was revoked because it was found in the open, as the reason says.
    pub fn is_leak(&self) -> bool {
        let reason = self.reason.as_ref().map(Reason::as_str);
        let place = reason.and_then(|reason| reason.strip_prefix(Self::FOUND_IN_THE_OPEN));
        matches!(self.action, Action::KeyRevoked | Action::LegacyRevoked)
            && place.is_some_and(|place| place.is_empty() || place.starts_with(": "))
    }

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
            changes: Vec::new(),
            replaces: None,
            record: None,
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

/// Defines a SHA-256 value, displayed as 64 lower-case hexadecimal digits.
macro_rules! hash {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
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
                parse_hash(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| {
                    serde::de::Error::custom("hash is not 64 lower-case hexadecimal digits")
                })
            }
        }
    };
}

hash! {
    /// A hash of the audit chain: a SHA-256 value, displayed as 64 lower-case hexadecimal digits.
    ChainHash
}

hash! {
    /// The hash of a record as a store holds it: a SHA-256 value, displayed as [`ChainHash`].
    ///
    /// It covers every field, the digest of the secret included, so a record that was changed past
    /// the library no longer fits its event. It reveals nothing of a secret of 184 random bits.
    RecordHash
}

impl ChainHash {
    /// The hash that the first event follows.
    pub const START: Self = Self([0; 32]);
}

impl RecordHash {
    pub(crate) fn of(item: &Item) -> Self {
        let mut canonical = Canonical::new(*b"kfr1");
        canonical.item(item);
        Self(canonical.hash())
    }
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        // Refuses a sign, which `from_str_radix` takes.
        if !pair.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let pair = core::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}

/// The end of a trail: the revision of the last event and its hash. Kept outside the store, it
/// reveals later that events were removed or rewritten.
///
/// The text form is `REVISION:HASH`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TrailHead {
    /// The revision of the last event; zero if there is none.
    pub revision: Revision,
    /// The hash of the last event; [`ChainHash::START`] if there is none.
    pub hash: ChainHash,
}

impl TrailHead {
    /// The head of an empty trail.
    pub const START: Self = Self {
        revision: Revision::ZERO,
        hash: ChainHash::START,
    };

    /// Verifies that `event` is the next one, and moves on to it.
    ///
    /// # Errors
    ///
    /// [`ChainError`] if its revision is not the next one or its hash does not follow.
    pub fn advance(&mut self, event: &AuditEvent) -> Result<(), ChainError> {
        if event.revision != self.revision.next() {
            return Err(ChainError {
                revision: event.revision,
            });
        }
        self.hash = AuditEvent::verify(self.hash, [event])?;
        self.revision = event.revision;
        Ok(())
    }
}

impl fmt::Display for TrailHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.revision, self.hash)
    }
}

impl FromStr for TrailHead {
    type Err = TrailHeadError;

    fn from_str(text: &str) -> Result<Self, TrailHeadError> {
        let (revision, hash) = text.split_once(':').ok_or(TrailHeadError)?;
        let head = Self {
            revision: Revision::new(revision.parse().map_err(|_| TrailHeadError)?),
            hash: ChainHash::parse(hash).ok_or(TrailHeadError)?,
        };
        if alloc::string::ToString::to_string(&head) == text {
            Ok(head)
        } else {
            Err(TrailHeadError)
        }
    }
}

/// A text is not the head of a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be REVISION:HASH, a number and 64 lower-case hexadecimal digits")]
pub struct TrailHeadError;

/// The audit trail was tampered with or has a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit trail breaks at revision {revision}")]
pub struct ChainError {
    /// The revision of the first event that does not follow from its predecessor.
    pub revision: Revision,
}

/// SHA-256 over the tag `kfa1`, the preceding hash and every field of the event, in the order of
/// their declaration. Each field has a length prefix, so that no two events have the same bytes.
fn chain(entry: &AuditEntry, revision: Revision, before: ChainHash) -> ChainHash {
    let AuditEntry {
        at,
        actor,
        action,
        team,
        namespace,
        owner,
        credential,
        reason,
        request_id,
        changes,
        replaces,
        record,
    } = entry;
    let mut canonical = Canonical::new(*b"kfa1");
    canonical.bytes(&before.0);
    canonical.number(revision.get());
    canonical.moment(*at);
    canonical.actor(actor);
    canonical.text(action.as_str());
    canonical.shown(team.as_ref());
    canonical.shown(namespace.as_ref());
    canonical.owner(owner.as_ref());
    canonical.shown(credential.as_ref());
    canonical.shown(reason.as_ref());
    canonical.shown(request_id.as_ref());
    canonical.length(changes.len());
    for FieldChange { field, old, new } in changes {
        canonical.text(field.as_str());
        canonical.value(old.as_ref());
        canonical.value(new.as_ref());
    }
    canonical.shown(replaces.as_ref());
    canonical.shown(record.as_ref());
    ChainHash(canonical.hash())
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
    fn every_part_of_a_change_is_hashed() {
        let context = Context::new(Actor::system(), Timestamp::UNIX_EPOCH);
        let text = |text: &str| Some(Value::Text(text.into()));
        let change = |field, old, new| FieldChange { field, old, new };
        let list = |texts: &[&str]| {
            let texts = texts.iter().map(|text| alloc::string::String::from(*text));
            Some(Value::List(texts.collect()))
        };
        let variants = [
            alloc::vec![],
            alloc::vec![change(Field::Name, None, text("a"))],
            alloc::vec![change(Field::Name, text("a"), None)],
            alloc::vec![change(Field::Subject, None, text("a"))],
            alloc::vec![change(Field::Name, None, text("b"))],
            alloc::vec![change(Field::Name, None, text(""))],
            alloc::vec![change(Field::Name, None, list(&[]))],
            alloc::vec![change(Field::Name, None, list(&["a", "b"]))],
            alloc::vec![change(Field::Name, None, list(&["ab"]))],
            alloc::vec![change(Field::Name, None, list(&["ab", ""]))],
            alloc::vec![change(Field::Name, None, Some(Value::Number(1)))],
            alloc::vec![change(Field::Name, None, Some(Value::Flag(true)))],
            alloc::vec![
                change(Field::Name, None, text("a")),
                change(Field::Name, None, text("a")),
            ],
        ];
        let mut hashes: Vec<[u8; 32]> = variants
            .into_iter()
            .map(|changes| AuditEntry {
                changes,
                ..AuditEntry::new(Action::KeyUpdated, &context)
            })
            .chain([
                AuditEntry {
                    replaces: Some(Revision::new(1)),
                    ..AuditEntry::new(Action::KeyUpdated, &context)
                },
                AuditEntry {
                    record: Some(RecordHash::default()),
                    ..AuditEntry::new(Action::KeyUpdated, &context)
                },
            ])
            .map(|entry| chain(&entry, Revision::ZERO, ChainHash::START).0)
            .collect();
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }

    #[test]
    fn a_trail_advances_by_one_revision() {
        let events = trail(3);
        let mut head = TrailHead::START;
        assert_eq!(
            head.advance(&events[1]),
            Err(ChainError {
                revision: Revision::new(2)
            })
        );
        for event in &events {
            head.advance(event).unwrap();
        }
        assert_eq!(head.hash, events[2].hash);
        assert_eq!(alloc::format!("{head}").parse(), Ok(head));
        // The chain alone does not forbid a gap.
        let skipping = AuditEvent::chained(events[0].entry.clone(), Revision::new(9), head.hash);
        assert!(head.advance(&skipping).is_err());
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
