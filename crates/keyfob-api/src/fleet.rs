//! The replicas that the feed serves.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use keyfob::{Timestamp, store::Revision};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    authority::Call, caller_context::CallerContext, refusal::Refusal, state::AppState, wire::Moment,
};

/// Tells the state of the replicas that verify from the store's feed.
///
/// The crate `keyfob-feed` has what is needed: `Hub::fleet`.
pub trait Fleet: Send + Sync {
    /// The last report of each replica that reported lately, in any order.
    fn replicas(&self, now: Timestamp) -> Vec<Replica>;
}

/// The last report of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The identifier of its process.
    pub id: String,
    /// What its operator calls it, such as its host.
    pub name: String,
    /// The version of its program.
    pub version: String,
    /// What its credential may read, such as `all` or `team acme`.
    pub reads: String,
    /// The revision up to which it has applied changes; `None` if it has loaded nothing.
    pub revision: Option<Revision>,
    /// How old its index was when it reported, in milliseconds.
    pub lag_ms: u64,
    /// The bound on staleness after which it refuses every call, in milliseconds, if it has one.
    pub bound_ms: Option<u64>,
    /// When it reported.
    pub reported_at: Timestamp,
    /// How long ago it reported, in milliseconds.
    pub age_ms: u64,
    /// How many lines of the feed it refused, by reason.
    pub refused: BTreeMap<String, u64>,
}

/// Lists the replicas that verify from the feed
///
/// For operators. Each has the last report of a process. One that was stopped stays in the list for some
/// time: `age_ms` says how long it has been silent. It is not found where no feed is published.
#[utoipa::path(
    get,
    path = "/v1/fleet",
    operation_id = "show_fleet",
    tag = "Use",
    responses(
        (status = 200, description = "The replicas, by name.", body = FleetView),
        (status = 404, description = "This server publishes no feed."),
    ),
)]
pub(crate) async fn show(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
) -> Result<Json<FleetView>, Refusal> {
    caller.require(Call::Operate)?;
    let fleet = state.fleet.as_ref().ok_or(Refusal::NOT_FOUND)?;
    let mut replicas = fleet.replicas(caller.now());
    replicas.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    let head = state.keyring.index().as_of();
    let replicas = replicas.into_iter().map(|replica| {
        let revision = replica.revision.map(Revision::get);
        ReplicaView {
            id: replica.id,
            name: replica.name,
            version: replica.version,
            reads: replica.reads,
            revision,
            behind: revision.map(|revision| head.get().saturating_sub(revision)),
            lag_ms: replica.lag_ms,
            bound_ms: replica.bound_ms,
            reported_at: replica.reported_at.into(),
            age_ms: replica.age_ms,
            refused: replica.refused.values().sum(),
            reasons: replica.refused,
        }
    });
    Ok(Json(FleetView {
        revision: head.get(),
        replicas: replicas.collect(),
    }))
}

/// The replicas that verify from the feed.
#[derive(Serialize, ToSchema)]
#[schema(as = Fleet)]
pub(crate) struct FleetView {
    /// The number of the last change that this server knows.
    revision: u64,
    /// The replicas, by name.
    replicas: Vec<ReplicaView>,
}

/// The last report of a replica.
#[derive(Serialize, ToSchema)]
#[schema(as = Replica)]
struct ReplicaView {
    /// The identifier of its process: another one after each start.
    id: String,
    /// What its operator calls it, such as its host.
    name: String,
    /// The version of its program.
    version: String,
    /// What its credential may read, such as `all` or `team acme`.
    reads: String,
    /// The number of the last change that it has applied; null if it has loaded nothing.
    #[schema(required)]
    revision: Option<u64>,
    /// How many changes it had not applied; null if it has loaded nothing.
    #[schema(required)]
    behind: Option<u64>,
    /// How old its index was when it reported, in milliseconds.
    lag_ms: u64,
    /// The age of its index at which it refuses every call, in milliseconds; null if it has no bound or did
    /// not report it.
    #[schema(required)]
    bound_ms: Option<u64>,
    /// When it reported.
    reported_at: Moment,
    /// How long ago that is, in milliseconds.
    age_ms: u64,
    /// How many lines of the feed it refused since it started.
    refused: u64,
    /// How many of them for each reason.
    reasons: BTreeMap<String, u64>,
}
