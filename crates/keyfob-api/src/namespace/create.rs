//! `POST /v2/functions/namespaces`

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use keyfob::{KeyStore, Tenant, name::NamespaceId};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    admission::Admitted,
    authority::Call,
    body::Json,
    control_plane::Plane,
    namespace::{NamespaceView, show::ShownNamespace},
    refusal::Refusal,
    request_id::{hex, random_bytes},
};

/// Makes a namespace
///
/// Its name is made up. Keys can be made in it at once.
#[utoipa::path(
    post,
    path = "/v2/functions/namespaces",
    operation_id = "create_namespace",
    tag = "Namespaces",
    request_body = CreateNamespace,
    responses(
        (status = 200, description = "The namespace.", body = ShownNamespace),
        (status = 409, description = "The team was removed."),
    ),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Json(body): Json<CreateNamespace>,
) -> Result<Answer<ShownNamespace>, Refusal> {
    asked.may(Call::CreateNamespace)?;
    let team = match &body.team {
        Some(team) => asked.team(Call::CreateNamespace, team)?,
        None => asked.caller.team.clone(),
    };
    if !(1..=LABEL_MAX).contains(&body.label.chars().count()) {
        return Err(Refusal::bad_request("label: not 1 to 100 characters"));
    }
    let tenant = Tenant::new(team, new_name()?);
    let directory = &plane.directory;
    let facts = directory.admit(&tenant, &body.label, &body.region).await?;
    let context = asked.context();
    plane
        .keyring
        .create_namespace(&context, tenant.clone())
        .await?;
    let namespace = NamespaceView::new(&tenant, asked.now(), facts);
    Ok(Answer(ShownNamespace { namespace }))
}

const LABEL_MAX: usize = 100;

/// `fn-` and a random UUID (RFC 9562, version 4).
fn new_name() -> Result<NamespaceId, Refusal> {
    let mut bytes = random_bytes().ok_or(Refusal::UNAVAILABLE)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex(&bytes);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
    Ok(NamespaceId::new(&format!("fn-{}", parts.join("-")))?)
}

/// What to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateNamespace {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100, examples("orders"))]
    label: String,
    /// Where it shall run.
    #[schema(examples("blr1"))]
    region: String,
    /// The team that it shall belong to. Left out: the caller's.
    team: Option<String>,
}
