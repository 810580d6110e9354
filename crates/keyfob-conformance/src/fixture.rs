//! What the behaviours are played with: people, keys, commits and their checks.

use std::time::Duration;

use keyfob::{
    Actor, Context, IssuedKey, KeyInfo, KeyStore, NewKey, Owner, Tenant, Timestamp,
    audit::{Action, AuditEntry},
    key::{KeyDigest, KeyFormat, Peppers, Random, SystemRandom},
    legacy::{LegacyId, LegacyRecord, PresentedLegacy},
    manage::{Authority, Policy, Revocation, RevocationCause, Rotation, Status},
    name::{KeyName, NamespaceId, Reason, ServiceId, TeamId, UserId},
    store::{
        Change, Commit, CommitError, Conflict, KeyRecord, Limits, Revision, StoreError, Target,
    },
};

/// The time at which everything happens, unless a behaviour says otherwise.
pub(crate) const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

pub(crate) fn later(seconds: u64) -> Timestamp {
    NOW.plus_seconds(seconds)
}

pub(crate) fn format() -> KeyFormat {
    KeyFormat::new("dof").expect("the prefix is valid")
}

pub(crate) fn tenant(team: &str, namespace: &str) -> Tenant {
    Tenant::new(
        TeamId::new(team).expect("the team is valid"),
        NamespaceId::new(namespace).expect("the namespace is valid"),
    )
}

/// The namespace that keys are for, unless a behaviour says otherwise.
pub(crate) fn home() -> Tenant {
    tenant("acme", "fn-1")
}

pub(crate) fn user(name: &str) -> Owner {
    Owner::User(UserId::new(name).expect("the user is valid"))
}

pub(crate) fn service(name: &str) -> Owner {
    Owner::Service(ServiceId::new(name).expect("the service is valid"))
}

pub(crate) fn name(name: &str) -> KeyName {
    KeyName::new(name).expect("the name is valid")
}

/// A person's or service's part in the home team.
pub(crate) fn part_of(owner: Owner) -> Target {
    Target::Owner(home().team, owner)
}

/// The administrator acts at `at`.
pub(crate) fn context(at: Timestamp) -> Context {
    let admin = UserId::new("admin").expect("the user is valid");
    let reason = Reason::new("left on Friday").expect("the reason is valid");
    Context::new(Actor::user(admin), at).with_reason(reason)
}

pub(crate) fn revocation(at: Timestamp, cause: RevocationCause) -> Revocation {
    let context = context(at);
    Revocation {
        at,
        by: context.actor,
        cause,
        reason: context.reason,
    }
}

/// A key with its plain text.
pub(crate) struct Key {
    pub(crate) record: KeyRecord,
    pub(crate) secret: IssuedKey,
}

/// Alice's key for the home namespace; no store has it yet.
pub(crate) fn key(called: &str) -> Key {
    key_under(called, &Peppers::none())
}

pub(crate) fn key_under(called: &str, peppers: &Peppers) -> Key {
    issue(called, peppers, &SystemRandom)
}

/// The same with an identifier and a secret by these random numbers.
pub(crate) fn key_by(called: &str, random: &dyn Random) -> Key {
    issue(called, &Peppers::none(), random)
}

fn issue(called: &str, peppers: &Peppers, random: &dyn Random) -> Key {
    let new = NewKey::new(home(), user("alice"), name(called));
    let (record, secret) = new
        .issue(
            &context(NOW),
            &Policy::default(),
            &format(),
            peppers,
            random,
        )
        .expect("the key can be issued");
    Key { record, secret }
}

impl Key {
    pub(crate) fn of(self, owner: Owner) -> Self {
        self.with(|record| record.owner = owner)
    }

    pub(crate) fn within(self, tenant: &Tenant) -> Self {
        self.with(|record| record.tenant = tenant.clone())
    }

