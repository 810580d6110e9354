//! Removing and restoring people, services, namespaces and teams.

use crate::{
    audit::Action,
    cutoff::Target,
    identity::{Context, Owner, Tenant},
    keyring::{Error, Keyring},
    name::{NameError, ServiceId, TeamId, UserId},
    store::{Change, LiveCount, TargetPage, TargetQuery},
    timestamp::Timestamp,
};

impl Keyring {
    /// Removes a person from a team: revokes all their keys in the team, including keys that are
    /// being created or rotated concurrently, and blocks new ones until
    /// [`Keyring::restore_member`]. Other members are unaffected.
    ///
    /// One record is written, however many keys there are. Returns how many keys the removal ended:
    /// see [`Keyring::remove`].
    ///
    /// # Errors
    ///
    /// - the store has no key of the person in the team, and they were never removed from it ->
    ///   [`Conflict::UnknownTarget`](crate::store::Conflict::UnknownTarget): the name may be
    ///   mistyped; [`Keyring::remove_in_advance`] blocks a person who has no key yet
    /// - the store failed -> [`Error::Store`]; repeat the call
    pub async fn remove_member(
        &self,
        context: &Context,
        team: impl TryInto<TeamId, Error: Into<NameError>>,
        user: impl TryInto<UserId, Error: Into<NameError>>,
    ) -> Result<Option<LiveCount>, Error> {
        self.remove(context, member(team, user)?).await
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
    ) -> Result<Option<LiveCount>, Error> {
        self.remove(context, service_of(team, service)?).await
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
    /// - the namespace is not bound to a team ->
    ///   [`Conflict::UnknownTarget`](crate::store::Conflict::UnknownTarget)
    /// - the namespace is another team's ->
    ///   [`Conflict::ForeignNamespace`](crate::store::Conflict::ForeignNamespace)
    pub async fn remove_namespace(
        &self,
        context: &Context,
        tenant: &Tenant,
    ) -> Result<Option<LiveCount>, Error> {
        let target = Target::Namespace(tenant.clone());
        self.remove(context, target).await
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
    /// - no namespace is bound to the team ->
    ///   [`Conflict::UnknownTarget`](crate::store::Conflict::UnknownTarget)
    /// - the store failed -> [`Error::Store`]; repeat the call
    pub async fn remove_team(
        &self,
        context: &Context,
        team: impl TryInto<TeamId, Error: Into<NameError>>,
    ) -> Result<Option<LiveCount>, Error> {
        let team = team.try_into().map_err(Into::into)?;
        self.remove(context, Target::Team(team)).await
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

    /// Revokes all current keys of a target without blocking new ones: for use after a leak. Returns
    /// how many keys it ended, as [`Keyring::remove`] does.
    ///
    /// # Errors
    ///
    /// As [`Keyring::remove`].
    pub async fn revoke_all(
        &self,
        context: &Context,
        target: Target,
    ) -> Result<Option<LiveCount>, Error> {
        let live = self.count_before(context, &target).await;
        let change = Change::Revoke {
            target,
            block: false,
            in_advance: false,
        };
        self.commit(context, Action::AllRevoked, change).await?;
        Ok(live)
    }

    /// Removes a target, as [`Keyring::remove_member`] does for a person.
    ///
    /// Returns how many credentials the removal ended. They are counted just before the commit, so a
    /// key that was created in between is revoked and not counted. `None` if the store could not
    /// count them: the removal does not depend on it.
    ///
    /// # Errors
    ///
    /// - the store knows nothing of the target ->
    ///   [`Conflict::UnknownTarget`](crate::store::Conflict::UnknownTarget)
    /// - the namespace is another team's ->
    ///   [`Conflict::ForeignNamespace`](crate::store::Conflict::ForeignNamespace)
    /// - the store failed -> [`Error::Store`]; repeat the call
    pub async fn remove(
        &self,
        context: &Context,
        target: Target,
    ) -> Result<Option<LiveCount>, Error> {
        self.block(context, target, false).await
    }

    /// Removes a target of which the store may know nothing yet, such as a person who must never
    /// have a key. A mistyped name is not an error.
    ///
    /// # Errors
    ///
    /// As [`Keyring::remove`], but not for an unknown target.
    pub async fn remove_in_advance(
        &self,
        context: &Context,
        target: Target,
    ) -> Result<Option<LiveCount>, Error> {
        self.block(context, target, true).await
    }

    /// Counts the credentials of a target that [`Keyring::remove`] and [`Keyring::revoke_all`] would
    /// end.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn count_live(
        &self,
        target: &Target,
        at: impl Into<Timestamp>,
    ) -> Result<LiveCount, Error> {
        Ok(self.store.count_live(target, at.into()).await?)
    }

    /// Returns a page of teams, or of the people or services of a team, in the order of their names.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn targets(&self, query: &TargetQuery) -> Result<TargetPage, Error> {
        Ok(self.store.targets(query).await?)
    }

    /// Restores a target, as [`Keyring::restore_member`] does for a person.
    ///
    /// # Errors
    ///
    /// The target was not removed -> [`Conflict::NotRemoved`](crate::store::Conflict::NotRemoved).
    pub async fn restore(&self, context: &Context, target: Target) -> Result<(), Error> {
        let change = Change::Restore { target };
        self.commit(context, Action::Restored, change)
            .await
            .map(drop)
    }

    /// What a revocation of the target is about to end; `None` if it cannot be counted.
    async fn count_before(&self, context: &Context, target: &Target) -> Option<LiveCount> {
        let now = self.index.latest(context.now);
        self.store.count_live(target, now).await.ok()
    }

    async fn block(
        &self,
        context: &Context,
        target: Target,
        in_advance: bool,
    ) -> Result<Option<LiveCount>, Error> {
        let live = self.count_before(context, &target).await;
        let change = Change::Revoke {
            target,
            block: true,
            in_advance,
        };
        self.commit(context, Action::Removed, change).await?;
        Ok(live)
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
