//! `GET …/keys`

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::{Path, State},
};
use keyfob::{
    KeyName, LabelName, LabelValue, Tenant, Timestamp,
    store::{Cursor, KeyQuery, KeyStore, Page, StatusFilter},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    admission::Admitted,
    authority::{Call, Relation, judge},
    body::Query,
    control_plane::Plane,
    key::{AccessKey, asked::parse_owner},
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
    if judge(Call::ListKeys, caller.rights, Relation::Team).is_err() {
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

/// Which keys to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListKeys {
    /// Only this owner's: `user:NAME` or `service:NAME`.
    #[param(example = "user:alice")]
    owner: Option<String>,
    /// Only those of this name.
    name: Option<String>,
    /// Only those with this label: `NAME:VALUE`.
    #[param(example = "environment:production")]
    label: Option<String>,
    /// Only those that were decided to be so: `active`, `disabled` or `revoked`. A key that is
    /// past its end counts as what it was.
    status: Option<String>,
    /// At most so many, 1 to 1000; without it, and without `cursor`, all of them.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// Those behind this place: the `next_cursor` of the page before.
    cursor: Option<String>,
}

impl ListKeys {
    fn parse(&self, tenant: &Tenant) -> Result<KeyQuery, Refusal> {
        let text = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        Ok(KeyQuery {
            owner: text(&self.owner).as_deref().map(parse_owner).transpose()?,
            name: text(&self.name).as_deref().map(KeyName::new).transpose()?,
            label: text(&self.label).as_deref().map(parse_label).transpose()?,
            status: text(&self.status)
                .as_deref()
                .map(parse_status)
                .transpose()?,
            after: parse_cursor(self.cursor.as_deref())?,
            limit: match &self.limit {
                Some(limit) => parse_limit(limit)?,
                None => KeyQuery::LIMIT_MAX,
            },
            ..KeyQuery::namespace(tenant)
        })
    }
}

fn parse_label(text: &str) -> Result<(LabelName, LabelValue), Refusal> {
    let (name, value) = text
        .split_once(':')
        .ok_or(Refusal::bad_request("label: not NAME:VALUE"))?;
    Ok((LabelName::new(name)?, LabelValue::new(value)?))
}

fn parse_status(text: &str) -> Result<StatusFilter, Refusal> {
    match text {
        "active" => Ok(StatusFilter::Active),
        "disabled" => Ok(StatusFilter::Disabled),
        "revoked" => Ok(StatusFilter::Revoked),
        _ => Err(Refusal::bad_request(
            "status: not active, disabled or revoked",
        )),
    }
}

/// Reads a place in a list.
pub(crate) fn parse_cursor(text: Option<&str>) -> Result<Option<Cursor>, Refusal> {
    Ok(text.map(str::parse).transpose()?)
}

/// Reads how many items to give at most.
pub(crate) fn parse_limit(text: &str) -> Result<usize, Refusal> {
    let limit = text.parse().ok();
    limit
        .filter(|limit| (1..=KeyQuery::LIMIT_MAX).contains(limit))
        .ok_or(Refusal::bad_request("limit: not a number from 1 to 1000"))
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
