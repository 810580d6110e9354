//! What the handlers work with.

use std::sync::Arc;

use keyfob::{
    Keyring, Tenant, Timestamp, Verifier,
    key::KeyFormat,
    manage::Error,
    name::{NamespaceId, TeamId},
    store::{NamespaceQuery, NamespaceRecord, Target, TargetQuery},
};

use crate::{
    authority::Call,
    caller::Right,
    caller_context::CallerContext,
    control_keys::{controlled_team, is_control},
    directory::Directory,
    fleet::Fleet,
    refusal::Refusal,
    request_limits::RequestLimits,
    single_flight::SingleFlight,
};

/// The state of the router.
pub(crate) struct AppState {
    pub(crate) keyring: Arc<Keyring>,
    /// Verifies credentials whose text was presented, and records no usage: the last use of one that was found
    /// tells who else had it.
    pub(crate) verifier: Verifier,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) fleet: Option<Arc<dyn Fleet>>,
    pub(crate) creations: SingleFlight,
    pub(crate) limits: Arc<RequestLimits>,
}

impl AppState {
    pub(crate) fn format(&self) -> &KeyFormat {
        self.keyring.format()
    }

    /// The time at which an answer shows the state of a key: that of the verifiers, which does not
    /// run back. So the answer says what they say.
    pub(crate) fn latest(&self, now: Timestamp) -> Timestamp {
        self.keyring.index().latest(now)
    }

    /// The namespace of this name, if the caller may know of it.
    ///
    /// A namespace of another team is not found, exactly as one that does not exist.
    pub(crate) async fn tenant(
        &self,
        caller: &CallerContext,
        name: &str,
    ) -> Result<Tenant, Refusal> {
        let namespace = NamespaceId::new(name).map_err(|_| Refusal::NOT_FOUND)?;
        let Some(team) = controlled_team(&namespace) else {
            return Ok(self.namespace(caller, name).await?.tenant);
        };
        let team = TeamId::new(team).map_err(|_| Refusal::NOT_FOUND)?;
        if !caller.reaches(&team) {
            return Err(Refusal::NOT_FOUND);
        }
        // A namespace of control keys exists once somebody creates a key in it, for a team that
        // exists.
        let known = TargetQuery::one(Target::Team(team.clone()));
        let known = self.keyring.targets(&known).await?.items.pop();
        let query = NamespaceQuery::team(team.clone()).with_namespace(namespace.clone());
        let own = self.keyring.namespaces(&query).await?.items.pop();
        match known {
            Some(known) if !known.removed && own.is_none_or(|own| !own.removed) => {
                Ok(Tenant::new(team, namespace))
            }
            known => self.not_found(caller, known.is_some()).await,
        }
    }

    /// The record of a namespace that holds no control keys and was not removed.
    pub(crate) async fn namespace(
        &self,
        caller: &CallerContext,
        name: &str,
    ) -> Result<NamespaceRecord, Refusal> {
        let record = self.namespace_ever(caller, name).await?;
        if record.removed {
            return self.not_found(caller, true).await;
        }
        Ok(record)
    }

    /// Refuses to find something. If it was removed, perhaps by another process, it is so in this
    /// one before the caller reads that.
    async fn not_found<T>(&self, caller: &CallerContext, removed: bool) -> Result<T, Refusal> {
        if removed {
            let synced = self.keyring.sync(caller.now()).await;
            synced.map_err(Error::NotSynced)?;
        }
        Err(Refusal::NOT_FOUND)
    }

    /// The record of a namespace that holds no control keys, removed or not.
    pub(crate) async fn namespace_ever(
        &self,
        caller: &CallerContext,
        name: &str,
    ) -> Result<NamespaceRecord, Refusal> {
        let namespace = NamespaceId::new(name).map_err(|_| Refusal::NOT_FOUND)?;
        let query = NamespaceQuery {
            team: (!caller.rights.hold(Right::Operator)).then(|| caller.team.clone()),
            namespace: Some(namespace),
            after: None,
            limit: 1,
        };
        let found = self.keyring.namespaces(&query).await?.items.pop();
        let found = found.filter(|record| !is_control(&record.tenant));
        found.ok_or(Refusal::NOT_FOUND)
    }

    /// Where a policy applies, if the caller may make this call there: a namespace, or `None` for
    /// the default policy, which is the operators'.
    pub(crate) async fn policy_place(
        &self,
        caller: &CallerContext,
        call: Call,
        namespace: Option<&str>,
    ) -> Result<Option<Tenant>, Refusal> {
        let Some(namespace) = namespace else {
            caller.require(Call::Operate)?;
            return Ok(None);
        };
        caller.require(call)?;
        self.tenant(caller, namespace).await.map(Some)
    }
}
