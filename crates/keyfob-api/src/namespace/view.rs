//! A namespace as the interface shows it.

use keyfob::{Tenant, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{directory::NamespaceFacts, moment::Moment};

/// A namespace. Its shared legacy credential is in no answer.
#[derive(Serialize, ToSchema)]
#[schema(as = Namespace)]
pub(crate) struct NamespaceView {
    /// The name by which calls know it.
    #[schema(examples("fn-7c2d4a1e-5f0b-4c3d-9e8f-0a1b2c3d4e5f"))]
    namespace: String,
    /// What people call it.
    label: String,
    /// Where it runs.
    region: String,
    /// The address of its gateway.
    api_host: String,
    /// When it was made.
    created_at: Moment,
    /// When it last changed.
    updated_at: Moment,
    /// The team that it belongs to.
    team: String,
}

impl NamespaceView {
    pub(crate) fn new(tenant: &Tenant, created_at: Timestamp, facts: NamespaceFacts) -> Self {
        Self {
            namespace: tenant.namespace.as_str().to_owned(),
            label: facts.label,
            region: facts.region,
            api_host: facts.api_host,
            created_at: created_at.into(),
            updated_at: created_at.into(),
            team: tenant.team.as_str().to_owned(),
        }
    }
}
