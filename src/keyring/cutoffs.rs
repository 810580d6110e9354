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
    /// Removes a person from a team: after this returns, none of their keys in the team works,
    /// including keys that are being created or rotated at the same time, and none can be created
    /// for them until [`Keyring::restore_member`]. Other members are unaffected.
    ///
    /// The cost does not depend on how many keys there are. A person without keys can be removed
    /// too (a key for them may be on its way), so a name that is mistyped is not noticed.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`]; call again.
    pub async fn remove_member(
        &self,
        context: &Context,
        team: impl TryInto<TeamId, Error: Into<NameError>>,
        user: impl TryInto<UserId, Error: Into<NameError>>,
    ) -> Result<(), Error> {
        self.revoke_target(context, member(team, user)?, true).await
    }

    /// Allows keys to be created for a person again. What was revoked stays revoked.
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
        self.restore_target(context, member(team, user)?).await
    }

    /// Removes a service from a team, as [`Keyring::remove_member`] a person.
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

    /// Allows keys to be created for a service again. What was revoked stays revoked.
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
        self.restore_target(context, service_of(team, service)?)
            .await
    }

    /// Removes a namespace: none of its keys works any more, legacy credentials included, and
    /// none can be created.
    ///
    /// # Errors
    ///
    /// The namespace is another team's -> [`Conflict::ForeignNamespace`](crate::store::Conflict::ForeignNamespace).
    pub async fn remove_namespace(&self, context: &Context, tenant: &Tenant) -> Result<(), Error> {
        let target = Target::Namespace(tenant.clone());
        self.revoke_target(context, target, true).await
    }

    /// Allows keys to be created in a namespace again. What was revoked stays revoked.
    ///
    /// # Errors
    ///
    /// The namespace was not removed -> [`Conflict::NotRemoved`](crate::store::Conflict::NotRemoved).
    pub async fn restore_namespace(&self, context: &Context, tenant: &Tenant) -> Result<(), Error> {
        let target = Target::Namespace(tenant.clone());
        self.restore_target(context, target).await
    }

    /// Removes a team: none of the keys in any of its namespaces works any more.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`]; call again.
    pub async fn remove_team(
        &self,
        context: &Context,
        team: impl TryInto<TeamId, Error: Into<NameError>>,
    ) -> Result<(), Error> {
        let team = team.try_into().map_err(Into::into)?;
        self.revoke_target(context, Target::Team(team), true).await
    }

    /// Allows keys to be created in a team again. What was revoked stays revoked.
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
        self.restore_target(context, Target::Team(team)).await
    }

    /// Revokes every key that a target has now, without removing it: the remedy after a leak.
    ///
    /// # Errors
    ///
    /// The namespace is another team's -> [`Conflict::ForeignNamespace`](crate::store::Conflict::ForeignNamespace).
    pub async fn revoke_all(&self, context: &Context, target: Target) -> Result<(), Error> {
        self.revoke_target(context, target, false).await
    }

    /// Removes a target, as [`Keyring::remove_member`] a person.
    ///
    /// # Errors
    ///
    /// As [`Keyring::revoke_all`].
    pub async fn remove(&self, context: &Context, target: Target) -> Result<(), Error> {
        self.revoke_target(context, target, true).await
    }

    /// Restores a target, as [`Keyring::restore_member`] a person.
    ///
    /// # Errors
    ///
    /// It was not removed -> [`Conflict::NotRemoved`](crate::store::Conflict::NotRemoved).
    pub async fn restore(&self, context: &Context, target: Target) -> Result<(), Error> {
        self.restore_target(context, target).await
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

    async fn restore_target(&self, context: &Context, target: Target) -> Result<(), Error> {
        let event = about_target(Action::Restored, context, &target);
        let change = Change::Restore { target };
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
