//! The decision on a commit: read set, snapshot, write set.

use alloc::{vec, vec::Vec};

use crate::{
    audit::{Action, AuditEntry, AuditEvent, ChainHash, FieldChange, Fields, RecordHash},
    credential_id::CredentialId,
    cutoff::{Cutoff, Target},
    identity::{Authority, Owner, Tenant},
    key_id::KeyId,
    legacy::{LegacyPolicy, LegacyRecord},
    name::{KeyName, NamespaceId, TeamId},
    policy::Policy,
    record::{EffectiveStatus, KeyRecord},
    revision::Revision,
    store::{ActorFault, Change, Commit, Conflict, Entry, Item, NamespaceRecord},
};

/// What a store must read before a commit can be decided: [`Commit::read_set`].
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ReadSet<'a> {
    /// The namespace whose team to read into [`Snapshot::team`].
    pub namespace: Option<&'a NamespaceId>,
    /// The credential to read into [`Snapshot::existing`].
    pub credential: Option<CredentialId>,
    /// The targets whose cutoffs to read into [`Snapshot::cutoffs`].
    pub targets: Vec<Target>,
    /// The team or owner to look up for [`Snapshot::target_is_known`].
    pub known: Option<&'a Target>,
    /// The name to look up for [`Snapshot::name_is_taken`].
    pub name: Option<NameLookup<'a>>,
    /// The owner whose keys to count for [`Snapshot::live_keys`].
    pub owner: Option<OwnerLookup<'a>>,
    /// The policy to read into [`Snapshot::policy`].
    pub policy: Option<PolicyLookup<'a>>,
    /// The actor's credential, to read into [`Snapshot::actor`]. Read its tenant's policies as
    /// well.
    pub actor: Option<CredentialId>,
}

/// Asks whether an owner has a live key of a name in a namespace.
///
/// A key is live if [`KeyRecord::is_live`] holds at the time of the commit's event, with cutoffs
/// applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameLookup<'a> {
    /// The namespace.
    pub namespace: &'a NamespaceId,
    /// The owner.
    pub owner: &'a Owner,
    /// The name.
    pub name: &'a KeyName,
    /// The key to leave out of the look-up.
    pub except: KeyId,
}

/// Asks how many live keys an owner has in a namespace. Live is defined as for [`NameLookup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnerLookup<'a> {
    /// The namespace.
    pub namespace: &'a NamespaceId,
    /// The owner.
    pub owner: &'a Owner,
}

/// Names a policy that the commit replaces: that of a namespace, or the default one for `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyLookup<'a> {
    /// The policy for keys, an [`Item::Policy`].
    Keys(Option<&'a NamespaceId>),
    /// The policy for legacy credentials, an [`Item::LegacyPolicy`].
    Legacy(Option<&'a NamespaceId>),
}

/// The values of a [`ReadSet`], read in the transaction that stores the commit.
///
/// `last_revision` and `last_hash` are always needed. Fields that the read set does not ask for may
/// keep their default.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// The revision of the last commit.
    pub last_revision: Revision,
    /// The hash of the last commit's audit event.
    pub last_hash: ChainHash,
    /// The team that the namespace is bound to; `None` if it is not bound.
    pub team: Option<TeamId>,
    /// The stored state of the credential.
    pub existing: Existing,
    /// The cutoffs of those targets that have one.
    pub cutoffs: Vec<Cutoff>,
    /// Whether a namespace is bound to the team, or the owner has a key of any status in the
    /// team.
    pub target_is_known: bool,
    /// Whether the name is taken.
    pub name_is_taken: bool,
    /// How many live keys the owner has.
    pub live_keys: u64,
    /// The policy that is replaced, as its entry in the change feed, also if it was removed; `None`
    /// if it was never set.
    pub policy: Option<Entry>,
    /// The stored state of the actor's credential.
    pub actor: Existing,
    /// The policy for keys of the actor's namespace, if the actor is a key.
    pub actor_policy: Policy,
    /// The policy for legacy credentials of the actor's namespace, if the actor is one.
    pub actor_legacy_policy: LegacyPolicy,
}