    pub(crate) fn until(self, end: Timestamp) -> Self {
        self.with(|record| record.expires_at = Some(end))
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut KeyRecord)) -> Self {
        change(&mut self.record);
        self
    }

    pub(crate) fn text(&self) -> &str {
        self.secret.expose()
    }

    /// The change that creates the key, without limits on names and numbers.
    pub(crate) fn creation(&self) -> Change {
        self.creation_within(Limits::default())
    }

    pub(crate) fn creation_within(&self, limits: Limits) -> Change {
        Change::CreateKey {
            record: self.record.clone(),
            limits,
        }
    }

    /// Keeps the key in `store`; the record then has the revision that the store answered.
    pub(crate) async fn create(mut self, store: &dyn KeyStore) -> Self {
        let revision = kept(store, self.creation()).await;
        self.record.created_revision = revision;
        self.record.revision = revision;
        self
    }

    /// The key under a new secret, the old one working for `grace_seconds`.
    pub(crate) fn rotated(&self, grace_seconds: u64, at: Timestamp) -> Self {
        self.rotated_by(grace_seconds, at, &SystemRandom)
    }

    pub(crate) fn rotated_by(
        &self,
        grace_seconds: u64,
        at: Timestamp,
        random: &dyn Random,
    ) -> Self {
        let rotation = Rotation::new().with_grace(Duration::from_secs(grace_seconds));
        let (record, secret) = self
            .record
            .clone()
            .rotated(
                &rotation,
                &context(at),
                &Policy::default(),
                &format(),
                &Peppers::none(),
                random,
            )
            .expect("the key can be rotated");
        Self { record, secret }
    }

    pub(crate) fn revoked(&self, at: Timestamp) -> KeyRecord {
        self.record
            .clone()
            .revoked(&context(at))
            .expect("the key is not revoked yet")
    }
}

/// A legacy credential with its plain text.
pub(crate) struct Legacy {
    pub(crate) record: LegacyRecord,
    pub(crate) text: String,
}

/// A legacy credential for the home namespace; no store has it yet.
pub(crate) fn legacy(subject: &str) -> Legacy {
    legacy_under(subject, &Peppers::none())
}

pub(crate) fn legacy_under(subject: &str, peppers: &Peppers) -> Legacy {
    let mut random = [0; 80];
    SystemRandom
        .fill(&mut random)
        .expect("the system has randomness");
    let (uuid, rest) = random
        .split_first_chunk::<16>()
        .expect("there are 80 bytes");
    let digit = |byte: &u8| char::from_digit(u32::from(*byte % 36), 36);
    let digits: String = rest.iter().filter_map(digit).collect();
    let text = format!("{}:{digits}", LegacyId::from_bytes(*uuid));
    let presented = PresentedLegacy::parse(text.as_bytes()).expect("the text has the shape");
    let record = LegacyRecord {
        id: presented.id(),
        tenant: home(),
        subject: UserId::new(subject).expect("the subject is valid"),
        digest: KeyDigest::of_legacy(&presented, peppers),
        blocked: false,
        imported_at: NOW,
        imported_by: context(NOW).actor,
        revoked: None,
        created_revision: Revision::ZERO,
        revision: Revision::ZERO,
    };
    Legacy { record, text }
}

impl Legacy {
    pub(crate) fn within(mut self, tenant: &Tenant) -> Self {
        self.record.tenant = tenant.clone();
        self
    }

    pub(crate) fn import(&self) -> Change {
        Change::ImportLegacy {
            record: self.record.clone(),
        }
    }

    /// Keeps the credential in `store`; the record then has the revision that it answered.
    pub(crate) async fn create(mut self, store: &dyn KeyStore) -> Self {
        let revision = kept(store, self.import()).await;
        self.record.created_revision = revision;
        self.record.revision = revision;
        self
    }

    pub(crate) fn revoked(&self) -> LegacyRecord {
        LegacyRecord {
            revoked: Some(revocation(NOW, RevocationCause::Key)),
            ..self.record.clone()
        }
    }
}

/// The change that puts `record` in place of the one that it was made from.
pub(crate) fn replacement(record: &KeyRecord) -> Change {
    Change::ReplaceKey {
        record: record.clone(),
        expected: record.revision,
        unique_name: false,
    }
}

pub(crate) fn legacy_replacement(record: &LegacyRecord) -> Change {
    Change::ReplaceLegacy {
        record: record.clone(),
        expected: record.revision,
    }
}

pub(crate) fn deletion(record: &KeyRecord) -> Change {
    Change::DeleteKey {
        tenant: record.tenant.clone(),
        id: record.id,
        expected: None,
    }
}

/// Deletes the key if it is still at the revision of the record.
pub(crate) fn deletion_at_revision(record: &KeyRecord) -> Change {
    Change::DeleteKey {
        tenant: record.tenant.clone(),
        id: record.id,
        expected: Some(record.revision),
    }
}

/// Revokes all that is in a target, known or not, and closes it.
pub(crate) fn removal(target: Target) -> Change {
    Change::Revoke {
        target,
        block: true,
        in_advance: true,
    }
}

