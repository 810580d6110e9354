//! Removing and restoring people, services, namespaces and teams.

use crate::{
    audit::{Action, AuditEntry},
    cutoff::Target,
    identity::{Context, Owner, Tenant},
    keyring::{Error, Keyring},
    name::{NameError, ServiceId, TeamId, UserId},
    store::Change,
};

impl Keyring {
    /// Removes a person from a team: revokes all their keys in the team, including keys that are
    /// being created or rotated concurrently, and blocks new ones until
    /// [`Keyring::restore_member`]. Other members are unaffected.
    ///
    /// The cost does not depend on the number of keys. The person need not have any key, so a
    /// mistyped name is not an error.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`]; repeat the call.
    pub async fn remove_member(
        &self,
        context: &Context,
        team: impl TryInto<TeamId, Error: Into<NameError>>,
        user: impl TryInto<UserId, Error: Into<NameError>>,
    ) -> Result<(), Error> {
        self.revoke_target(context, member(team, user)?, true).await
    }

    /// Allows new keys for a person again. Revoked keys stay revoked.
    ///
    /// # Errors
    ///
    /// The person was not removed -> [`Conflict::NotRemoved`](crate::store::Conflict::NotRemoved).
    pub async fn restore_member(
        &self,
        context: &Context,
        team: impl TryInto<TeamId, Error: Into<NameError>>,
        user: impl TryInto<UserId, Error: Into<NameError>>,
    ) -> Result<(), Error> {
        self.restore(context, member(team, user)?).await
    }

    /// Removes a service from a team, as [`Keyring::remove_member`] does for a person.
    ///
    /// # Errors
    ///
    /// As [`Keyring::remove_member`].
    pub async fn remove_service(
        &self,
        context: &Context,
        team: impl TryInto<TeamId, Error: Into<NameError>>,
        service: impl TryInto<ServiceId, Error: Into<NameError>>,
    ) -> Result<(), Error> {
        self.revoke_target(context, service_of(team, service)?, true)
            .await
    }

    /// Allows new keys for a service again. Revoked keys stay revoked.
    ///
    /// # Errors
    ///
    /// The service was not removed -> [`Conflict::NotRemoved`](crate::store::Conflict::NotRemoved).
    pub async fn restore_service(
        &self,
        context: &Context,
        team: impl TryInto<TeamId, Error: Into<NameError>>,
        service: impl TryInto<ServiceId, Error: Into<NameError>>,
    ) -> Result<(), Error> {
        self.restore(context, service_of(team, service)?).await
    }

    /// Removes a namespace: revokes all its keys and legacy credentials, and blocks new ones.
    ///
    /// # Errors
    ///
    /// The namespace is another team's -> [`Conflict::ForeignNamespace`](crate::store::Conflict::ForeignNamespace).
    pub async fn remove_namespace(&self, context: &Context, tenant: &Tenant) -> Result<(), Error> {
        let target = Target::Namespace(tenant.clone());
        self.revoke_target(context, target, true).await
    }

    /// Allows new keys in a namespace again. Revoked keys stay revoked.
    ///
    /// # Errors
    ///
    /// The namespace was not removed -> [`Conflict::NotRemoved`](crate::store::Conflict::NotRemoved).
    pub async fn restore_namespace(&self, context: &Context, tenant: &Tenant) -> Result<(), Error> {
        let target = Target::Namespace(tenant.clone());
        self.restore(context, target).await
    }

    /// Removes a team: revokes all keys and legacy credentials in its namespaces, and blocks new
    /// ones.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`]; repeat the call.
    pub async fn remove_team(
        &self,
        context: &Context,
        team: impl TryInto<TeamId, Error: Into<NameError>>,
    ) -> Result<(), Error> {
        let team = team.try_into().map_err(Into::into)?;
        self.revoke_target(context, Target::Team(team), true).await
    }

    /// Allows new keys in a team again. Revoked keys stay revoked.
    ///
    /// # Errors
    ///
    /// The team was not removed -> [`Conflict::NotRemoved`](crate::store::Conflict::NotRemoved).
    pub async fn restore_team(
        &self,
        context: &Context,
        team: impl TryInto<TeamId, Error: Into<NameError>>,
    ) -> Result<(), Error> {
        let team = team.try_into().map_err(Into::into)?;
        self.restore(context, Target::Team(team)).await
    }

    /// Revokes all current keys of a target without blocking new ones: for use after a leak.
    ///
    /// # Errors
    ///
    /// The namespace is another team's -> [`Conflict::ForeignNamespace`](crate::store::Conflict::ForeignNamespace).
    pub async fn revoke_all(&self, context: &Context, target: Target) -> Result<(), Error> {
        self.revoke_target(context, target, false).await
    }

    /// Removes a target, as [`Keyring::remove_member`] does for a person.
    ///
    /// # Errors
    ///
    /// As [`Keyring::revoke_all`].
    pub async fn remove(&self, context: &Context, target: Target) -> Result<(), Error> {
        self.revoke_target(context, target, true).await
    }

    /// Restores a target, as [`Keyring::restore_member`] does for a person.
    ///
    /// # Errors
    ///
    /// The target was not removed -> [`Conflict::NotRemoved`](crate::store::Conflict::NotRemoved).
    pub async fn restore(&self, context: &Context, target: Target) -> Result<(), Error> {
        let event = about_target(Action::Restored, context, &target);
        let change = Change::Restore { target };
        self.commit(context, change, event).await.map(drop)
    }

    async fn revoke_target(
        &self,
        context: &Context,
        target: Target,
        block: bool,
    ) -> Result<(), Error> {
        let action = if block {
            Action::Removed
        } else {
            Action::AllRevoked
        };
        let event = about_target(action, context, &target);
        let change = Change::Revoke { target, block };
        self.commit(context, change, event).await.map(drop)
    }
}

fn member(
    team: impl TryInto<TeamId, Error: Into<NameError>>,
    user: impl TryInto<UserId, Error: Into<NameError>>,
) -> Result<Target, NameError> {
    let owner = Owner::User(user.try_into().map_err(Into::into)?);
    Ok(Target::Owner(team.try_into().map_err(Into::into)?, owner))
}

fn service_of(
    team: impl TryInto<TeamId, Error: Into<NameError>>,
    service: impl TryInto<ServiceId, Error: Into<NameError>>,
) -> Result<Target, NameError> {
    let owner = Owner::Service(service.try_into().map_err(Into::into)?);
    Ok(Target::Owner(team.try_into().map_err(Into::into)?, owner))
}

fn about_target(action: Action, context: &Context, target: &Target) -> AuditEntry {
    let entry = AuditEntry {
        team: Some(target.team().clone()),
        ..AuditEntry::new(action, context)
    };
    match target {
        Target::Team(_) => entry,
        Target::Namespace(tenant) => AuditEntry {
            namespace: Some(tenant.namespace.clone()),
            ..entry
        },
        Target::Owner(_, owner) => AuditEntry {
            owner: Some(owner.clone()),
            ..entry
        },
    }
}