/// The stored state of an identifier.
#[derive(Debug, Default)]
pub enum Existing {
    /// The identifier was never used.
    #[default]
    Nothing,
    /// The tombstone of a deleted key.
    Deleted,
    /// A key of any tenant, with cutoffs applied.
    Key(KeyRecord),
    /// A legacy credential of any tenant, with cutoffs applied.
    Legacy(LegacyRecord),
}

/// What a store writes for a commit, atomically and durably.
#[derive(Debug)]
#[non_exhaustive]
pub struct WriteSet {
    /// The revision of the commit.
    pub revision: Revision,
    /// The new state of the changed item, which is also its entry in the change feed at `revision`;
    /// `None` for a change that does not appear in the feed. For [`Item::KeyDeleted`], delete the
    /// key's usage too.
    pub item: Option<Item>,
    /// The record of a namespace that the commit binds to its team.
    pub binds: Option<NamespaceRecord>,
    /// The event to append to the audit trail.
    pub event: AuditEvent,
}

impl Commit {
    /// Returns what a store must read to decide this commit.
    pub fn read_set(&self) -> ReadSet<'_> {
        let mut read_set = self.change_read_set();
        match &self.authority {
            Authority::System => {}
            Authority::Owner(_) | Authority::Member(..) => {
                read_set.targets.extend(self.actor_target());
            }
            Authority::Credential { id, .. } => read_set.actor = Some(*id),
        }
        read_set
    }

    /// The part of the read set that the change needs.
    fn change_read_set(&self) -> ReadSet<'_> {
        let namespace = self.change.tenant().map(|tenant| &tenant.namespace);
        match &self.change {
            Change::CreateKey { record, limits } => ReadSet {
                namespace,
                credential: Some(CredentialId::Key(record.id)),
                targets: self.change.creates_in(),
                name: limits.unique_name.then(|| NameLookup::of(record)),
                owner: limits.keys_per_owner.map(|_| OwnerLookup::of(record)),
                ..ReadSet::default()
            },
            Change::ReplaceKey {
                record,
                unique_name,
                ..
            } => ReadSet {
                credential: Some(CredentialId::Key(record.id)),
                name: must_be_free(record, *unique_name).then(|| NameLookup::of(record)),
                ..ReadSet::default()
            },
            Change::DeleteKey { id, .. } => ReadSet {
                credential: Some(CredentialId::Key(*id)),
                ..ReadSet::default()
            },
            Change::Revoke {
                target, in_advance, ..
            } => ReadSet {
                namespace,
                targets: vec![target.clone()],
                known: match target {
                    Target::Team(_) | Target::Owner(..) if !in_advance => Some(target),
                    _ => None,
                },
                ..ReadSet::default()
            },
            Change::Restore { target } => ReadSet {
                namespace,
                targets: vec![target.clone()],
                ..ReadSet::default()
            },
            Change::ImportLegacy { record } => ReadSet {
                namespace,
                credential: Some(CredentialId::Legacy(record.id)),
                targets: self.change.creates_in(),
                ..ReadSet::default()
            },
            Change::ReplaceLegacy { record, .. } => ReadSet {
                credential: Some(CredentialId::Legacy(record.id)),
                ..ReadSet::default()
            },
            Change::SetPolicy { .. } => ReadSet {
                namespace,
                policy: Some(PolicyLookup::Keys(namespace)),
                ..ReadSet::default()
            },
            Change::SetLegacyPolicy { .. } => ReadSet {
                namespace,
                policy: Some(PolicyLookup::Legacy(namespace)),
                ..ReadSet::default()
            },
            Change::CreateNamespace { .. } => ReadSet {
                namespace,
                targets: self.change.creates_in(),
                ..ReadSet::default()
            },
        }
    }

    /// Decides whether the commit may be stored, given the values of its [read
    /// set](Commit::read_set).
    ///
    /// # Errors
    ///
    /// The first condition that does not hold, as listed on [`Change`].
    #[expect(clippy::too_many_lines, reason = "one arm for each change")]
    pub fn decide(&self, snapshot: &Snapshot) -> Result<WriteSet, Conflict> {
        self.check_actor(snapshot).map_err(Conflict::Actor)?;
        let tenant = self.change.tenant();
        snapshot.check_tenant(tenant)?;
        let revision = snapshot.last_revision.next();
        let item = match &self.change {
            Change::CreateKey { record, limits } => {
                snapshot.check_unused()?;
                snapshot.check_open(&self.change.creates_in())?;
                snapshot.check_name(limits.unique_name)?;
                snapshot.check_number(limits.keys_per_owner)?;
                Some(Item::Key(KeyRecord {
                    created_revision: revision,
                    revision,
                    ..record.clone()
                }))
            }
            Change::ReplaceKey {
                record,
                expected,
                unique_name,
            } => {
                let known = snapshot.key(&record.tenant)?;
                check_replacement(known.is_revoked(), known.revision, *expected)?;
                if known.owner != record.owner {
                    return Err(Conflict::OtherOwner);
                }
                snapshot.check_name(must_be_free(record, *unique_name))?;
                Some(Item::Key(KeyRecord {
                    created_revision: known.created_revision,
                    revision,
                    ..record.clone()
                }))
            }
            Change::DeleteKey {
                tenant,
                id,
                expected,
            } => {
                let known = snapshot.key(tenant)?;
                if expected.is_some_and(|expected| expected != known.revision) {
                    return Err(Conflict::Stale);
                }
                Some(Item::KeyDeleted {
                    id: *id,
                    tenant: tenant.clone(),
                })
            }
            Change::Revoke {
                target,
                block,
                in_advance,
            } => {
                if !in_advance {
                    snapshot.check_known(target)?;
                }
                let blocked = *block || snapshot.cutoff(target).is_some_and(|known| known.blocked);
                let cutoff = Cutoff::new(target, blocked, revision, &self.event);
                Some(Item::Cutoff(cutoff))
            }
            Change::Restore { target } => match snapshot.cutoff(target) {
                Some(cutoff) if cutoff.blocked => {
                    Some(Item::Cutoff(cutoff.clone().restored(revision)))
                }
                _ => return Err(Conflict::NotRemoved(target.clone())),
            },
            Change::ImportLegacy { record } => {
                snapshot.check_unused()?;
                snapshot.check_open(&self.change.creates_in())?;
                Some(Item::Legacy(LegacyRecord {
                    created_revision: revision,
                    revision,
                    ..record.clone()
                }))
            }
            Change::ReplaceLegacy { record, expected } => {
                let known = snapshot.legacy(&record.tenant)?;
                check_replacement(known.revoked.is_some(), known.revision, *expected)?;
                Some(Item::Legacy(LegacyRecord {
                    created_revision: known.created_revision,
                    revision,
                    ..record.clone()
                }))
            }
            Change::SetPolicy { tenant, policy } => {
                snapshot.check_bound(tenant.as_ref())?;
                let policy = policy.clone().map(Policy::in_whole_seconds);
                Some(Item::Policy(tenant.clone(), policy))
            }
            Change::SetLegacyPolicy { tenant, policy } => {
                snapshot.check_bound(tenant.as_ref())?;
                Some(Item::LegacyPolicy(tenant.clone(), policy.clone()))
            }
            Change::CreateNamespace { .. } => {
                if snapshot.team.is_some() {
                    return Err(Conflict::IdTaken);
                }
                snapshot.check_open(&self.change.creates_in())?;
                None
            }
        };
        let binds = tenant
            .filter(|_| snapshot.team.is_none())
            .map(|tenant| self.namespace_record(tenant, revision));
        let entry = self.entry(snapshot, item.as_ref(), binds.as_ref());
        Ok(WriteSet {
            revision,
            item,
            binds,
            event: AuditEvent::chained(entry, revision, snapshot.last_hash),
        })
    }
}

