//! Rows as what they stand for.

use std::{error::Error, fmt};

use keyfob::{
    Actor, KeyId, Owner, Tenant, Timestamp,
    audit::{Action, AuditEntry, AuditEvent, ChainHash},
    gateway::Usage,
    key::{CredentialId, KeyDigest, KeyFormat},
    legacy::{LegacyId, LegacyRecord},
    manage::{Revocation, Status},
    name::{KeyName, NameError, NamespaceId, Reason, RequestId, ServiceId, TeamId, UserId},
    store::{Cutoff, Item, KeyRecord, NamespaceRecord, PreviousSecret, Revision, Target},
};
use rusqlite::{Row, types::Type};
use serde_json::Value;

/// Reads a row's columns one after the other.
pub(crate) struct Columns<'a> {
    row: &'a Row<'a>,
    at: usize,
}

type Result<T> = rusqlite::Result<T>;

impl<'a> Columns<'a> {
    pub(crate) fn of(row: &'a Row<'a>) -> Self {
        Self { row, at: 0 }
    }

    fn next<T: rusqlite::types::FromSql>(&mut self) -> Result<T> {
        let at = self.at;
        self.at += 1;
        self.row.get(at)
    }

    fn fault(&self, kind: Type, fault: impl Into<Box<dyn Error + Send + Sync>>) -> rusqlite::Error {
        let at = self.at.saturating_sub(1);
        rusqlite::Error::FromSqlConversionFailure(at, kind, fault.into())
    }

