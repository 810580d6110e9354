//! The audit trail.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use keyfob::{
    Owner,
    audit::{Action, AuditEvent, Field, FieldChange, TrailHead, Value},
    key::{CredentialId, KeyFormat},
    legacy::LegacyId,
    manage::Error,
    name::NamespaceId,
    store::{AuditQuery, Revision},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    authority::Call,
    body::Query,
    caller_context::CallerContext,
    refusal::Refusal,
    state::AppState,
    wire::{ActorView, Moment, parse_cursor, parse_limit, parse_moment, parse_order},
};

/// Lists what was done in every team
///
/// For operators. A request may end before it has looked through all events: a page can have fewer events than
/// `limit`, or none, and there may be more as long as there is a `next_cursor`.
#[utoipa::path(
    get,
    path = "/v1/audit",
    operation_id = "list_audit",
    tag = "Audit",
    params(ListAudit),
    responses((status = 200, description = "A page of events.", body = Events)),
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
///
/// A request may end before it has looked through all events: a page can have fewer events than `limit`, or none,
/// and there may be more as long as there is a `next_cursor`.
#[utoipa::path(
    get,
    path = "/v1/teams/{team_id}/audit",
    operation_id = "list_team_audit",
    tag = "Audit",
    params(
        ("team_id" = String, Path, description = "The team."),
        ListAudit,
    ),
    responses((status = 200, description = "A page of events.", body = Events)),
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
/// For operators. The trail is compared with the head of the store and with every record in it.
/// Keep `head` elsewhere and pass it as `kept` later: only it reveals that somebody rewrote both the
/// trail and the store.
#[utoipa::path(
    get,
    path = "/v1/audit/verification",
    operation_id = "verify_audit",
    tag = "Audit",
    params(VerifyAudit),
    responses((status = 200, description = "Whether the trail is intact.", body = Verification)),
)]
pub(crate) async fn verify(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Query(VerifyAudit { kept }): Query<VerifyAudit>,
) -> Result<Json<Verification>, Refusal> {
    caller.require(Call::Operate)?;
    let kept: Option<TrailHead> = match kept.as_deref().map(str::parse) {
        Some(Ok(kept)) => Some(kept),
        Some(Err(error)) => return Err(Refusal::bad_request(format!("kept: {error}"))),
        None => None,
    };
    match state.keyring.verify_audit(kept).await {
        Ok(verified) => Ok(Json(Verification {
            intact: true,
            head: Some(verified.head.to_string()),
            records: Some(verified.records),
            fault: None,
            broken_at: None,
        })),
        Err(Error::Audit(fault)) => {
            let revision = fault.revision().get();
            tracing::error!(revision, %fault, "the audit trail is broken");
            Ok(Json(Verification {
                intact: false,
                head: None,
                records: None,
                fault: Some(fault.to_string()),
                broken_at: Some(revision),
            }))
        }
        Err(error) => Err(error.into()),
    }
}

/// What to compare the trail with.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct VerifyAudit {
    /// The `head` of an earlier verification, `REVISION:HASH`, which the trail must contain.
    kept: Option<String>,
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
    /// `true`: only revocations of credentials that were found in the open.
    #[param(value_type = Option<bool>)]
    leaks_only: Option<String>,
    /// Only what was done at this moment or later.
    #[param(format = DateTime)]
    since: Option<String>,
    /// Only what was done before this moment.
    #[param(format = DateTime)]
    until: Option<String>,
    /// `oldest_first`, which a program reads on from, or `newest_first`.
    #[param(example = "newest_first")]
    order: Option<String>,
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
            leaks_only: match self.leaks_only.as_deref() {
                None | Some("false") => false,
                Some("true") => true,
                Some(_) => return Err(Refusal::bad_request("leaks_only: must be true or false")),
            },
            order: parse_order(self.order.as_deref())?,
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
#[schema(as = EventList)]
pub(crate) struct Events {
    /// The events, oldest first unless `order` says otherwise.
    events: Vec<Event>,
    /// Where the next page begins; null if there is none yet.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// The outcome of a verification of the audit trail.
#[derive(Serialize, ToSchema)]
pub(crate) struct Verification {
    /// Whether the events form one chain up to the head of the store, and describe its records.
    intact: bool,
    /// The revision and the hash of the last event, `REVISION:HASH`; null if the trail is broken.
    #[schema(required)]
    head: Option<String>,
    /// How many records were compared with their events; null if the trail is broken.
    #[schema(required)]
    records: Option<u64>,
    /// What is broken; null if nothing is.
    #[schema(required)]
    fault: Option<String>,
    /// The revision at which it is broken; null if it is not.
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
    /// The fields that changed.
    changes: Vec<AuditChange>,
    /// The revision of the state that the change replaced.
    #[schema(required)]
    replaces: Option<u64>,
    /// The hash of the record that the store holds since this change.
    #[schema(required)]
    record: Option<String>,
    /// The hash over this event and the hash before it.
    hash: String,
}

/// A field that was changed. At the creation of an object, it lists all that the object has; at its
/// deletion, all that it had.
#[derive(Serialize, ToSchema)]
struct AuditChange {
    /// The field, as in `scopes`.
    #[schema(value_type = String, examples("scopes"))]
    field: Field,
    /// The value before the change; null if there was none.
    #[schema(required)]
    old: Option<AuditValue>,
    /// The value after the change; null if there is none.
    #[schema(required)]
    new: Option<AuditValue>,
}

/// The value of a field. Moments are texts of RFC 3339, durations are numbers of seconds.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum AuditValue {
    /// Yes or no.
    Flag(bool),
    /// A number, or a duration in seconds.
    Number(u64),
    /// A text.
    Text(String),
    /// A list of texts, such as scopes.
    List(Vec<String>),
}

impl AuditChange {
    fn new(change: &FieldChange) -> Self {
        Self {
            field: change.field,
            old: change.old.as_ref().map(AuditValue::new),
            new: change.new.as_ref().map(AuditValue::new),
        }
    }
}

impl AuditValue {
    fn new(value: &Value) -> Self {
        match value {
            Value::Flag(flag) => Self::Flag(*flag),
            Value::Number(number) => Self::Number(*number),
            Value::Text(text) => Self::Text(text.clone()),
            Value::List(texts) => Self::List(texts.clone()),
            other => Self::Text(other.to_string()),
        }
    }
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
            changes: entry.changes.iter().map(AuditChange::new).collect(),
            replaces: entry.replaces.map(Revision::get),
            record: entry.record.map(|record| record.to_string()),
            hash: event.hash.to_string(),
        }
    }
}