impl Commit {
    /// The record of a namespace that this commit binds: only a creation names a label and a region.
    fn namespace_record(&self, tenant: &Tenant, revision: Revision) -> NamespaceRecord {
        let (label, region) = match &self.change {
            Change::CreateNamespace { new } => (new.label.clone(), new.region.clone()),
            _ => (None, None),
        };
        NamespaceRecord {
            tenant: tenant.clone(),
            label,
            region,
            created_at: self.event.at,
            removed: false,
            created_revision: revision,
        }
    }

    /// The audit entry: what the commit says of its circumstances, and what it does to the store.
    fn entry(
        &self,
        snapshot: &Snapshot,
        item: Option<&Item>,
        binds: Option<&NamespaceRecord>,
    ) -> AuditEntry {
        let (replaces, old) = self.change.replaced(snapshot).unzip();
        let mut new = binds.map(NamespaceRecord::fields).unwrap_or_default();
        new.extend(item.map(Item::fields).unwrap_or_default());
        let tenant = self.change.place();
        AuditEntry {
            action: self.change.action(self.event.action),
            team: self.change.team().cloned(),
            namespace: tenant.map(|tenant| tenant.namespace.clone()),
            owner: self.change.owner(snapshot).cloned(),
            credential: self.change.credential(),
            changes: FieldChange::between(&old.unwrap_or_default(), &new),
            replaces,
            record: item.map(RecordHash::of),
            ..self.event.clone()
        }
    }
}

