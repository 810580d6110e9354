//! `GET …/keys`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, State},
};
use keyfob::{
    KeyStore, Tenant, Timestamp,
    store::{KeyQuery, Page},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    admission::Admitted,
    authority::{Call, Relation, decide},
    body::Query,
    control_plane::Plane,
    key::{AccessKey, filter::ListKeys},
    refusal::Refusal,
};

/// Lists access keys
///
/// Without parameters it is the whole list. Who holds `team:read` sees everybody's keys, others
/// their own.
#[utoipa::path(
    get,
    path = "/v2/functions/namespaces/{namespace_id}/keys",
    operation_id = "list_keys",
    tag = "Access keys",
    params(
        ("namespace_id" = String, Path, description = "The namespace."),
        ListKeys,
    ),
    responses((status = 200, description = "The keys.", body = KeyList)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    Path(namespace): Path<String>,
    Query(filter): Query<ListKeys>,
) -> Result<Answer<KeyList>, Refusal> {
    asked.may(Call::ListKeys)?;
    let tenant = plane.tenant(&asked, &namespace).await?;
    let mut query = filter.parse(&tenant)?;
    let caller = &asked.caller;
    if decide(Call::ListKeys, caller.rights, Relation::Team).is_err() {
        let own = caller.actor.owner.clone();
        if own.is_none() || query.owner.as_ref().is_some_and(|owner| !caller.is(owner)) {
            return Ok(Answer(KeyList::default()));
        }
        query.owner = own;
    }
    let whole = filter.limit.is_none() && filter.cursor.is_none();
    plane
        .key_list(query, whole, &tenant, asked.now())
        .await
        .map(Answer)
}

impl<S: KeyStore> Plane<S> {
    /// A page of keys of a namespace, or all from there on.
    async fn key_list(
        &self,
        mut query: KeyQuery,
        whole: bool,
        tenant: &Tenant,
        now: Timestamp,
    ) -> Result<KeyList, Refusal> {
        let policy = self.keyring.policy(tenant).await?;
        let mut list = KeyList::default();
        loop {
            let Page { items, next } = self.keyring.list(&query).await?;
            let used = self.usage_of(&items).await?;
            list.access_keys.extend(
                items.iter().map(|info| {
                    AccessKey::new(info, self.format(), &policy, used.get(&info.id), now)
                }),
            );
            list.count = list.access_keys.len();
            match next {
                Some(next) if whole => query.after = Some(next),
                next => {
                    list.next_cursor = next.map(|next| next.to_string());
                    return Ok(list);
                }
            }
        }
    }
}

/// Access keys.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct KeyList {
    /// The keys, in the order of their creation.
    access_keys: Vec<AccessKey>,
    /// How many there are in this answer.
    count: usize,
    /// Where the next page begins; null if there is none.
    #[schema(required)]
    next_cursor: Option<String>,
}
