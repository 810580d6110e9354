//! `GET /v1/audit`

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use keyfob::store::{AuditQuery, KeyStore};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    admission::Admitted,
    audit::{filter::ListAudit, view::Event},
    authority::Call,
    body::Query,
    control_plane::Plane,
    refusal::Refusal,
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
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Query(filter): Query<ListAudit>,
) -> Result<Answer<Events>, Refusal> {
    asked.may(Call::Operate)?;
    let query = filter.parse(plane.format(), AuditQuery::every_team())?;
    plane.events(&query).await.map(Answer)
}

impl<S: KeyStore> Plane<S> {
    pub(crate) async fn events(&self, query: &AuditQuery) -> Result<Events, Refusal> {
        let page = self.keyring.audit(query).await?;
        let format = self.format();
        Ok(Events {
            events: page
                .items
                .iter()
                .map(|event| Event::new(event, format))
                .collect(),
            next_cursor: page.next.map(|next| next.to_string()),
        })
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