    fn text_or_null<T, E: Error + Send + Sync + 'static>(
        &mut self,
        read: impl FnOnce(&str) -> std::result::Result<T, E>,
    ) -> Result<Option<T>> {
        let at = self.at;
        self.at += 1;
        let text = self.row.get_ref(at)?.as_str_or_null()?;
        text.map(|text| read(text).map_err(|fault| self.fault(Type::Text, fault)))
            .transpose()
    }

    fn text<T, E: Error + Send + Sync + 'static>(
        &mut self,
        read: impl FnOnce(&str) -> std::result::Result<T, E>,
    ) -> Result<T> {
        let read = self.text_or_null(read)?;
        read.ok_or_else(|| self.fault(Type::Null, Unfit("is missing")))
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T> {
        self.text(|text| serde_json::from_str(text))
    }

    fn json_or_null<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>> {
        self.text_or_null(|text| serde_json::from_str(text))
    }

    pub(crate) fn revision(&mut self) -> Result<Revision> {
        let revision: i64 = self.next()?;
        u64::try_from(revision)
            .map(Revision::new)
            .map_err(|fault| self.fault(Type::Integer, fault))
    }

    fn count(&mut self) -> Result<u64> {
        let count: i64 = self.next()?;
        u64::try_from(count).map_err(|fault| self.fault(Type::Integer, fault))
    }

    fn time(&mut self) -> Result<Timestamp> {
        Ok(Timestamp::from_unix(self.next()?))
    }

    fn time_or_null(&mut self) -> Result<Option<Timestamp>> {
        Ok(self.next::<Option<i64>>()?.map(Timestamp::from_unix))
    }

    pub(crate) fn hash(&mut self) -> Result<ChainHash> {
        Ok(ChainHash::from_bytes(self.next()?))
    }

    pub(crate) fn key_format(&mut self) -> Result<Option<KeyFormat>> {
        self.json_or_null()
    }

    pub(crate) fn key_id(&mut self) -> Result<KeyId> {
        Ok(KeyId::from_bytes(self.next()?))
    }

    pub(crate) fn team(&mut self) -> Result<TeamId> {
        self.text(TeamId::new)
    }

    fn tenant(&mut self) -> Result<Tenant> {
        let team = self.team()?;
        Ok(Tenant::new(team, self.text(NamespaceId::new)?))
    }

    fn owner_or_null(&mut self) -> Result<Option<Owner>> {
        let kind: Option<OwnerKind> = self.text_or_null(OwnerKind::parse)?;
        match kind {
            Some(kind) => self.text(|name| kind.owner(name)).map(Some),
            None => self.next::<Option<String>>().map(|_| None),
        }
    }

    fn owner(&mut self) -> Result<Owner> {
        let owner = self.owner_or_null()?;
        owner.ok_or_else(|| self.fault(Type::Null, Unfit("is missing")))
    }

    fn credential_or_null(&mut self) -> Result<Option<CredentialId>> {
        let kind: Option<String> = self.next()?;
        let id: Option<[u8; 16]> = self.next()?;
        match (kind.as_deref(), id) {
            (Some("key"), Some(id)) => Ok(Some(CredentialId::Key(KeyId::from_bytes(id)))),
            (Some("legacy"), Some(id)) => Ok(Some(CredentialId::Legacy(LegacyId::from_bytes(id)))),
            (None, None) => Ok(None),
            _ => Err(self.fault(Type::Text, Unfit("is no kind of credential"))),
        }
    }

    pub(crate) fn key(&mut self) -> Result<KeyRecord> {
        Ok(KeyRecord {
            id: self.key_id()?,
            tenant: self.tenant()?,
            owner: self.owner()?,
            name: self.text(KeyName::new)?,
            labels: self.json()?,
            scopes: self.json()?,
            digest: self.text(KeyDigest::from_text)?,
            previous: self.previous()?,
            created_at: self.time()?,
            created_by: self.json()?,
            updated_at: self.time()?,
            issued_at: self.time()?,
            not_before: self.time_or_null()?,
            expires_at: self.time_or_null()?,
            status: self.status()?,
            created_revision: self.revision()?,
            revision: self.revision()?,
        })
    }

    fn previous(&mut self) -> Result<Option<PreviousSecret>> {
        let digest = self.text_or_null(KeyDigest::from_text)?;
        let (issued_at, until) = (self.time_or_null()?, self.time_or_null()?);
        match (digest, issued_at, until) {
            (Some(digest), Some(issued_at), Some(until)) => Ok(Some(PreviousSecret {
                digest,
                issued_at,
                until,
            })),
            (None, None, None) => Ok(None),
            _ => Err(self.fault(Type::Null, Unfit("is missing"))),
        }
    }

    fn status(&mut self) -> Result<Status> {
        let status: String = self.next()?;
        let revocation: Option<Revocation> = self.json_or_null()?;
        match (status.as_str(), revocation) {
            ("active", None) => Ok(Status::Active),
            ("disabled", None) => Ok(Status::Disabled),
            ("revoked", Some(revocation)) => Ok(Status::Revoked(revocation)),
            _ => Err(self.fault(Type::Text, Unfit("is no status"))),
        }
    }

    pub(crate) fn legacy(&mut self) -> Result<LegacyRecord> {
        Ok(LegacyRecord {
            id: LegacyId::from_bytes(self.next()?),
            tenant: self.tenant()?,
            subject: self.text(UserId::new)?,
            digest: self.text(KeyDigest::from_text)?,
            blocked: self.next()?,
            imported_at: self.time()?,
            imported_by: self.json()?,
            revoked: self.json_or_null()?,
            created_revision: self.revision()?,
            revision: self.revision()?,
        })
    }

    pub(crate) fn namespace(&mut self) -> Result<NamespaceRecord> {
        Ok(NamespaceRecord {
            tenant: self.tenant()?,
            created_at: self.time()?,
            removed: false,
            created_revision: self.revision()?,
        })
    }

    /// A cutoff of a target that is known.
    pub(crate) fn cutoff(&mut self, target: Target) -> Result<Cutoff> {
        Ok(Cutoff {
            target,
            up_to: self.revision()?,
            blocked: self.next()?,
            revocation: self.json()?,
            revision: self.revision()?,
        })
    }

    /// A cutoff with its target behind it.
    pub(crate) fn cutoff_and_target(&mut self) -> Result<Cutoff> {
        let mut target = Self {
            row: self.row,
            at: 4,
        };
        let target = target.target()?;
        self.cutoff(target)
    }

    fn target(&mut self) -> Result<Target> {
        let team = self.team()?;
        let kind: String = self.next()?;
        Ok(match kind.as_str() {
            "team" => Target::Team(team),
            "namespace" => Target::Namespace(Tenant::new(team, self.text(NamespaceId::new)?)),
            kind => {
                let kind = OwnerKind::parse(kind).map_err(|fault| self.fault(Type::Text, fault))?;
                Target::Owner(team, self.text(|name| kind.owner(name))?)
            }
        })
    }

    /// A policy with its place.
    pub(crate) fn policy(&mut self) -> Result<Item> {
        let kind: String = self.next()?;
        let place = self.text(|text| match text {
            "" => Ok(None),
            namespace => NamespaceId::new(namespace).map(Some),
        })?;
        match kind.as_str() {
            "keys" => Ok(Item::Policy(place, self.json_or_null()?)),
            "legacy" => Ok(Item::LegacyPolicy(place, self.json_or_null()?)),
            _ => Err(self.fault(Type::Text, Unfit("is no kind of policy"))),
        }
    }

    /// The policy alone.
    pub(crate) fn policy_or_null<P: serde::de::DeserializeOwned>(&mut self) -> Result<Option<P>> {
        self.json_or_null()
    }

    pub(crate) fn event(&mut self) -> Result<AuditEvent> {
        Ok(AuditEvent {
            revision: self.revision()?,
            entry: AuditEntry {
                at: self.time()?,
                actor: Actor {
                    owner: self.owner_or_null()?,
                    credential: self.json_or_null()?,
                },
                action: self.text(action)?,
                team: self.text_or_null(TeamId::new)?,
                namespace: self.text_or_null(NamespaceId::new)?,
                owner: self.owner_or_null()?,
                credential: self.credential_or_null()?,
                reason: self.text_or_null(Reason::new)?,
                request_id: self.text_or_null(RequestId::new)?,
            },
            hash: self.hash()?,
        })
    }

    pub(crate) fn usage(&mut self, credential: CredentialId) -> Result<Usage> {
        Ok(Usage {
            credential,
            last_used: self.time_or_null()?,
            accepted: self.count()?,
            refused: self.count()?,
        })
    }
}

