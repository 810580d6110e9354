//! An event as the interface shows it.

use keyfob::{
    audit::{Action, AuditEvent},
    key::KeyFormat,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    key::{ActorView, OwnerView},
    moment::Moment,
};

/// One change, as the audit trail keeps it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Event {
    /// The number of the change.
    revision: u64,
    /// When.
    at: Moment,
    /// What was done, as in `key_created`.
    #[schema(value_type = String, examples("key_created"))]
    action: Action,
    /// By whom.
    actor: ActorView,
    /// In which team; null for what concerns all.
    #[schema(required)]
    team: Option<String>,
    /// In which namespace.
    #[schema(required)]
    namespace: Option<String>,
    /// Whose key, or who was cut off.
    #[schema(required)]
    owner: Option<OwnerView>,
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
    pub(crate) fn new(event: &AuditEvent, format: &KeyFormat) -> Self {
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
            owner: entry.owner.as_ref().map(OwnerView::from),
            credential: entry.credential.map(|id| format.credential_id(id)),
            reason: text(entry.reason.as_ref()),
            request_id: text(entry.request_id.as_ref()),
            hash: event.hash.to_string(),
        }
    }
}