impl Change {
    /// The action that the change is. Replacing a key may be several: it stays as `stated`, if that is
    /// one of them.
    fn action(&self, stated: Action) -> Action {
        match self {
            Self::CreateKey { .. } => Action::KeyCreated,
            Self::ReplaceKey { record, .. } => match stated {
                _ if record.is_revoked() => Action::KeyRevoked,
                Action::KeyDisabled
                | Action::KeyEnabled
                | Action::KeyRotated
                | Action::KeyRehashed => stated,
                _ => Action::KeyUpdated,
            },
            Self::DeleteKey { .. } => Action::KeyDeleted,
            Self::Revoke { block: true, .. } => Action::Removed,
            Self::Revoke { block: false, .. } => Action::AllRevoked,
            Self::Restore { .. } => Action::Restored,
            Self::ImportLegacy { .. } => Action::LegacyImported,
            Self::ReplaceLegacy { record, .. } if record.revoked.is_some() => Action::LegacyRevoked,
            Self::ReplaceLegacy { .. } => Action::LegacyBlocked,
            Self::SetPolicy { .. } => Action::PolicySet,
            Self::SetLegacyPolicy { .. } => Action::LegacyPolicySet,
            Self::CreateNamespace { .. } => Action::NamespaceCreated,
        }
    }

    /// The namespace that the change is about, and its team.
    fn place(&self) -> Option<&Tenant> {
        match self {
            Self::ReplaceKey { record, .. } => Some(&record.tenant),
            Self::ReplaceLegacy { record, .. } => Some(&record.tenant),
            Self::DeleteKey { tenant, .. } => Some(tenant),
            _ => self.tenant(),
        }
    }

    /// The owner of the key, or the owner that the change is about.
    fn owner<'a>(&'a self, snapshot: &'a Snapshot) -> Option<&'a Owner> {
        match self {
            Self::CreateKey { record, .. } | Self::ReplaceKey { record, .. } => Some(&record.owner),
            Self::DeleteKey { .. } => match &snapshot.existing {
                Existing::Key(record) => Some(&record.owner),
                _ => None,
            },
            Self::Revoke { target, .. } | Self::Restore { target } => match target {
                Target::Owner(_, owner) => Some(owner),
                Target::Team(_) | Target::Namespace(_) => None,
            },
            _ => None,
        }
    }

    /// The credential that the change is about.
    fn credential(&self) -> Option<CredentialId> {
        match self {
            Self::CreateKey { record, .. } | Self::ReplaceKey { record, .. } => {
                Some(CredentialId::Key(record.id))
            }
            Self::DeleteKey { id, .. } => Some(CredentialId::Key(*id)),
            Self::ImportLegacy { record } | Self::ReplaceLegacy { record, .. } => {
                Some(CredentialId::Legacy(record.id))
            }
            _ => None,
        }
    }

    /// The revision and the fields of the state that the change replaces.
    fn replaced(&self, snapshot: &Snapshot) -> Option<(Revision, Fields)> {
        match self {
            Self::ReplaceKey { .. } | Self::DeleteKey { .. } | Self::ReplaceLegacy { .. } => {
                match &snapshot.existing {
                    Existing::Key(record) => Some((record.revision, record.fields())),
                    Existing::Legacy(record) => Some((record.revision, record.fields())),
                    Existing::Nothing | Existing::Deleted => None,
                }
            }
            Self::Revoke { target, .. } | Self::Restore { target } => {
                let cutoff = snapshot.cutoff(target)?;
                Some((cutoff.revision, cutoff.fields()))
            }
            Self::SetPolicy { .. } | Self::SetLegacyPolicy { .. } => {
                let policy = snapshot.policy.as_ref()?;
                Some((policy.revision, policy.item.fields()))
            }
            Self::CreateKey { .. } | Self::ImportLegacy { .. } | Self::CreateNamespace { .. } => {
                None
            }
        }
    }
}

