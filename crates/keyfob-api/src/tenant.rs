//! Finding the namespace that a path names, and its team.

use keyfob::{NamespaceId, TeamId, Tenant, store::KeyStore};

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
        let caller = &asked.caller;
        if let Some(team) = controlled_team(&namespace) {
            // It is there once somebody makes a key in it.
            let team = TeamId::new(team).map_err(|_| Refusal::NOT_FOUND)?;
            return if caller.reaches(&team) {
                Ok(Tenant::new(team, namespace))
            } else {
                Err(Refusal::NOT_FOUND)
            };
        }
        let team = (!caller.may(Right::Operator)).then(|| caller.team.clone());
        self.namespace(team, namespace).await
    }

    async fn namespace(
        &self,
        team: Option<TeamId>,
        namespace: NamespaceId,
    ) -> Result<Tenant, Refusal> {
        let team = team.ok_or(Refusal::NOT_FOUND)?;
        Ok(Tenant::new(team, namespace))
    }
}
