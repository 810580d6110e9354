//! Calls about a credential whose text is in the request.

mod leak;
mod presented;
mod revocation;

use std::sync::Arc;

use axum::{
    Json,
    extract::{Extension, State},
    response::{IntoResponse, Response},
};
use keyfob::{
    Access, Context, Principal, Scopes, Timestamp,
    key::KeyFormat,
    name::{Reason, Scope},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    authority::Call,
    body::{JsonBody, JsonList},
    caller_context::CallerContext,
    rate::Source,
    refusal::Refusal,
    request_meta::RequestMeta,
    state::AppState,
    tokens::{
        leak::{Leak, Outcome},
        presented::Presented,
        revocation::By,
    },
    wire::Done,
};

/// Tells whether a credential works, and for what
///
/// The answer is that of RFC 7662; the request is JSON, not a form. The answer for a credential that does not work, or is another team's, is
/// `{"active": false}` and nothing else. The call does not count as a use of the credential.
#[utoipa::path(
    post,
    path = "/v1/introspect",
    operation_id = "introspect",
    tag = "Presented credentials",
    request_body = Presented,
    responses((status = 200, description = "What it may be used for.", body = Introspection)),
)]
pub(crate) async fn introspect(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    JsonBody(presented): JsonBody<Presented>,
) -> Result<Json<Introspection>, Refusal> {
    caller.require(Call::Introspect)?;
    let access = Access::to_own_namespace();
    let text = presented.as_bytes();
    match state.verifier.verify_text(text, &access, caller.now()) {
        Ok(principal) if caller.reaches(principal.team()) => {
            Ok(Json(Introspection::of(&principal, state.format())))
        }
        Err(denied) if denied.status() == 503 => Err(Refusal::UNAVAILABLE),
        _ => Ok(Json(Introspection::default())),
    }
}

/// What a credential may be used for. The fields other than `active` are there only if it works.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct Introspection {
    /// Whether it works now.
    active: bool,
    /// Its scopes, separated by spaces; left out for every scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    /// Its public identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// Its owner, as `user:NAME` or `service:NAME`; left out for a legacy credential, which is shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(examples("user:alice"))]
    sub: Option<String>,
    /// The namespace that it opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    /// The team of the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<String>,
    /// When it expires, in Unix seconds; left out for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
}

impl Introspection {
    fn of(principal: &Principal<'_>, format: &KeyFormat) -> Self {
        let scope = match principal.scopes() {
            Scopes::Only(scopes) => {
                let names: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
                Some(names.join(" "))
            }
            _ => None,
        };
        Self {
            active: true,
            scope,
            client_id: Some(format.credential_id(principal.credential())),
            sub: principal.owner().map(|owner| owner.to_string()),
            aud: Some(principal.namespace().as_str().to_owned()),
            team: Some(principal.team().as_str().to_owned()),
            exp: principal.expires_at().map(Timestamp::as_unix),
        }
    }
}

/// Revokes a key by its text
///
/// As in RFC 7009, but with JSON in place of a form: the holder of a key may revoke it, and needs no other credential. The audit trail
/// names the key as the actor, without its owner, since anybody who has the secret can make this call. The answer is the same for a
/// text that is no key. A legacy credential is shared, and one of its holders cannot
/// revoke it.
#[utoipa::path(
    post,
    path = "/v1/revoke",
    operation_id = "revoke_by_holder",
    tag = "Presented credentials",
    security(()),
    request_body = Presented,
    responses((status = 200, description = "If it was a key, it is revoked.", body = Done)),
)]
pub(crate) async fn revoke(
    State(state): State<Arc<AppState>>,
    Extension(meta): Extension<RequestMeta>,
    source: Source,
    JsonBody(presented): JsonBody<Presented>,
) -> Result<Response, Refusal> {
    let context = Context::system((state.limits.clock)())
        .with_request_id(meta.request_id)
        .with_reason(Reason::new("its secret was presented to be revoked")?);
    let text = presented.as_bytes();
    let mut allowance = None;
    // A credential that is unknown here is looked for in the store: limit how often one may guess.
    if !state.knows(text, context.now)? {
        match state.limits.attempt(source) {
            Ok(left) => allowance = Some(left),
            Err((refusal, left)) => {
                let mut response = refusal.into_response();
                response.extensions_mut().insert(left);
                return Ok(response);
            }
        }
    }
    state.revoke_presented(text, context, By::Holder).await?;
    let mut response = Json(Done {}).into_response();
    if let Some(allowance) = allowance {
        response.extensions_mut().insert(allowance);
    }
    Ok(response)
}

/// Reports leaked credentials, and revokes them
///
/// For everybody who has found one, and for the program that receives the reports of secret scanners: it must
/// check the reporter's signature. Each text that is a credential with its secret is revoked, if it works
/// or could work again, and answered `true_positive`. A secret that was replaced before is answered so too, and its
/// key stays as it is. The answer is in the order of the report and
/// repeats no text. The report does not count as a use of the credential.
///
/// The audit trail names the caller, and as the actor of a revocation in another team the key itself, unless the
/// caller is an operator. A legacy credential is shared: only operators, and administrators of its team, revoke it.
/// A report of more than one text is for operators.
#[utoipa::path(
    post,
    path = "/v1/leaks",
    operation_id = "report_leaks",
    tag = "Presented credentials",
    request_body = Vec<Leak>,
    responses((status = 200, description = "The outcome of each.", body = Vec<Outcome>)),
)]
pub(crate) async fn report_leaks(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    JsonList(leaks): JsonList<Leak>,
) -> Result<Json<Vec<Outcome>>, Refusal> {
    caller.require(Call::ReportLeak)?;
    if leaks.len() > 1 {
        caller.require(Call::Operate)?;
    }
    if leaks.len() > LEAKS_MAX {
        return Err(Refusal::bad_request("body: more than 256 leaks"));
    }
    let format = state.format();
    let by = By::Reporter(&caller);
    let mut outcomes = Vec::with_capacity(leaks.len());
    for leak in &leaks {
        let (reason, url_recorded) = leak.reason(format)?;
        let context = caller.context().with_reason(reason);
        let text = leak.token.as_bytes();
        let found = match state.revoke_presented(text, context, by).await {
            Ok(found) => found,
            Err(refusal) if leaks.len() > 1 => return Err(refusal.of_a_part()),
            Err(refusal) => return Err(refusal),
        };
        outcomes.push(Outcome::new(found, url_recorded, format));
    }
    Ok(Json(outcomes))
}

const LEAKS_MAX: usize = 256;
