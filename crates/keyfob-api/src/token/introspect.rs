//! `POST /v1/introspect`

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use keyfob::{Access, KeyStore, Principal, Scopes, name::Scope};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    admission::Admitted, authority::Call, control_plane::Plane, key::OwnerView, refusal::Refusal,
    token::presented::Presented,
};

/// Tells whether a credential works, and for what
///
/// As RFC 7662 has it. A credential that does not work, or is another team's, is `{"active":
/// false}` and nothing else. Asking counts as a use of the credential.
#[utoipa::path(
    post,
    path = "/v1/introspect",
    operation_id = "introspect",
    tag = "Credentials at hand",
    request_body(content(
        (Presented = "application/x-www-form-urlencoded"),
        (Presented = "application/json"),
    )),
    responses((status = 200, description = "What it is good for.", body = Introspection)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    presented: Presented,
) -> Result<Answer<Introspection>, Refusal> {
    asked.may(Call::Introspect)?;
    let access = Access::to_own_namespace();
    let verdict = plane
        .verifier
        .verify_text(presented.as_bytes(), &access, asked.now());
    match verdict {
        Ok(principal) if asked.caller.reaches(principal.team()) => {
            Ok(Answer(Introspection::of(&principal, &plane)))
        }
        Err(denied) if denied.status() == 503 => Err(Refusal::UNAVAILABLE),
        _ => Ok(Answer(Introspection::default())),
    }
}

/// What a credential is good for. But for `active`, the fields are there only if it works.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct Introspection {
    /// Whether it works now.
    active: bool,
    /// What it may be used for, separated by spaces; left out for everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// Its public identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// Whose it is; left out for a legacy credential, which is everybody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    /// The namespace that it opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    /// The team of the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<String>,
    /// When it ends, in Unix seconds; left out for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    /// The person or service.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<OwnerView>,
}

impl Introspection {
    fn of<S: KeyStore>(principal: &Principal<'_>, plane: &Plane<S>) -> Self {
        let credential = plane.format().credential_id(principal.credential());
        let scope = match principal.scopes() {
            Scopes::Only(scopes) => {
                let names: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
                Some(names.join(" "))
            }
            _ => None,
        };
        let owner = principal.owner().map(OwnerView::from);
        Self {
            active: true,
            scope,
            client_id: Some(credential),
            sub: principal.owner().map(|owner| owner.as_str().to_owned()),
            aud: Some(principal.namespace().as_str().to_owned()),
            team: Some(principal.team().as_str().to_owned()),
            exp: principal.expires_at().map(keyfob::Timestamp::as_unix),
            owner,
        }
    }
}
