//! `PUT …/keys/{key_id}`

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{Path, State},
    response::Response,
};
use keyfob::{KeyInfo, KeyStore, manage::KeyUpdate, name::KeyName};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    admission::Admitted,
    authority::Call,
    body::Json,
    caller::Rights,
    control_plane::Plane,
    key::{
        asked::parse_labels,
        precondition::IfMatch,
        repeat::with_reserved,
        scopes::{parse_scopes, refuse_escalation, refuse_growth, refuse_takeover},
        show::ShownKey,
    },
    moment::Moment,
    refusal::Refusal,
};

/// Changes an access key
///
/// What is left out stays. With `If-Match`, the key is changed only if it is still the one that
/// was seen.
#[utoipa::path(
    put,
    path = "/v2/functions/namespaces/{namespace_id}/keys/{key_id}",
    operation_id = "update_key",
    tag = "Access keys",
    params(
        ("namespace_id" = String, Path, description = "The namespace."),
        ("key_id" = String, Path, description = "The key's public identifier."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the key that was seen."),
    ),
    request_body = UpdateKey,
    responses(
        (status = 200, description = "The key as it is now.", body = ShownKey),
        (status = 409, description = "The name is taken, or the key is revoked."),
        (status = 412, description = "The key was changed since it was seen."),
    ),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path((namespace, key)): Path<(String, String)>,
    if_match: IfMatch,
    Json(body): Json<UpdateKey>,
) -> Result<Response, Refusal> {
    let info = plane.key(&asked, Call::UpdateKey, &namespace, &key).await?;
    let update = body.parse(&asked, &info)?;
    // Between this reading and the change, somebody else's change must not be undone.
    let expected = if_match
        .0
        .or(update.labels.is_some().then_some(info.revision));
    let context = asked.context();
    let updated = plane
        .keyring
        .update(&context, &info.tenant, info.id, update, expected)
        .await
        .map_err(|error| if_match.decide(error))?;
    plane.answer(&asked, &updated).await
}

/// What to change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateKey {
    /// A new name.
    #[schema(min_length = 1, max_length = 100, examples("desktop"))]
    name: Option<String>,
    /// New labels, at most 30, in place of all the old ones.
    labels: Option<BTreeMap<String, String>>,
    /// New scopes in place of all the old ones.
    #[schema(max_items = 64)]
    scopes: Option<Vec<String>>,
    /// An earlier end. To put it back, rotate the key.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

impl UpdateKey {
    fn parse(&self, asked: &Admitted, info: &KeyInfo) -> Result<KeyUpdate, Refusal> {
        let expires_at = self.expires_at.as_deref().map(|text| {
            Moment::parse(text).ok_or(Refusal::bad_request("expires_at: not RFC 3339"))
        });
        let labels = self.labels.as_ref().map(|labels| {
            parse_labels(labels).and_then(|labels| with_reserved(labels, &info.labels))
        });
        let update = KeyUpdate {
            name: self.name.as_deref().map(KeyName::new).transpose()?,
            labels: labels.transpose()?,
            scopes: self.scopes.as_deref().map(parse_scopes).transpose()?,
            expires_at: expires_at.transpose()?,
        };
        if update == KeyUpdate::default() {
            return Err(Refusal::bad_request(
                "body: name, labels, scopes or expires_at must be there",
            ));
        }
        if let Some(scopes) = &update.scopes {
            refuse_takeover(asked, &info.tenant, &info.scopes)?;
            refuse_escalation(asked, &info.tenant, scopes)?;
            let grows = !Rights::of(scopes).within(Rights::of(&info.scopes));
            refuse_growth(asked, &info.tenant, grows)?;
        }
        Ok(update)
    }
}
