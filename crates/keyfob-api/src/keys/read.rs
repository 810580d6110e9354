//! Reads keys, and what answers say about them.

use std::collections::{BTreeSet, HashMap};

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use keyfob::{
    KeyId, KeyInfo, Tenant, Timestamp,
    gateway::Usage,
    key::CredentialId,
    manage::{self, Error, Policy, UsageOf, UsageRange},
    name::NamespaceId,
};
use serde::Deserialize;

use crate::{
    authority::Call,
    caller_context::CallerContext,
    keys::{
        precondition::etag,
        view::{AccessKey, CreatedKey, ShownKey},
    },
    refusal::Refusal,
    state::AppState,
    usage::Sparkline,
};

/// The path of a key.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct KeyPath {
    /// The namespace.
    namespace_id: String,
    /// The key's public identifier.
    key_id: String,
}

impl AppState {
    /// The key that a path names, if the caller may make this call on it.
    pub(crate) async fn key(
        &self,
        caller: &CallerContext,
        call: Call,
        path: KeyPath,
    ) -> Result<KeyInfo, Refusal> {
        caller.require(call)?;
        let tenant = self.tenant(caller, &path.namespace_id).await?;
        let id = self.format().parse_key_id(&path.key_id);
        let id = id.map_err(|_| Refusal::NOT_FOUND)?;
        let info = match self.keyring.get(&tenant, id).await {
            // Another process may have deleted it: before the caller reads that, it is so here.
            Err(Error::NotFound) if call != Call::ShowKey => {
                let synced = self.keyring.sync(caller.now()).await;
                synced.map_err(Error::NotSynced)?;
                return Err(Refusal::NOT_FOUND);
            }
            found => found?,
        };
        caller.require_for(call, &info.owner)?;
        Ok(info)
    }

    /// Reads what the answer about a key needs besides the key. A call that changes the key does
    /// it first: after a change is kept, no failure to read may hide that it is.
    pub(crate) async fn read_for_answer(&self, info: &KeyInfo) -> Result<ReadKey, Refusal> {
        let policy = self.keyring.policy(Some(&info.tenant)).await?;
        let usage = self.keyring.usage(&[CredentialId::Key(info.id)]).await?;
        Ok(ReadKey {
            policy,
            usage: usage.into_iter().next(),
        })
    }

    /// What is known of the use of keys.
    pub(crate) async fn usage_of(
        &self,
        keys: &[KeyInfo],
    ) -> Result<HashMap<KeyId, Usage>, Refusal> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<_> = keys.iter().map(|info| CredentialId::Key(info.id)).collect();
        let usage = self.keyring.usage(&ids).await?.into_iter();
        let by_id = usage.filter_map(|usage| match usage.credential {
            CredentialId::Key(id) => Some((id, usage)),
            _ => None,
        });
        Ok(by_id.collect())
    }

    /// Adds the policies of the namespaces of these keys that are not known yet, by one call of the
    /// store.
    pub(crate) async fn add_policies(
        &self,
        keys: &[KeyInfo],
        known: &mut HashMap<NamespaceId, Policy>,
    ) -> Result<(), Refusal> {
        let tenants = keys.iter().map(|info| &info.tenant);
        let unknown = tenants.filter(|tenant| !known.contains_key(&tenant.namespace));
        let unknown: Vec<Tenant> = unknown
            .collect::<BTreeSet<_>>()
            .into_iter()
            .cloned()
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let policies = self.keyring.policies(&unknown).await?;
        let namespaces = unknown.into_iter().map(|tenant| tenant.namespace);
        known.extend(namespaces.zip(policies));
        Ok(())
    }

    /// The use of keys over time, in their order, by one call of the store; nothing without a range.
    pub(crate) async fn series_of(
        &self,
        keys: impl Iterator<Item = KeyId>,
        range: Option<&UsageRange>,
    ) -> Result<Vec<Sparkline>, Refusal> {
        let Some(range) = range else {
            return Ok(Vec::new());
        };
        let ids = keys.map(CredentialId::Key);
        let of: Vec<_> = ids.map(UsageOf::Credential).collect();
        if of.is_empty() {
            return Ok(Vec::new());
        }
        let series = self.keyring.usage_series(&of, range).await?;
        let short = series.iter().map(|series| Sparkline::new(range, series));
        Ok(short.collect())
    }
}

/// What was read for an answer about a key.
pub(crate) struct ReadKey {
    pub(crate) policy: Policy,
    pub(crate) usage: Option<Usage>,
}

impl ReadKey {
    fn view(&self, state: &AppState, info: &KeyInfo, now: Timestamp) -> AccessKey {
        let (usage, now) = (self.usage.as_ref(), state.latest(now));
        AccessKey::new(info, state.format(), &self.policy, usage, now)
    }

    pub(crate) fn answer(&self, state: &AppState, info: &KeyInfo, now: Timestamp) -> Response {
        let tag = [(header::ETAG, etag(info.revision))];
        let access_key = self.view(state, info, now);
        (tag, Json(ShownKey { access_key })).into_response()
    }

    pub(crate) fn answer_secret(
        &self,
        state: &AppState,
        status: StatusCode,
        created: manage::CreatedKey,
        now: Timestamp,
    ) -> Response {
        let in_force = created.in_force;
        let (secret, info) = created.into_parts();
        let tag = [(header::ETAG, etag(info.revision))];
        let body = CreatedKey::new(self.view(state, &info, now), secret, in_force);
        (status, tag, Json(body)).into_response()
    }
}