/// Revokes all that is in a target, known or not, and leaves it open.
pub(crate) fn cut(target: Target) -> Change {
    Change::Revoke {
        target,
        block: false,
        in_advance: true,
    }
}

/// The same as a change, which must be of a known target if it is a revocation.
pub(crate) fn of_known(change: Change) -> Change {
    match change {
        Change::Revoke { target, block, .. } => Change::Revoke {
            target,
            block,
            in_advance: false,
        },
        change => change,
    }
}

pub(crate) fn opening(target: Target) -> Change {
    Change::Restore { target }
}

/// What the audit trail says of a change.
pub(crate) fn told(change: &Change, at: Timestamp) -> AuditEntry {
    let action = match change {
        Change::CreateKey { .. } => Action::KeyCreated,
        Change::ReplaceKey { record, .. } => match record.status {
            Status::Revoked(_) => Action::KeyRevoked,
            _ => Action::KeyUpdated,
        },
        Change::DeleteKey { .. } => Action::KeyDeleted,
        Change::Revoke { block: true, .. } => Action::Removed,
        Change::Revoke { block: false, .. } => Action::AllRevoked,
        Change::Restore { .. } => Action::Restored,
        Change::ImportLegacy { .. } => Action::LegacyImported,
        Change::ReplaceLegacy { .. } => Action::LegacyRevoked,
        Change::SetPolicy { .. } => Action::PolicySet,
        Change::CreateNamespace { .. } => Action::NamespaceCreated,
        _ => Action::LegacyPolicySet,
    };
    AuditEntry::new(action, &context(at))
}

pub(crate) async fn commit(store: &dyn KeyStore, change: Change) -> Result<Revision, Conflict> {
    commit_at(store, change, NOW).await
}

pub(crate) async fn commit_at(
    store: &dyn KeyStore,
    change: Change,
    at: Timestamp,
) -> Result<Revision, Conflict> {
    let event = told(&change, at);
    commit_telling(store, change, event).await
}

pub(crate) async fn commit_telling(
    store: &dyn KeyStore,
    change: Change,
    event: AuditEntry,
) -> Result<Revision, Conflict> {
    commit_by(store, &Authority::System, change, event).await
}

pub(crate) async fn commit_by(
    store: &dyn KeyStore,
    authority: &Authority,
    change: Change,
    event: AuditEntry,
) -> Result<Revision, Conflict> {
    let authority = authority.clone();
    match store
        .commit(&Commit {
            change,
            authority,
            event,
        })
        .await
    {
        Ok(revision) => Ok(revision),
        Err(CommitError::Conflict(conflict)) => Err(conflict),
        Err(CommitError::Store(error)) => failed(&error),
        Err(error) => panic!("the store failed: {error}"),
    }
}

/// Commits a change whose conditions are fulfilled.
pub(crate) async fn kept(store: &dyn KeyStore, change: Change) -> Revision {
    let what = format!("{change:?}");
    match commit(store, change).await {
        Ok(revision) => revision,
        Err(conflict) => panic!("refused with \"{conflict}\" although allowed: {what}"),
    }
}

/// Creates a namespace unless it exists.
pub(crate) async fn bind(store: &dyn KeyStore, tenant: Option<&Tenant>) {
    if let Some(tenant) = tenant.cloned() {
        let answer = commit(store, Change::CreateNamespace { new: tenant.into() }).await;
        assert!(
            matches!(answer, Ok(_) | Err(Conflict::IdTaken)),
            "{answer:?}"
        );
    }
}

/// What a store answered, which must not fail.
pub(crate) fn sound<T>(answer: Result<T, StoreError>) -> T {
    answer.unwrap_or_else(|error| failed(&error))
}

fn failed(error: &StoreError) -> ! {
    let source = std::error::Error::source(error).map(ToString::to_string);
    panic!("{error}: {}", source.unwrap_or_default())
}

/// Everything that a key's record holds, in a form that can be compared.
pub(crate) type Fields = (
    KeyInfo,
    String,
    Option<(String, Timestamp, Timestamp)>,
    Revision,
);

pub(crate) fn fields(record: &KeyRecord) -> Fields {
    let previous = record.previous.as_ref();
    (
        KeyInfo::from(record),
        record.digest.to_text(),
        previous.map(|old| (old.digest.to_text(), old.issued_at, old.until)),
        record.created_revision,
    )
}
