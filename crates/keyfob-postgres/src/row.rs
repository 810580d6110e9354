//! What the columns of a row say.

use std::error::Error;

use keyfob::{
    Actor, KeyId, Owner, Tenant, Timestamp,
    audit::{Action, AuditEntry, AuditEvent, ChainHash},
    gateway::Usage,
    key::{CredentialId, KeyDigest},
    legacy::{LegacyId, LegacyRecord},
    manage::{Revocation, Status},
    name::{KeyName, NamespaceId, Reason, RequestId, ServiceId, TeamId, UserId},
    store::{Cutoff, Item, KeyRecord, NamespaceRecord, PreviousSecret, Revision, Target},
};
use serde::de::DeserializeOwned;
use tokio_postgres::{
    Row,
    types::{FromSql, Json},
};

use crate::DatabaseError;

pub(crate) type Result<T> = std::result::Result<T, DatabaseError>;

/// The columns of a row, read from the left.
pub(crate) struct Columns<'a> {
    row: &'a Row,
    at: usize,
}

impl<'a> Columns<'a> {
    pub(crate) fn of(row: &'a Row) -> Self {
        Self { row, at: 0 }
    }

    pub(crate) fn next<T: FromSql<'a>>(&mut self) -> Result<T> {
        let value = self.row.try_get(self.at);
        self.at += 1;
        value.map_err(|fault| self.unfit(fault))
    }

    /// That the column that was read last does not hold what it should.
    fn unfit(&self, why: impl Into<Box<dyn Error + Send + Sync>>) -> DatabaseError {
        let columns = self.row.columns();
        let column = columns.get(self.at.saturating_sub(1));
        DatabaseError::unfit(column.map_or("?", |column| column.name()), why)
    }

    fn text<T, E>(&mut self, parse: impl FnOnce(&str) -> std::result::Result<T, E>) -> Result<T>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let text: &str = self.next()?;
        parse(text).map_err(|fault| self.unfit(fault))
    }

    fn text_or_null<T, E>(
        &mut self,
        parse: impl FnOnce(&str) -> std::result::Result<T, E>,
    ) -> Result<Option<T>>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let text: Option<&str> = self.next()?;
        text.map(parse)
            .transpose()
            .map_err(|fault| self.unfit(fault))
    }

    pub(crate) fn json<T: DeserializeOwned>(&mut self) -> Result<T> {
        self.next().map(|Json(value)| value)
    }

    pub(crate) fn json_or_null<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let json: Option<Json<T>> = self.next()?;
        Ok(json.map(|Json(value)| value))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes: &[u8] = self.next()?;
        bytes
            .try_into()
            .map_err(|fault: std::array::TryFromSliceError| self.unfit(fault))
    }

    pub(crate) fn revision(&mut self) -> Result<Revision> {
        self.count().map(Revision::new)
    }

    pub(crate) fn count(&mut self) -> Result<u64> {
        let count: i64 = self.next()?;
        u64::try_from(count).map_err(|fault| self.unfit(fault))
    }

    fn time(&mut self) -> Result<Timestamp> {
        self.next().map(Timestamp::from_unix)
    }

    fn time_or_null(&mut self) -> Result<Option<Timestamp>> {
        let time: Option<i64> = self.next()?;
        Ok(time.map(Timestamp::from_unix))
    }

    pub(crate) fn hash(&mut self) -> Result<ChainHash> {
        self.bytes().map(ChainHash::from_bytes)
    }

    pub(crate) fn attempt(&mut self) -> Result<[u8; 16]> {
        self.bytes()
    }

    pub(crate) fn key_id(&mut self) -> Result<KeyId> {
        self.bytes().map(KeyId::from_bytes)
    }

    pub(crate) fn team(&mut self) -> Result<TeamId> {
        self.text(TeamId::new)
    }

    fn tenant(&mut self) -> Result<Tenant> {
        let team = self.team()?;
        Ok(Tenant::new(team, self.text(NamespaceId::new)?))
    }

    fn owner_or_null(&mut self) -> Result<Option<Owner>> {
        match self.text_or_null(OwnerKind::parse)? {
            Some(kind) => self.text(|name| kind.owner(name)).map(Some),
            None => self.next::<Option<&str>>().map(|_| None),
        }
    }

    fn owner(&mut self) -> Result<Owner> {
        let owner = self.owner_or_null()?;
        owner.ok_or_else(|| self.unfit("is missing"))
    }

    fn credential_or_null(&mut self) -> Result<Option<CredentialId>> {
        let kind: Option<&str> = self.next()?;
        match kind {
            Some("key") => self.key_id().map(|id| Some(CredentialId::Key(id))),
            Some("legacy") => {
                let id = self.bytes().map(LegacyId::from_bytes)?;
                Ok(Some(CredentialId::Legacy(id)))
            }
            Some(_) => Err(self.unfit("is no kind of credential")),
            None => self.next::<Option<&[u8]>>().map(|_| None),
        }
    }

    /// A key as it was written.
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

    /// A key as it reads behind the cutoffs that come after it.
    pub(crate) fn key_behind(&mut self) -> Result<KeyRecord> {
        let record = self.key()?;
        let cuts = self.cuts(record.targets())?;
        Ok(record.with_cutoffs(&cuts))
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
            _ => Err(self.unfit("is missing")),
        }
    }

    fn status(&mut self) -> Result<Status> {
        let status: &str = self.next()?;
        let revocation: Option<Revocation> = self.json_or_null()?;
        match (status, revocation) {
            ("active", None) => Ok(Status::Active),
            ("disabled", None) => Ok(Status::Disabled),
            ("revoked", Some(revocation)) => Ok(Status::Revoked(revocation)),
            _ => Err(self.unfit("is no status")),
        }
    }

    /// A legacy credential as it was written.
    pub(crate) fn legacy(&mut self) -> Result<LegacyRecord> {
        Ok(LegacyRecord {
            id: self.bytes().map(LegacyId::from_bytes)?,
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

    /// A legacy credential as it reads behind the cutoffs that come after it.
    pub(crate) fn legacy_behind(&mut self) -> Result<LegacyRecord> {
        let record = self.legacy()?;
        let cuts = self.cuts(record.targets())?;
        Ok(record.with_cutoffs(&cuts))
    }

    /// The cutoffs of these targets, of those that were ever cut.
    fn cuts<const N: usize>(&mut self, targets: [Target; N]) -> Result<Vec<Cutoff>> {
        let cuts = targets
            .into_iter()
            .map(|target| self.cutoff_or_null(target));
        cuts.filter_map(Result::transpose).collect()
    }

    fn cutoff_or_null(&mut self, target: Target) -> Result<Option<Cutoff>> {
        let cut: Option<i64> = self.next()?;
        if cut.is_none() {
            self.at += 3;
            return Ok(None);
        }
        self.at -= 1;
        self.cutoff_of(target).map(Some)
    }

    fn cutoff_of(&mut self, target: Target) -> Result<Cutoff> {
        Ok(Cutoff {
            target,
            up_to: self.revision()?,
            blocked: self.next()?,
            revocation: self.json()?,
            revision: self.revision()?,
        })
    }

    /// A cutoff with its target.
    pub(crate) fn cutoff(&mut self) -> Result<Cutoff> {
        let target = self.target()?;
        self.cutoff_of(target)
    }

    fn target(&mut self) -> Result<Target> {
        let team = self.team()?;
        let kind: &str = self.next()?;
        match kind {
            "team" => self.next::<&str>().map(|_| Target::Team(team)),
            "namespace" => {
                let namespace = self.text(NamespaceId::new)?;
                Ok(Target::Namespace(Tenant::new(team, namespace)))
            }
            kind => {
                let kind = OwnerKind::parse(kind).map_err(|fault| self.unfit(fault))?;
                let owner = self.text(|name| kind.owner(name))?;
                Ok(Target::Owner(team, owner))
            }
        }
    }

    pub(crate) fn namespace(&mut self) -> Result<NamespaceRecord> {
        Ok(NamespaceRecord {
            tenant: self.tenant()?,
            created_at: self.time()?,
            removed: self.next()?,
            created_revision: self.revision()?,
        })
    }

    /// A policy with its place.
    pub(crate) fn policy(&mut self) -> Result<Item> {
        let kind: &str = self.next()?;
        let place = self.text(|text| match text {
            "" => Ok(None),
            namespace => NamespaceId::new(namespace).map(Some),
        })?;
        match kind {
            "keys" => Ok(Item::Policy(place, self.json_or_null()?)),
            "legacy" => Ok(Item::LegacyPolicy(place, self.json_or_null()?)),
            _ => Err(self.unfit("is no kind of policy")),
        }
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

    pub(crate) fn usage(&mut self) -> Result<Usage> {
        let credential = self.credential_or_null()?;
        Ok(Usage {
            credential: credential.ok_or_else(|| self.unfit("is missing"))?,
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

    fn parse(text: &str) -> std::result::Result<Self, &'static str> {
        match text {
            "user" => Ok(Self::User),
            "service" => Ok(Self::Service),
            _ => Err("is no kind of owner"),
        }
    }

    fn owner(self, name: &str) -> std::result::Result<Owner, keyfob::name::NameError> {
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

/// A text as a column, or none.
pub(crate) fn text(text: Option<&impl AsRef<str>>) -> Option<&str> {
    text.map(AsRef::as_ref)
}

/// A number as a column; one that no store will reach is as good as the last.
pub(crate) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn action(text: &str) -> serde_json::Result<Action> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
}
