//! Whether a commit may be kept, and what is written then.

use alloc::{vec, vec::Vec};

use crate::{
    audit::{AuditEvent, ChainHash},
    boundary::{Boundary, Realm},
    credential::CredentialId,
    identity::{Owner, Tenant},
    key_id::KeyId,
    legacy::LegacyRecord,
    name::{KeyName, NamespaceId, TeamId},
    record::KeyRecord,
    revision::Revision,
    store::{Change, Commit, Conflict, Item},
};

/// What a store must find out before a commit can be judged: [`Commit::questions`].
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Questions<'a> {
    /// Which team is this namespace bound to? For [`Facts::team`].
    pub namespace: Option<&'a NamespaceId>,
    /// What is kept under this identifier? For [`Facts::known`].
    pub credential: Option<CredentialId>,
    /// Which of these were ever cut? For [`Facts::boundaries`].
    pub realms: Vec<Realm>,
    /// Is this name free in a namespace? For [`Facts::name_is_taken`].
    pub name: Option<NameQuestion<'a>>,
    /// How many live keys does an owner have in a namespace? For [`Facts::live_keys`].
    pub owner: Option<OwnerQuestion<'a>>,
}

/// Whether a live key of a namespace, other than one, has a name.
///
/// Live is what [`KeyRecord::is_live`] says at the time of the commit's event of a record that is
/// read behind its boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameQuestion<'a> {
    /// The namespace.
    pub namespace: &'a NamespaceId,
    /// The name.
    pub name: &'a KeyName,
    /// The key that may have it.
    pub except: KeyId,
}

/// How many live keys an owner has in a namespace, as [`NameQuestion`] counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnerQuestion<'a> {
    /// The namespace.
    pub namespace: &'a NamespaceId,
    /// The owner.
    pub owner: &'a Owner,
}

/// The answers to [`Questions`], read in the step that will keep the commit.
///
/// What was not asked may be left as [`Facts::default`] has it, but for the head of the log.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Facts {
    /// The revision of the last commit.
    pub head: Revision,
    /// The hash of its audit event.
    pub last_hash: ChainHash,
    /// The team that the namespace is bound to; none if nobody used it yet.
    pub team: Option<TeamId>,
    /// What is kept under the identifier.
    pub known: Known,
    /// The boundaries of those realms that were ever cut.
    pub boundaries: Vec<Boundary>,
    /// Whether the name is taken.
    pub name_is_taken: bool,
    /// How many live keys the owner has.
    pub live_keys: u64,
}

/// What a store keeps under an identifier.
#[derive(Debug, Default)]
pub enum Known {
    /// Nothing, and never did.
    #[default]
    Nothing,
    /// The mark of a key that was deleted.
    Deleted,
    /// A key, of whatever tenant, read behind its boundaries.
    Key(KeyRecord),
    /// A legacy credential, of whatever tenant, read behind its boundaries.
    Legacy(LegacyRecord),
}

/// What a store writes to keep a commit: all of it, together and durably, or nothing.
#[derive(Debug)]
#[non_exhaustive]
pub struct Write {
    /// The new head of the log.
    pub revision: Revision,
    /// The state that takes the place of the one before, and what the change feed tells at
    /// `revision`; none for a change that no reader of the feed needs. With [`Item::KeyDeleted`]
    /// the key's usage goes too.
    pub item: Option<Item>,
    /// The namespace that is bound to its team from now on.
    pub binds: Option<Tenant>,
    /// The event for the audit trail.
    pub event: AuditEvent,
}

