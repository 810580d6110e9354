//! Creating and listing namespaces.

use crate::{
    audit::Action,
    identity::Context,
    keyring::{Error, Keyring},
    namespace::NewNamespace,
    store::{Change, NamespaceQuery, NamespaceRecord, Page},
};

impl Keyring {
    /// Binds a namespace to its team. The call is optional, since the first change in a namespace
    /// binds it too; it is for control planes in which a namespace must exist before its first key.
    ///
    /// # Errors
    ///
    /// - it is bound to another team ->
    ///   [`Conflict::ForeignNamespace`](crate::store::Conflict::ForeignNamespace)
    /// - it is already bound to this team -> [`Conflict::IdTaken`](crate::store::Conflict::IdTaken)
    /// - the team was removed -> [`Conflict::Removed`](crate::store::Conflict::Removed)
    pub async fn create_namespace(
        &self,
        context: &Context,
        new: impl Into<NewNamespace>,
    ) -> Result<(), Error> {
        let change = Change::CreateNamespace { new: new.into() };
        self.commit(context, Action::NamespaceCreated, change)
            .await
            .map(drop)
    }

    /// Returns a page of namespaces in the order in which they were bound to their teams.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn namespaces(&self, query: &NamespaceQuery) -> Result<Page<NamespaceRecord>, Error> {
        Ok(self.store.namespaces(query).await?)
    }
}