/// What a column for the kind of an owner says.
#[derive(Clone, Copy)]
pub(crate) enum OwnerKind {
    User,
    Service,
}

impl OwnerKind {
    pub(crate) fn of(owner: &Owner) -> Self {
        match owner {
            Owner::User(_) => Self::User,
            Owner::Service(_) => Self::Service,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
        }
    }

    fn parse(text: &str) -> std::result::Result<Self, Unfit> {
        match text {
            "user" => Ok(Self::User),
            "service" => Ok(Self::Service),
            _ => Err(Unfit("is no kind of owner")),
        }
    }

    fn owner(self, name: &str) -> std::result::Result<Owner, NameError> {
        match self {
            Self::User => UserId::new(name).map(Owner::User),
            Self::Service => ServiceId::new(name).map(Owner::Service),
        }
    }
}

/// A credential as its two columns.
pub(crate) fn credential(id: CredentialId) -> Option<(&'static str, [u8; 16])> {
    match id {
        CredentialId::Key(id) => Some(("key", id.to_bytes())),
        CredentialId::Legacy(id) => Some(("legacy", id.to_bytes())),
        _ => None,
    }
}

/// A target as its two columns beside the team.
pub(crate) fn target(target: &Target) -> (&'static str, &str) {
    match target {
        Target::Team(_) => ("team", ""),
        Target::Namespace(tenant) => ("namespace", tenant.namespace.as_str()),
        Target::Owner(_, owner) => (OwnerKind::of(owner).as_str(), owner.as_str()),
    }
}

/// A revision as a column; one that no store will reach is as good as the last.
pub(crate) fn number(revision: Revision) -> i64 {
    i64::try_from(revision.get()).unwrap_or(i64::MAX)
}

fn action(text: &str) -> std::result::Result<Action, serde_json::Error> {
    serde_json::from_value(Value::String(text.to_owned()))
}

/// A column does not hold what it should.
#[derive(Debug)]
struct Unfit(&'static str);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Unfit {}