impl Commit {
    /// What must be known of a store's state to judge this commit.
    pub fn questions(&self) -> Questions<'_> {
        let namespace = self.change.tenant().map(|tenant| &tenant.namespace);
        match &self.change {
            Change::CreateKey { record, limits } => Questions {
                namespace,
                credential: Some(CredentialId::Key(record.id)),
                realms: record.realms().into(),
                name: limits.unique_name.then(|| NameQuestion::of(record)),
                owner: limits.keys_per_owner.map(|_| OwnerQuestion::of(record)),
            },
            Change::ReplaceKey {
                record,
                unique_name,
                ..
            } => Questions {
                credential: Some(CredentialId::Key(record.id)),
                name: must_be_free(record, *unique_name).then(|| NameQuestion::of(record)),
                ..Questions::default()
            },
            Change::DeleteKey { id, .. } => Questions {
                credential: Some(CredentialId::Key(*id)),
                ..Questions::default()
            },
            Change::CutRealm { realm, .. } | Change::OpenRealm { realm } => Questions {
                namespace,
                realms: vec![realm.clone()],
                ..Questions::default()
            },
            Change::ImportLegacy { record } => Questions {
                namespace,
                credential: Some(CredentialId::Legacy(record.id)),
                realms: record.realms().into(),
                ..Questions::default()
            },
            Change::ReplaceLegacy { record, .. } => Questions {
                credential: Some(CredentialId::Legacy(record.id)),
                ..Questions::default()
            },
            Change::SetPolicy { .. } | Change::SetLegacyPolicy { .. } => Questions {
                namespace,
                ..Questions::default()
            },
            Change::CreateNamespace { tenant } => Questions {
                namespace,
                realms: vec![Realm::Team(tenant.team.clone())],
                ..Questions::default()
            },
        }
    }

    /// Judges this commit by the answers to its [questions](Commit::questions).
    ///
    /// # Errors
    ///
    /// The first condition that is broken, as [`Change`] lists them.
    pub fn judge(&self, facts: &Facts) -> Result<Write, Conflict> {
        let tenant = self.change.tenant();
        facts.judge_tenant(tenant)?;
        let revision = facts.head.next();
        let item = match &self.change {
            Change::CreateKey { record, limits } => {
                facts.judge_unused()?;
                facts.judge_open()?;
                facts.judge_name(limits.unique_name)?;
                facts.judge_number(limits.keys_per_owner)?;
                Some(Item::Key(KeyRecord {
                    born: revision,
                    revision,
                    ..record.clone()
                }))
            }
            Change::ReplaceKey {
                record,
                expected,
                unique_name,
            } => {
                let known = facts.key(&record.tenant)?;
                judge_replacement(known.is_revoked(), known.revision, *expected)?;
                if known.owner != record.owner {
                    return Err(Conflict::OtherOwner);
                }
                facts.judge_name(must_be_free(record, *unique_name))?;
                Some(Item::Key(KeyRecord {
                    born: known.born,
                    revision,
                    ..record.clone()
                }))
            }
            Change::DeleteKey { tenant, id } => {
                facts.key(tenant)?;
                Some(Item::KeyDeleted(*id))
            }
            Change::CutRealm { realm, close } => {
                let closed = *close || facts.boundary(realm).is_some_and(|known| known.closed);
                let boundary = Boundary::new(realm, closed, revision, &self.event);
                Some(Item::Boundary(boundary))
            }
            Change::OpenRealm { realm } => match facts.boundary(realm) {
                Some(boundary) if boundary.closed => {
                    Some(Item::Boundary(boundary.clone().reopened(revision)))
                }
                _ => return Err(Conflict::NotClosed(realm.clone())),
            },
            Change::ImportLegacy { record } => {
                facts.judge_unused()?;
                facts.judge_open()?;
                Some(Item::Legacy(LegacyRecord {
                    born: revision,
                    revision,
                    ..record.clone()
                }))
            }
            Change::ReplaceLegacy { record, expected } => {
                let known = facts.legacy(&record.tenant)?;
                judge_replacement(known.revoked.is_some(), known.revision, *expected)?;
                Some(Item::Legacy(LegacyRecord {
                    born: known.born,
                    revision,
                    ..record.clone()
                }))
            }
            Change::SetPolicy { tenant, policy } => {
                Some(Item::Policy(place(tenant.as_ref()), policy.clone()))
            }
            Change::SetLegacyPolicy { tenant, policy } => {
                let place = place(tenant.as_ref());
                Some(Item::LegacyPolicy(place, policy.clone()))
            }
            Change::CreateNamespace { .. } => {
                if facts.team.is_some() {
                    return Err(Conflict::IdTaken);
                }
                facts.judge_open()?;
                None
            }
        };
        Ok(Write {
            revision,
            item,
            binds: tenant.filter(|_| facts.team.is_none()).cloned(),
            event: AuditEvent::chained(self.event.clone(), revision, facts.last_hash),
        })
    }
}

