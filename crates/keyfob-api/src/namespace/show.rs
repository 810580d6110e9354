//! `GET /v2/functions/namespaces/{namespace_id}`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, State},
};
use keyfob::{KeyStore, name::NamespaceId, store::NamespaceRecord};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    admission::Admitted, authority::Call, control_plane::Plane, directory::NamespaceFacts,
    namespace::NamespaceView, refusal::Refusal,
};

/// Shows a namespace
#[utoipa::path(
    get,
    path = "/v2/functions/namespaces/{namespace_id}",
    operation_id = "show_namespace",
    tag = "Namespaces",
    params(("namespace_id" = String, Path, description = "The namespace.")),
    responses((status = 200, description = "The namespace.", body = ShownNamespace)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path(namespace): Path<String>,
) -> Result<Answer<ShownNamespace>, Refusal> {
    asked.may(Call::ListNamespaces)?;
    let record = plane.named(&asked, &namespace).await?;
    if record.removed {
        return Err(Refusal::NOT_FOUND);
    }
    let namespace = plane.describe(&record).await?;
    Ok(Answer(ShownNamespace { namespace }))
}

impl<S: KeyStore> Plane<S> {
    /// The namespace that a path names, which is none of control keys.
    pub(crate) async fn named(
        &self,
        asked: &Admitted,
        namespace: &str,
    ) -> Result<NamespaceRecord, Refusal> {
        let namespace = NamespaceId::new(namespace).map_err(|_| Refusal::NOT_FOUND)?;
        self.namespace(asked, namespace).await
    }

    async fn describe(&self, record: &NamespaceRecord) -> Result<NamespaceView, Refusal> {
        let tenants = [record.tenant.clone()];
        let facts = self.directory.describe(&tenants).await?.pop();
        let facts: NamespaceFacts = facts.ok_or(Refusal::SERVER_ERROR)?;
        Ok(NamespaceView::new(&record.tenant, record.created_at, facts))
    }
}

/// A namespace.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShownNamespace {
    pub(crate) namespace: NamespaceView,
}