impl Commit {
    /// Checks that the actor may still make the change.
    fn check_actor(&self, snapshot: &Snapshot) -> Result<(), ActorFault> {
        let at = self.event.at;
        match (&self.authority, &snapshot.actor) {
            (Authority::System, _) => Ok(()),
            (Authority::Owner(_) | Authority::Member(..), _) => match self.actor_target() {
                Some(target) if snapshot.is_blocked(&target) => Err(ActorFault::Removed),
                _ => Ok(()),
            },
            (Authority::Credential { id, scopes, secret }, Existing::Key(record))
                if *id == CredentialId::Key(record.id) =>
            {
                let policy = &snapshot.actor_policy;
                match record.effective_status(at, policy) {
                    EffectiveStatus::Revoked => Err(ActorFault::Revoked),
                    EffectiveStatus::Expired => Err(ActorFault::Expired),
                    EffectiveStatus::Disabled => Err(ActorFault::Disabled),
                    EffectiveStatus::NotYetValid => Err(ActorFault::NotYetValid),
                    EffectiveStatus::Active
                        if secret.is_some_and(|secret| !record.accepts(secret, at, policy)) =>
                    {
                        Err(ActorFault::Replaced)
                    }
                    EffectiveStatus::Active if scopes.within(&record.scopes) => Ok(()),
                    EffectiveStatus::Active => Err(ActorFault::MissingScope),
                }
            }
            (Authority::Credential { id, .. }, Existing::Legacy(record))
                if *id == CredentialId::Legacy(record.id) =>
            {
                if record.revoked.is_some() {
                    Err(ActorFault::Revoked)
                } else if record.blocked {
                    Err(ActorFault::Disabled)
                } else if snapshot.actor_legacy_policy.accepts(at) {
                    Ok(())
                } else {
                    Err(ActorFault::Expired)
                }
            }
            (Authority::Credential { .. }, _) => Err(ActorFault::Unknown),
        }
    }

    /// The target that blocks an actor that the embedder authenticated: the owner in the change's
    /// team or in its own.
    fn actor_target(&self) -> Option<Target> {
        match (&self.authority, self.change.team()) {
            (Authority::Owner(owner), Some(team)) | (Authority::Member(team, owner), _) => {
                Some(Target::Owner(team.clone(), owner.clone()))
            }
            _ => None,
        }
    }
}

impl Change {
    /// The team that the change affects; `None` for a default policy, which affects every team.
    pub fn team(&self) -> Option<&TeamId> {
        match self {
            Self::CreateKey { record, .. } | Self::ReplaceKey { record, .. } => {
                Some(&record.tenant.team)
            }
            Self::ImportLegacy { record } | Self::ReplaceLegacy { record, .. } => {
                Some(&record.tenant.team)
            }
            Self::DeleteKey { tenant, .. } => Some(&tenant.team),
            Self::CreateNamespace { new } => Some(&new.tenant.team),
            Self::Revoke { target, .. } | Self::Restore { target } => Some(target.team()),
            Self::SetPolicy { tenant, .. } | Self::SetLegacyPolicy { tenant, .. } => {
                tenant.as_ref().map(|tenant| &tenant.team)
            }
        }
    }

    /// The targets in which the change creates something; none of them may be blocked.
    fn creates_in(&self) -> Vec<Target> {
        match self {
            Self::CreateKey { record, .. } => record.targets().into(),
            Self::ImportLegacy { record } => record.targets().into(),
            Self::CreateNamespace { new } => vec![Target::Team(new.tenant.team.clone())],
            _ => Vec::new(),
        }
    }

    /// The namespace that the change uses; it must be unbound or belong to this team.
    fn tenant(&self) -> Option<&Tenant> {
        match self {
            Self::CreateKey { record, .. } => Some(&record.tenant),
            Self::ImportLegacy { record } => Some(&record.tenant),
            Self::CreateNamespace { new } => Some(&new.tenant),
            Self::Revoke { target, .. } | Self::Restore { target } => match target {
                Target::Namespace(tenant) => Some(tenant),
                Target::Team(_) | Target::Owner(..) => None,
            },
            Self::SetPolicy { tenant, .. } | Self::SetLegacyPolicy { tenant, .. } => {
                tenant.as_ref()
            }
            // These check the tenant of the credential instead.
            Self::ReplaceKey { .. } | Self::DeleteKey { .. } | Self::ReplaceLegacy { .. } => None,
        }
    }
}

