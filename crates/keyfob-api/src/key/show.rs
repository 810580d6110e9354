//! `GET …/keys/{key_id}`

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json as Answer,
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
};
use keyfob::{KeyId, KeyInfo, KeyStore, Tenant, Timestamp, gateway::Usage, key::CredentialId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    admission::Admitted,
    authority::Call,
    control_plane::Plane,
    key::{AccessKey, precondition::etag},
    refusal::Refusal,
};

/// Shows an access key
#[utoipa::path(
    get,
    path = "/v2/functions/namespaces/{namespace_id}/keys/{key_id}",
    operation_id = "show_key",
    tag = "Access keys",
    params(
        ("namespace_id" = String, Path, description = "The namespace."),
        ("key_id" = String, Path, description = "The key's public identifier."),
    ),
    responses((status = 200, description = "The key.", body = ShownKey)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path((namespace, key)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let info = plane.key(&asked, Call::ShowKey, &namespace, &key).await?;
    plane.answer(&asked, &info).await
}

impl<S: KeyStore> Plane<S> {
    /// The key that a path names, if the caller may make this call on it.
    pub(crate) async fn key(
        &self,
        asked: &Admitted,
        call: Call,
        namespace: &str,
        key: &str,
    ) -> Result<KeyInfo, Refusal> {
        asked.may(call)?;
        let tenant = self.tenant(asked, namespace).await?;
        let id = self.format().parse_key_id(key);
        let id: KeyId = id.map_err(|_| Refusal::NOT_FOUND)?;
        let info = self.keyring.get(&tenant, id).await?;
        asked.may_to(call, &info.owner)?;
        Ok(info)
    }

    /// The answer that shows a key.
    pub(crate) async fn answer(
        &self,
        asked: &Admitted,
        info: &KeyInfo,
    ) -> Result<Response, Refusal> {
        let access_key = self.view(info, asked.now()).await?;
        let tag = [(header::ETAG, etag(access_key.revision()))];
        Ok((tag, Answer(ShownKey { access_key })).into_response())
    }

    /// A key as the interface shows it.
    pub(crate) async fn view(&self, info: &KeyInfo, now: Timestamp) -> Result<AccessKey, Refusal> {
        let tenant: &Tenant = &info.tenant;
        let policy = self.keyring.policy(tenant).await?;
        let usage = self.keyring.usage(&[CredentialId::Key(info.id)]).await?;
        let format = self.format();
        Ok(AccessKey::new(info, format, &policy, usage.first(), now))
    }

    /// What is known of the use of keys.
    pub(crate) async fn usage_of(
        &self,
        keys: &[KeyInfo],
    ) -> Result<HashMap<KeyId, Usage>, Refusal> {
        let ids: Vec<_> = keys.iter().map(|info| CredentialId::Key(info.id)).collect();
        let usage = self.keyring.usage(&ids).await?;
        let by_id = usage
            .into_iter()
            .filter_map(|usage| match usage.credential {
                CredentialId::Key(id) => Some((id, usage)),
                _ => None,
            });
        Ok(by_id.collect())
    }
}

/// An access key.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShownKey {
    access_key: AccessKey,
}
