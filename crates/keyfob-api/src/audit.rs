//! The audit trail.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use keyfob::{
    Owner,
    audit::{Action, AuditEvent},
    key::{CredentialId, KeyFormat},
    legacy::LegacyId,
    manage::Error,
    name::NamespaceId,
    store::AuditQuery,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    authority::Call,
    body::Query,
    caller_context::CallerContext,
    refusal::Refusal,
    state::AppState,
    wire::{ActorView, Moment, parse_cursor, parse_limit, parse_moment},
};

/// Lists what was done in every team
///
/// For operators.
#[utoipa::path(
    get,
    path = "/v1/audit",
    operation_id = "list_audit",
    tag = "Audit",
    params(ListAudit),
    responses((status = 200, description = "A page of events, oldest first.", body = Events)),
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Query(filter): Query<ListAudit>,
) -> Result<Json<Events>, Refusal> {
    caller.require(Call::Operate)?;
    events(&state, &filter, AuditQuery::every_team()).await
}

/// Lists what was done in a team
#[utoipa::path(
    get,
    path = "/v1/teams/{team_id}/audit",
    operation_id = "list_team_audit",
    tag = "Audit",
    params(
        ("team_id" = String, Path, description = "The team."),
        ListAudit,
    ),
    responses((status = 200, description = "A page of events, oldest first.", body = Events)),
)]
pub(crate) async fn list_team(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(team): Path<String>,
    Query(filter): Query<ListAudit>,
) -> Result<Json<Events>, Refusal> {
    let team = caller.require_team(Call::ReadAudit, &team)?;
    events(&state, &filter, AuditQuery::team(team)).await
}

/// Verifies the whole audit trail
///
/// For operators. Keep the last hash elsewhere: without it, nobody can tell that events were removed
/// from the end of the trail.
#[utoipa::path(
    get,
    path = "/v1/audit/verification",
    operation_id = "verify_audit",
    tag = "Audit",
    responses((status = 200, description = "Whether the trail is intact.", body = Verification)),
)]
pub(crate) async fn verify(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
) -> Result<Json<Verification>, Refusal> {
    caller.require(Call::Operate)?;
    let (last_hash, broken_at) = match state.keyring.verify_audit().await {
        Ok(hash) => (Some(hash.to_string()), None),
        Err(Error::Audit(broken)) => (None, Some(broken.revision.get())),
        Err(error) => return Err(error.into()),
    };
    if let Some(revision) = broken_at {
        tracing::error!(revision, "the audit trail is broken");
    }
    Ok(Json(Verification {
        intact: broken_at.is_none(),
        last_hash,
        broken_at,
    }))
}

async fn events(
    state: &AppState,
    filter: &ListAudit,
    all: AuditQuery,
) -> Result<Json<Events>, Refusal> {
    let format = state.format();
    let page = state.keyring.audit(&filter.parse(format, all)?).await?;
    let events = page.items.iter().map(|event| Event::new(event, format));
    Ok(Json(Events {
        events: events.collect(),
        next_cursor: page.next.map(|next| next.to_string()),
    }))
}

/// Which events to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListAudit {
    /// Only those in this namespace.
    namespace: Option<String>,
    /// Only those about this credential: a key's identifier, or a legacy credential's UUID.
    key: Option<String>,
    /// Only what this person or service did: `user:NAME` or `service:NAME`.
    #[param(example = "user:alice")]
    actor: Option<String>,
    /// Only this action, as in `key_created`.
    #[param(example = "key_created")]
    action: Option<String>,
    /// Only what was done at this moment or later.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Only what was done before this moment.
    #[param(format = DateTime)]
    until: Option<String>,
    /// The size of a page, 1 to 1000; 100 if left out.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// Where the page begins: the `next_cursor` of the page before.
    cursor: Option<String>,
}

impl ListAudit {
    fn parse(&self, format: &KeyFormat, all: AuditQuery) -> Result<AuditQuery, Refusal> {
        let namespace = self.namespace.as_deref().map(NamespaceId::new);
        let credential = self.key.as_deref().map(|key| parse_credential(format, key));
        let actor = self.actor.as_deref().map(str::parse);
        let action = self.action.as_deref().map(str::parse);
        let moment = |field, text: &Option<String>| {
            let text = text.as_deref();
            text.map(|text| parse_moment(field, text)).transpose()
        };
        Ok(AuditQuery {
            namespace: namespace.transpose()?,
            credential: credential.transpose()?,
            actor: actor.transpose()?,
            action: action.transpose()?,
            since: moment("since", &self.since)?,
            until: moment("until", &self.until)?,
            after: parse_cursor(self.cursor.as_deref())?,
            limit: parse_limit(self.limit.as_deref(), all.limit)?,
            ..all
        })
    }
}

fn parse_credential(format: &KeyFormat, text: &str) -> Result<CredentialId, Refusal> {
    if let Ok(id) = format.parse_key_id(text) {
        return Ok(CredentialId::Key(id));
    }
    match LegacyId::parse(text.as_bytes()) {
        Ok(id) => Ok(CredentialId::Legacy(id)),
        Err(_) => Err(Refusal::bad_request(
            "key: not the identifier of a key or of a legacy credential",
        )),
    }
}

/// Events of the audit trail.
#[derive(Serialize, ToSchema)]
pub(crate) struct Events {
    /// The events, oldest first.
    events: Vec<Event>,
    /// Where the next page begins; null if there is none yet.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// The outcome of a verification of the audit trail.
#[derive(Serialize, ToSchema)]
pub(crate) struct Verification {
    /// Whether every event follows from the one before it.
    intact: bool,
    /// The hash of the last event; null if the trail is broken.
    #[schema(required)]
    last_hash: Option<String>,
    /// The first event that does not follow from the one before it; null if all do.
    #[schema(required)]
    broken_at: Option<u64>,
}

/// One change, as recorded in the audit trail.
#[derive(Serialize, ToSchema)]
struct Event {
    /// The number of the change.
    revision: u64,
    /// When it was made.
    at: Moment,
    /// What was done, as in `key_created`.
    #[schema(value_type = String, examples("key_created"))]
    action: Action,
    /// Who did it.
    actor: ActorView,
    /// In which team; null for what concerns all.
    #[schema(required)]
    team: Option<String>,
    /// In which namespace.
    #[schema(required)]
    namespace: Option<String>,
    /// The key's owner, or the person or service that was removed or restored, as `user:NAME` or
    /// `service:NAME`.
    #[schema(required, value_type = Option<String>, examples("user:alice"))]
    owner: Option<Owner>,
    /// Which credential.
    #[schema(required)]
    credential: Option<String>,
    /// Why.
    #[schema(required)]
    reason: Option<String>,
    /// For which request.
    #[schema(required)]
    request_id: Option<String>,
    /// The hash over this event and the hash before it.
    hash: String,
}

impl Event {
    fn new(event: &AuditEvent, format: &KeyFormat) -> Self {
        fn text(text: Option<&(impl AsRef<str> + ?Sized)>) -> Option<String> {
            text.map(|text| text.as_ref().to_owned())
        }
        let entry = &event.entry;
        Self {
            revision: event.revision.get(),
            at: entry.at.into(),
            action: entry.action,
            actor: ActorView::new(&entry.actor, format),
            team: text(entry.team.as_ref()),
            namespace: text(entry.namespace.as_ref()),
            owner: entry.owner.clone(),
            credential: entry.credential.map(|id| format.credential_id(id)),
            reason: text(entry.reason.as_ref()),
            request_id: text(entry.request_id.as_ref()),
            hash: event.hash.to_string(),
        }
    }
}
