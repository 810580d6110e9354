//! The routes for operators, who hold keys in a separate namespace.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::{delete, get},
};
use keyfob::{Access, manage, store::LegacyQuery};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{
    Gateway,
    refusal::{Refusal, log},
};

/// The namespace of the operators' keys.
///
/// A user's key usually has every scope, but only in its own namespace. These routes require the
/// operators' namespace, so such a key is refused. The scope then distinguishes operators.
pub(crate) const CONTROL: &str = "control";

pub(crate) fn routes() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/teams/{team}/members/{user}", delete(remove_member))
        .route("/legacy", get(legacy_report))
}

/// Removes a member of a team. When the response arrives, all of the member's keys in the team are
/// revoked.
async fn remove_member(
    State(gateway): State<Arc<Gateway>>,
    Path((team, user)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    let now = OffsetDateTime::now_utc();
    let access = Access::to(CONTROL).requiring(&gateway.rights.remove_members);
    let operator = gateway.admit(&headers, &access, now)?;
    // The audit trail names the operator and the key that was used, and the removal is refused if
    // that key was revoked in the meantime.
    let context = operator.context(now);
    let (team, user) = (team.as_str(), user.as_str());
    let removed = gateway.keyring.remove_member(&context, team, user).await;
    removed.map_err(|error| failed(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the uses of legacy credentials, so that operators can contact the users before the sunset.
async fn legacy_report(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let now = OffsetDateTime::now_utc();
    let access = Access::to(CONTROL).requiring(&gateway.rights.read_legacy);
    gateway.admit(&headers, &access, now).map(drop)?;

    gateway.flush_usage().await;
    let mut rows = Vec::new();
    let mut credentials = gateway.keyring.walk(LegacyQuery::every_team());
    while let Some(item) = credentials.next().await.map_err(|error| failed(&error))? {
        let tenant = &item.record.tenant;
        let policy = gateway.keyring.legacy_policy(Some(tenant)).await;
        let policy = policy.map_err(|error| failed(&error))?;
        let usage = item.usage.as_ref();
        rows.push(json!({
            "namespace": tenant.namespace,
            "credential": item.record.id,
            "accepted": usage.map_or(0, |usage| usage.accepted),
            "refused": usage.map_or(0, |usage| usage.refused),
            "last_used": usage.and_then(|usage| usage.last_used).map(|at| at.to_string()),
            "sunset": policy.sunset().map(|at| at.to_string()),
        }));
    }
    Ok(Json(json!({"legacy": rows})))
}

/// The caller learns that the operation failed; the log contains the reason.
fn failed(error: &manage::Error) -> Refusal {
    log(format_args!("failed error={error:?}"));
    Refusal::of(error.status())
}
