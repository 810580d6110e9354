//! Removing and restoring people, services, namespaces and teams.

use crate::{
    audit::{Action, AuditEntry},
    boundary::Realm,
    identity::{Context, Owner, Tenant},
    keyring::{Keyring, ManageError},
    name::{ServiceId, TeamId, UserId},
    store::{Change, KeyStore},
};

impl<S: KeyStore> Keyring<S> {
    /// Removes a person from a team: after this returns, none of their keys in the team works,
    /// whatever is created or rotated at the same time, and none can be created for them until
    /// [`Keyring::restore_member`]. Nobody else's key is touched.
    ///
    /// The cost does not depend on how many keys there are. Whom the library never saw can be
    /// removed too (a key for them may be on its way), so a name that is mistyped is not noticed.
    ///
    /// # Errors
    ///
    /// The store failed -> [`ManageError::Store`]; call again.
    pub async fn remove_member(
        &self,
        context: &Context,
        team: &TeamId,
        user: &UserId,
    ) -> Result<(), ManageError> {
        self.cut(context, owner_realm(team, Owner::User(user.clone())), true)
            .await
    }

    /// Lets keys be created for a person again. What was cut off stays so.
    ///
    /// # Errors
    ///
    /// The person was not removed -> [`Conflict::NotClosed`](crate::store::Conflict::NotClosed).
    pub async fn restore_member(
        &self,
        context: &Context,
        team: &TeamId,
        user: &UserId,
    ) -> Result<(), ManageError> {
        self.open(context, owner_realm(team, Owner::User(user.clone())))
            .await
    }

    /// Removes a service from a team, as [`Keyring::remove_member`] a person.
    ///
    /// # Errors
    ///
    /// As [`Keyring::remove_member`].
    pub async fn remove_service(
        &self,
        context: &Context,
        team: &TeamId,
        service: &ServiceId,
    ) -> Result<(), ManageError> {
        self.cut(
            context,
            owner_realm(team, Owner::Service(service.clone())),
            true,
        )
        .await
    }

    /// Lets keys be created for a service again. What was cut off stays so.
    ///
    /// # Errors
    ///
    /// The service was not removed -> [`Conflict::NotClosed`](crate::store::Conflict::NotClosed).
    pub async fn restore_service(
        &self,
        context: &Context,
        team: &TeamId,
        service: &ServiceId,
    ) -> Result<(), ManageError> {
        self.open(context, owner_realm(team, Owner::Service(service.clone())))
            .await
    }

    /// Removes a namespace: none of its keys works any more, legacy credentials included, and
    /// none can be created.
    ///
    /// # Errors
    ///
    /// The namespace is another team's -> [`Conflict::ForeignNamespace`](crate::store::Conflict::ForeignNamespace).
    pub async fn remove_namespace(
        &self,
        context: &Context,
        tenant: &Tenant,
    ) -> Result<(), ManageError> {
        self.cut(context, Realm::Namespace(tenant.clone()), true)
            .await
    }

    /// Lets keys be created in a namespace again. What was cut off stays so.
    ///
    /// # Errors
    ///
    /// The namespace was not removed -> [`Conflict::NotClosed`](crate::store::Conflict::NotClosed).
    pub async fn restore_namespace(
        &self,
        context: &Context,
        tenant: &Tenant,
    ) -> Result<(), ManageError> {
        self.open(context, Realm::Namespace(tenant.clone())).await
    }

    /// Removes a team: none of the keys in any of its namespaces works any more.
    ///
    /// # Errors
    ///
    /// The store failed -> [`ManageError::Store`]; call again.
    pub async fn remove_team(&self, context: &Context, team: &TeamId) -> Result<(), ManageError> {
        self.cut(context, Realm::Team(team.clone()), true).await
    }

    /// Lets keys be created in a team again. What was cut off stays so.
    ///
    /// # Errors
    ///
    /// The team was not removed -> [`Conflict::NotClosed`](crate::store::Conflict::NotClosed).
    pub async fn restore_team(&self, context: &Context, team: &TeamId) -> Result<(), ManageError> {
        self.open(context, Realm::Team(team.clone())).await
    }

    /// Revokes every key that a realm has now, and lets it go on: what to do after a leak.
    ///
    /// # Errors
    ///
    /// The namespace is another team's -> [`Conflict::ForeignNamespace`](crate::store::Conflict::ForeignNamespace).
    pub async fn revoke_all(&self, context: &Context, realm: Realm) -> Result<(), ManageError> {
        self.cut(context, realm, false).await
    }

    async fn cut(&self, context: &Context, realm: Realm, close: bool) -> Result<(), ManageError> {
        let action = if close {
            Action::RealmClosed
        } else {
            Action::RealmCut
        };
        let event = about_realm(action, context, &realm);
        let change = Change::CutRealm { realm, close };
        self.commit(change, event).await.map(drop)
    }

    async fn open(&self, context: &Context, realm: Realm) -> Result<(), ManageError> {
        let event = about_realm(Action::RealmOpened, context, &realm);
        self.commit(Change::OpenRealm { realm }, event)
            .await
            .map(drop)
    }
}

fn owner_realm(team: &TeamId, owner: Owner) -> Realm {
    Realm::Owner(team.clone(), owner)
}

fn about_realm(action: Action, context: &Context, realm: &Realm) -> AuditEntry {
    let entry = AuditEntry {
        team: Some(realm.team().clone()),
        ..AuditEntry::new(action, context)
    };
    match realm {
        Realm::Team(_) => entry,
        Realm::Namespace(tenant) => AuditEntry {
            namespace: Some(tenant.namespace.clone()),
            ..entry
        },
        Realm::Owner(_, owner) => AuditEntry {
            owner: Some(owner.clone()),
            ..entry
        },
    }
}