impl<'a> NameLookup<'a> {
    fn of(record: &'a KeyRecord) -> Self {
        Self {
            namespace: &record.tenant.namespace,
            owner: &record.owner,
            name: &record.name,
            except: record.id,
        }
    }
}

impl<'a> OwnerLookup<'a> {
    fn of(record: &'a KeyRecord) -> Self {
        Self {
            namespace: &record.tenant.namespace,
            owner: &record.owner,
        }
    }
}

impl Snapshot {
    /// Refuses a namespace that is bound to another team.
    fn check_tenant(&self, tenant: Option<&Tenant>) -> Result<(), Conflict> {
        match (tenant, &self.team) {
            (Some(tenant), Some(team)) if tenant.team != *team => Err(Conflict::ForeignNamespace),
            _ => Ok(()),
        }
    }

    /// Refuses a namespace that is not bound yet.
    fn check_bound(&self, tenant: Option<&Tenant>) -> Result<(), Conflict> {
        match tenant {
            Some(tenant) => self.check_known(&Target::Namespace(tenant.clone())),
            None => Ok(()),
        }
    }

    /// Refuses a target of which the store knows nothing.
    fn check_known(&self, target: &Target) -> Result<(), Conflict> {
        let is_known = match target {
            Target::Namespace(_) => self.team.is_some(),
            Target::Team(_) | Target::Owner(..) => {
                self.target_is_known || self.cutoff(target).is_some()
            }
        };
        if is_known {
            Ok(())
        } else {
            Err(Conflict::UnknownTarget(target.clone()))
        }
    }

    fn check_unused(&self) -> Result<(), Conflict> {
        match self.existing {
            Existing::Nothing => Ok(()),
            Existing::Deleted | Existing::Key(_) | Existing::Legacy(_) => Err(Conflict::IdTaken),
        }
    }

    /// Refuses a change that creates something in a blocked target.
    fn check_open(&self, targets: &[Target]) -> Result<(), Conflict> {
        let blocked = targets.iter().find(|target| self.is_blocked(target));
        match blocked {
            Some(target) => Err(Conflict::Removed(target.clone())),
            None => Ok(()),
        }
    }

    fn is_blocked(&self, target: &Target) -> bool {
        self.cutoff(target).is_some_and(|cutoff| cutoff.blocked)
    }

    fn check_name(&self, must_be_free: bool) -> Result<(), Conflict> {
        if must_be_free && self.name_is_taken {
            return Err(Conflict::NameTaken);
        }
        Ok(())
    }

    fn check_number(&self, most: Option<u32>) -> Result<(), Conflict> {
        match most {
            Some(most) if self.live_keys >= u64::from(most) => Err(Conflict::TooManyKeys),
            _ => Ok(()),
        }
    }

    fn key(&self, tenant: &Tenant) -> Result<&KeyRecord, Conflict> {
        match &self.existing {
            Existing::Key(record) if record.tenant == *tenant => Ok(record),
            _ => Err(Conflict::NotFound),
        }
    }

    fn legacy(&self, tenant: &Tenant) -> Result<&LegacyRecord, Conflict> {
        match &self.existing {
            Existing::Legacy(record) if record.tenant == *tenant => Ok(record),
            _ => Err(Conflict::NotFound),
        }
    }

    fn cutoff(&self, target: &Target) -> Option<&Cutoff> {
        self.cutoffs.iter().find(|known| known.target == *target)
    }
}

/// Refuses to replace a record that is revoked or was changed concurrently.
fn check_replacement(revoked: bool, known: Revision, expected: Revision) -> Result<(), Conflict> {
    if revoked {
        return Err(Conflict::Revoked);
    }
    if known != expected {
        return Err(Conflict::Stale);
    }
    Ok(())
}

/// Whether the name must be unique: a revoked key does not hold its name.
fn must_be_free(record: &KeyRecord, unique_name: bool) -> bool {
    unique_name && !record.is_revoked()
}
