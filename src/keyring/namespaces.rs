//! Namespaces before and beside their keys.

use crate::{
    audit::Action,
    identity::{Context, Tenant},
    keyring::{Error, Keyring, about_namespace},
    store::{Change, NamespaceQuery, NamespaceRecord, Page},
};

impl Keyring {
    /// Binds a namespace to its team before anything is in it. Whatever first comes into a
    /// namespace does the same, so nobody is obliged to call this; it is for a control plane in
    /// which a namespace must exist before its first key.
    ///
    /// # Errors
    ///
    /// - it is another team's -> [`Conflict::ForeignNamespace`](crate::store::Conflict::ForeignNamespace)
    /// - it is the team's already -> [`Conflict::IdTaken`](crate::store::Conflict::IdTaken)
    /// - the team was removed -> [`Conflict::Removed`](crate::store::Conflict::Removed)
    pub async fn create_namespace(&self, context: &Context, tenant: Tenant) -> Result<(), Error> {
        let event = about_namespace(Action::NamespaceCreated, context, Some(&tenant));
        self.commit(context, Change::CreateNamespace { tenant }, event)
            .await
            .map(drop)
    }

    /// A page of namespaces in the order in which they were bound to their teams.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn namespaces(&self, query: &NamespaceQuery) -> Result<Page<NamespaceRecord>, Error> {
        Ok(self.store.namespaces(query).await?)
    }
}
