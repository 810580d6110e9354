//! Whether a change may be kept.

use crate::{
    boundary::Realm,
    identity::Tenant,
    key_id::KeyId,
    record::KeyRecord,
    store::{Change, Commit, Conflict, Limits, StoreState},
    timestamp::Timestamp,
};

impl StoreState {
    /// Judges a commit's conditions, and keeps nothing: for a store that must make a commit
    /// durable before it keeps it here.
    ///
    /// # Errors
    ///
    /// The condition that is broken, as [`Change`] lists them.
    pub fn judge(&self, commit: &Commit) -> Result<(), Conflict> {
        let now = commit.event.at;
        match &commit.change {
            Change::CreateKey { record, limits } => {
                self.judge_tenant(&record.tenant)?;
                if self.keys.contains_key(&record.id) {
                    return Err(Conflict::IdTaken);
                }
                let owner = Realm::Owner(record.tenant.team.clone(), record.owner.clone());
                self.judge_open(&record.tenant)?;
                self.judge_realm_open(owner)?;
                self.judge_limits(record, limits, now)
            }
            Change::ReplaceKey {
                record,
                expected,
                unique_name,
            } => {
                let known = self
                    .key(&record.tenant, record.id)
                    .ok_or(Conflict::NotFound)?;
                if known.is_revoked() {
                    return Err(Conflict::Revoked);
                }
                if known.revision != *expected {
                    return Err(Conflict::Stale);
                }
                if known.owner != record.owner {
                    return Err(Conflict::OtherOwner);
                }
                let limits = Limits {
                    unique_name: *unique_name && !record.is_revoked(),
                    keys_per_owner: None,
                };
                self.judge_limits(record, &limits, now)
            }
            Change::DeleteKey { tenant, id } => match self.key(tenant, *id) {
                Some(_) => Ok(()),
                None => Err(Conflict::NotFound),
            },
            Change::CutRealm { realm, .. } => self.judge_realm(realm),
            Change::OpenRealm { realm } => {
                self.judge_realm(realm)?;
                match self.boundaries.get(realm) {
                    Some(boundary) if boundary.closed => Ok(()),
                    _ => Err(Conflict::NotClosed(realm.clone())),
                }
            }
            Change::ImportLegacy { record } => {
                self.judge_tenant(&record.tenant)?;
                if self.legacy.contains_key(&record.id) {
                    return Err(Conflict::IdTaken);
                }
                self.judge_open(&record.tenant)
            }
            Change::ReplaceLegacy { record, expected } => {
                let known = self
                    .legacy
                    .get(&record.id)
                    .filter(|known| known.tenant == record.tenant)
                    .map(|known| self.read_legacy(known))
                    .ok_or(Conflict::NotFound)?;
                if known.revoked.is_some() {
                    return Err(Conflict::Revoked);
                }
                if known.revision != *expected {
                    return Err(Conflict::Stale);
                }
                Ok(())
            }
            Change::SetPolicy { tenant, .. } | Change::SetLegacyPolicy { tenant, .. } => tenant
                .as_ref()
                .map_or(Ok(()), |tenant| self.judge_tenant(tenant)),
        }
    }

    /// A namespace belongs to the team that used it first.
    fn judge_tenant(&self, tenant: &Tenant) -> Result<(), Conflict> {
        match self.namespaces.get(&tenant.namespace) {
            Some(known) if known.team != tenant.team => Err(Conflict::ForeignNamespace),
            _ => Ok(()),
        }
    }

    fn judge_realm(&self, realm: &Realm) -> Result<(), Conflict> {
        match realm {
            Realm::Namespace(tenant) => self.judge_tenant(tenant),
            Realm::Team(_) | Realm::Owner(..) => Ok(()),
        }
    }

    fn judge_open(&self, tenant: &Tenant) -> Result<(), Conflict> {
        self.judge_realm_open(Realm::Team(tenant.team.clone()))?;
        self.judge_realm_open(Realm::Namespace(tenant.clone()))
    }

    fn judge_realm_open(&self, realm: Realm) -> Result<(), Conflict> {
        match self.boundaries.get(&realm) {
            Some(boundary) if boundary.closed => Err(Conflict::Closed(realm)),
            _ => Ok(()),
        }
    }

    fn judge_limits(
        &self,
        record: &KeyRecord,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<(), Conflict> {
        let Some(namespace) = self.namespaces.get(&record.tenant.namespace) else {
            return match limits.keys_per_owner {
                Some(0) => Err(Conflict::TooManyKeys),
                _ => Ok(()),
            };
        };
        let live = |id: &&KeyId| {
            **id != record.id
                && self
                    .keys
                    .get(*id)
                    .and_then(Option::as_ref)
                    .is_some_and(|other| self.read(other).is_live(now))
        };
        if limits.unique_name {
            let same_name = namespace.by_name.get(&record.name);
            if same_name.is_some_and(|ids| ids.iter().any(|id| live(&id))) {
                return Err(Conflict::NameTaken);
            }
        }
        if let Some(most) = limits.keys_per_owner {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let own = namespace.by_owner.get(&record.owner);
            let count = own.map_or(0, |ids| ids.iter().filter(live).count());
            if count >= most {
                return Err(Conflict::TooManyKeys);
            }
        }
        Ok(())
    }
}