impl Change {
    /// The namespace that the change uses, which must be free or of this team.
    fn tenant(&self) -> Option<&Tenant> {
        match self {
            Self::CreateKey { record, .. } => Some(&record.tenant),
            Self::ImportLegacy { record } => Some(&record.tenant),
            Self::CreateNamespace { tenant } => Some(tenant),
            Self::CutRealm { realm, .. } | Self::OpenRealm { realm } => match realm {
                Realm::Namespace(tenant) => Some(tenant),
                Realm::Team(_) | Realm::Owner(..) => None,
            },
            Self::SetPolicy { tenant, .. } | Self::SetLegacyPolicy { tenant, .. } => {
                tenant.as_ref()
            }
            // What changes one credential is held to the tenant that the credential is of.
            Self::ReplaceKey { .. } | Self::DeleteKey { .. } | Self::ReplaceLegacy { .. } => None,
        }
    }
}

impl<'a> NameQuestion<'a> {
    fn of(record: &'a KeyRecord) -> Self {
        Self {
            namespace: &record.tenant.namespace,
            name: &record.name,
            except: record.id,
        }
    }
}

impl<'a> OwnerQuestion<'a> {
    fn of(record: &'a KeyRecord) -> Self {
        Self {
            namespace: &record.tenant.namespace,
            owner: &record.owner,
        }
    }
}

impl Facts {
    /// A namespace belongs to the team that used it first.
    fn judge_tenant(&self, tenant: Option<&Tenant>) -> Result<(), Conflict> {
        match (tenant, &self.team) {
            (Some(tenant), Some(team)) if tenant.team != *team => Err(Conflict::ForeignNamespace),
            _ => Ok(()),
        }
    }

    fn judge_unused(&self) -> Result<(), Conflict> {
        match self.known {
            Known::Nothing => Ok(()),
            Known::Deleted | Known::Key(_) | Known::Legacy(_) => Err(Conflict::IdTaken),
        }
    }

    /// Nothing is created in a realm that is closed.
    fn judge_open(&self) -> Result<(), Conflict> {
        match self.boundaries.iter().find(|boundary| boundary.closed) {
            Some(boundary) => Err(Conflict::Closed(boundary.realm.clone())),
            None => Ok(()),
        }
    }

    fn judge_name(&self, must_be_free: bool) -> Result<(), Conflict> {
        if must_be_free && self.name_is_taken {
            return Err(Conflict::NameTaken);
        }
        Ok(())
    }

    fn judge_number(&self, most: Option<u32>) -> Result<(), Conflict> {
        match most {
            Some(most) if self.live_keys >= u64::from(most) => Err(Conflict::TooManyKeys),
            _ => Ok(()),
        }
    }

    fn key(&self, tenant: &Tenant) -> Result<&KeyRecord, Conflict> {
        match &self.known {
            Known::Key(record) if record.tenant == *tenant => Ok(record),
            _ => Err(Conflict::NotFound),
        }
    }

    fn legacy(&self, tenant: &Tenant) -> Result<&LegacyRecord, Conflict> {
        match &self.known {
            Known::Legacy(record) if record.tenant == *tenant => Ok(record),
            _ => Err(Conflict::NotFound),
        }
    }

    fn boundary(&self, realm: &Realm) -> Option<&Boundary> {
        self.boundaries.iter().find(|known| known.realm == *realm)
    }
}

/// Revoked is for ever, and of two who change the same, the second must look again.
fn judge_replacement(revoked: bool, known: Revision, expected: Revision) -> Result<(), Conflict> {
    if revoked {
        return Err(Conflict::Revoked);
    }
    if known != expected {
        return Err(Conflict::Stale);
    }
    Ok(())
}

/// A key that is being revoked needs its name no longer.
fn must_be_free(record: &KeyRecord, unique_name: bool) -> bool {
    unique_name && !record.is_revoked()
}

fn place(tenant: Option<&Tenant>) -> Option<NamespaceId> {
    tenant.map(|tenant| tenant.namespace.clone())
}
