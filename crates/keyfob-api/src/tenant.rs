//! Finding the namespace that a path names, and its team.

use keyfob::{
    KeyStore, Tenant,
    name::{NamespaceId, TeamId},
    store::{NamespaceQuery, NamespaceRecord},
};

use crate::{
    admission::Admitted, caller::Right, control_keys::controlled_team, control_plane::Plane,
    refusal::Refusal,
};

impl<S: KeyStore> Plane<S> {
    /// The namespace of this name, as far as the caller may know of it.
    ///
    /// One that is another team's is not found, exactly as one that does not exist.
    pub(crate) async fn tenant(&self, asked: &Admitted, name: &str) -> Result<Tenant, Refusal> {
        let namespace = NamespaceId::new(name).map_err(|_| Refusal::NOT_FOUND)?;
        let Some(team) = controlled_team(&namespace) else {
            return Ok(self.namespace(asked, namespace).await?.tenant);
        };
        // It is there once somebody makes a key in it.
        let team = TeamId::new(team).map_err(|_| Refusal::NOT_FOUND)?;
        if asked.caller.reaches(&team) {
            Ok(Tenant::new(team, namespace))
        } else {
            Err(Refusal::NOT_FOUND)
        }
    }

    /// A namespace that holds no control keys.
    pub(crate) async fn namespace(
        &self,
        asked: &Admitted,
        namespace: NamespaceId,
    ) -> Result<NamespaceRecord, Refusal> {
        let caller = &asked.caller;
        let query = NamespaceQuery {
            team: (!caller.may(Right::Operator)).then(|| caller.team.clone()),
            namespace: Some(namespace),
            after: None,
            limit: 1,
        };
        let found = self.keyring.namespaces(&query).await?.items.pop();
        let known = found.filter(|record| controlled_team(&record.tenant.namespace).is_none());
        known.ok_or(Refusal::NOT_FOUND)
    }
}
