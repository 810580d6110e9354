//! The keys of a team, in all of its namespaces, and the search among them.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, RawQuery, State},
};
use keyfob::{
    KeyId, KeyInfo, Timestamp,
    gateway::Usage,
    manage::{EffectiveStatus, Policy},
    name::{KeyName, NamespaceId, TeamId},
    store::{Cursor, KeyQuery, NamespaceQuery, SearchText, StatusFilter},
};
use serde::Deserialize;

use crate::{
    authority::{Call, Relation, decide},
    body::Query,
    caller_context::CallerContext,
    keys::{
        forms::parse_label,
        view::{AccessKey, KeyList},
    },
    refusal::Refusal,
    state::AppState,
    usage::parse_window,
    wire::{parse_cursor, parse_limit, parse_moment, parse_order},
};

/// Lists the access keys of a team
///
/// In all of its namespaces, in the order of their creation, page by page. Callers with `team:read` see
/// everybody's keys, others their own. A request may end before it has looked through all keys: a page can have
/// fewer keys than `limit`, or none, and there may be more as long as there is a `next_cursor`.
#[utoipa::path(
    get,
    path = "/v1/teams/{team_id}/keys",
    operation_id = "list_team_keys",
    tag = "Access keys",
    params(
        ("team_id" = String, Path, description = "The team."),
        ("id" = Option<Vec<String>>, Query, description = "Only the keys with these identifiers, at most 200: the parameter can be repeated. One that is not the identifier of a key selects none."),
        SearchKeys,
    ),
    responses((status = 200, description = "The keys.", body = KeyList)),
)]
pub(crate) async fn list_team(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(team): Path<String>,
    RawQuery(text): RawQuery,
    Query(search): Query<SearchKeys>,
) -> Result<Json<KeyList>, Refusal> {
    let team = caller.require_team(Call::ListKeys, &team)?;
    let all = KeyQuery {
        ids: parse_ids(text.as_deref().unwrap_or_default(), &state)?,
        ..KeyQuery::team(team)
    };
    let (mut query, filter) = search.parse(all, &state)?;
    if decide(Call::ListKeys, caller.rights, Relation::Team).is_err() {
        let own = caller.actor.owner.clone();
        if own.is_none() || query.owner.as_ref().is_some_and(|owner| !caller.is(owner)) {
            return Ok(Json(KeyList::default()));
        }
        query.owner = own;
    }
    let window = parse_window(search.usage.as_deref(), caller.now())?;
    let now = state.latest(caller.now());
    let (mut keys, next) = filter.run(&state, query, now).await?;
    let series = state.series_of(keys.iter().map(|(id, _)| *id), window.as_ref());
    let mut series = series.await?.into_iter();
    let keys = keys.drain(..).map(|(_, key)| key.with_usage(series.next()));
    Ok(Json(KeyList::of(
        keys.collect(),
        next.map(|next| next.to_string()),
    )))
}

/// Which keys of a team to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchKeys {
    /// Only this owner's: `user:NAME` or `service:NAME`.
    #[param(example = "user:alice")]
    owner: Option<String>,
    /// Only those that this person or service created for another owner.
    #[param(example = "user:alice")]
    created_for_others_by: Option<String>,
    /// Only those of this namespace.
    namespace: Option<String>,
    /// Only those of this name.
    name: Option<String>,
    /// Only those with this label: `NAME:VALUE`.
    #[param(example = "environment:production")]
    label: Option<String>,
    /// Only those that have this text in their name, identifier, owner or namespace, in whichever case.
    #[param(max_length = 200)]
    containing: Option<String>,
    /// Only those of this status now: `active`, `not_yet_valid`, `disabled`, `expired`, `revoked`,
    /// `unrevoked` (all of the others) or `all`. Left out: `unrevoked`.
    status: Option<String>,
    /// Only those that can still work, and expire before this time. Those that expire first come first,
    /// unless a policy for keys of the team has a maximum TTL: then they are in `order`. A cursor from before such a
    /// policy is refused with 400.
    #[param(value_type = Option<String>, format = DateTime)]
    expires_before: Option<String>,
    /// Only those that can still work, were created before this time, and were not used since.
    #[param(value_type = Option<String>, format = DateTime)]
    unused_since: Option<String>,
    /// `oldest_first` or `newest_first`, by the time of creation. Left out: `oldest_first`.
    #[param(example = "newest_first")]
    order: Option<String>,
    /// The size of a page, 1 to 1000.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// Where the page begins: the `next_cursor` of the page before.
    cursor: Option<String>,
    /// Adds to each key its use in the last `24h`, by hour, or in the last `7d` or `30d`, by day.
    #[param(example = "7d")]
    usage: Option<String>,
}

impl SearchKeys {
    fn parse(&self, all: KeyQuery, state: &AppState) -> Result<(KeyQuery, Filter), Refusal> {
        fn given(field: Option<&String>) -> Option<&str> {
            field.map(String::as_str).filter(|text| !text.is_empty())
        }
        let owner = given(self.owner.as_ref()).map(str::parse);
        let creator = given(self.created_for_others_by.as_ref()).map(str::parse);
        let namespace = given(self.namespace.as_ref()).map(NamespaceId::new);
        let name = given(self.name.as_ref()).map(KeyName::new);
        let label = given(self.label.as_ref()).map(parse_label);
        let moment =
            |field, text: Option<&String>| text.map(|text| parse_moment(field, text)).transpose();
        let containing = given(self.containing.as_ref()).map(str::trim);
        if containing.is_some_and(|text| text.len() > CONTAINING_MAX) {
            return Err(Refusal::bad_request("containing: longer than 200 bytes"));
        }
        // People paste the identifier of a key or its whole credential: the secret is not looked at.
        let id = containing.map(|text| text.split_once(':').map_or(text, |(id, _)| id));
        let id = id.and_then(|id| state.format().parse_key_id(id).ok());
        let ids = match (all.ids, id) {
            (Some(ids), Some(id)) => Some(ids.into_iter().filter(|one| *one == id).collect()),
            (ids, None) => ids,
            (None, Some(id)) => Some(vec![id]),
        };
        let filter = Filter {
            status: parse_status(given(self.status.as_ref()))?,
            expires_before: moment("expires_before", self.expires_before.as_ref())?,
            unused_since: moment("unused_since", self.unused_since.as_ref())?,
        };
        let query = KeyQuery {
            owner: owner.transpose()?,
            created_for_others_by: creator.transpose()?,
            namespace: namespace.transpose()?,
            name: name.transpose()?,
            label: label.transpose()?,
            status: match filter.status {
                Some(EffectiveStatus::Revoked) => Some(StatusFilter::Revoked),
                Some(EffectiveStatus::Disabled) => Some(StatusFilter::Disabled),
                None if given(self.status.as_ref()) == Some("all") => None,
                _ => Some(StatusFilter::Unrevoked),
            },
            ids,
            containing: containing
                .filter(|_| id.is_none())
                .and_then(SearchText::new),
            order: parse_order(self.order.as_deref())?,
            after: parse_cursor(self.cursor.as_deref())?,
            limit: parse_limit(self.limit.as_deref(), all.limit)?,
            ..all
        };
        Ok((query, filter))
    }
}

const CONTAINING_MAX: usize = 200;

/// Reads the identifiers in a query; none if it has no `id`. What is not the identifier of a key is
/// left out, so that it selects none.
fn parse_ids(query: &str, state: &AppState) -> Result<Option<Vec<KeyId>>, Refusal> {
    let fields: Vec<(String, String)> = serde_urlencoded::from_str(query)
        .map_err(|_| Refusal::bad_request("query: a parameter is malformed"))?;
    let given = fields.into_iter().filter(|(name, _)| name == "id");
    let given: Vec<_> = given.map(|(_, id)| id).collect();
    if given.len() > KeyQuery::IDS_MAX {
        return Err(Refusal::bad_request("id: more than 200"));
    }
    let ids = given
        .iter()
        .filter_map(|id| state.format().parse_key_id(id).ok());
    Ok((!given.is_empty()).then(|| ids.collect()))
}

/// Reads a status; none for all of them, and for all that are not revoked.
fn parse_status(text: Option<&str>) -> Result<Option<EffectiveStatus>, Refusal> {
    Ok(match text {
        None | Some("unrevoked" | "all") => None,
        Some("active") => Some(EffectiveStatus::Active),
        Some("not_yet_valid") => Some(EffectiveStatus::NotYetValid),
        Some("disabled") => Some(EffectiveStatus::Disabled),
        Some("expired") => Some(EffectiveStatus::Expired),
        Some("revoked") => Some(EffectiveStatus::Revoked),
        Some(_) => {
            return Err(Refusal::bad_request(
                "status: must be active, not_yet_valid, disabled, expired, revoked, unrevoked or all",
            ));
        }
    })
}

/// What the store does not select by.
struct Filter {
    status: Option<EffectiveStatus>,
    expires_before: Option<Timestamp>,
    unused_since: Option<Timestamp>,
}

impl AppState {
    /// Whether a policy can end keys of a team before their own expiry. For a team of very many
    /// namespaces it is assumed.
    async fn limits_ttl(&self, team: &TeamId) -> Result<bool, Refusal> {
        if self.keyring.policy(None).await?.max_ttl.is_some() {
            return Ok(true);
        }
        let query = NamespaceQuery::team(team.clone()).limit(KeyQuery::LIMIT_MAX);
        let page = self.keyring.namespaces(&query).await?;
        if page.next.is_some() {
            return Ok(true);
        }
        let tenants: Vec<_> = page.items.into_iter().map(|record| record.tenant).collect();
        let policies = self.keyring.policies(&tenants).await?;
        Ok(policies.iter().any(|policy| policy.max_ttl.is_some()))
    }
}

impl Filter {
    /// How many pages of the store are read for one answer.
    const PAGES: usize = 10;
    /// The same, if the use of each key is read too.
    const PAGES_WITH_USE: usize = 5;

    async fn run(
        &self,
        state: &AppState,
        mut query: KeyQuery,
        now: Timestamp,
    ) -> Result<(Vec<(KeyId, AccessKey)>, Option<Cursor>), Refusal> {
        let wanted = query.limit;
        if let Some(before) = self.expires_before {
            // If a policy can end keys, their own expiry does not say which end first.
            let limits_ttl = state.limits_ttl(&query.team).await?;
            match query.after.map(Cursor::expiry) {
                // A list goes on in the order in which it began.
                Some(None) => {}
                Some(Some(_)) if limits_ttl => {
                    return Err(Refusal::bad_request(
                        "cursor: a policy that was set since can end keys before their own expiry: begin without a cursor",
                    ));
                }
                Some(Some(_)) => query.expires = Some(now..before),
                None => query.expires = (!limits_ttl).then_some(now..before),
            }
        }
        let mut pages = 1;
        if self.selects_little() {
            query.limit = KeyQuery::LIMIT_MAX;
            pages = match self.unused_since {
                // For one page of a search, the store looks through many keys.
                _ if query.containing.is_some() => 1,
                Some(_) => Self::PAGES_WITH_USE,
                None => Self::PAGES,
            };
        }
        let mut policies = HashMap::new();
        let (mut found, mut last, mut next) = (Vec::new(), None, None);
        'pages: for _ in 0..pages {
            let page = state.keyring.list(&query).await?;
            state.add_policies(&page.items, &mut policies).await?;
            let usage = match self.unused_since {
                Some(_) => state.usage_of(&page.items).await?,
                None => HashMap::new(),
            };
            next = page.next;
            for info in page.items {
                let policy = &policies[&info.tenant.namespace];
                if !self.selects(&info, policy, usage.get(&info.id), now) {
                    continue;
                }
                if found.len() == wanted {
                    // The page before ended with the last key that was taken.
                    next = last;
                    break 'pages;
                }
                let expiry = info.expires_at.filter(|_| query.expires.is_some());
                last = Some(match expiry {
                    Some(expiry) => Cursor::after_expiry(expiry, info.created_revision),
                    None => Cursor::after(info.created_revision),
                });
                found.push(info);
            }
            match next {
                Some(place) if found.len() < wanted => query.after = Some(place),
                _ => break,
            }
        }
        let usage = state.usage_of(&found).await?;
        let show = |info: &KeyInfo| {
            let policy = &policies[&info.tenant.namespace];
            let usage = usage.get(&info.id);
            let key = AccessKey::new(info, state.format(), policy, usage, now);
            (info.id, key)
        };
        Ok((found.iter().map(show).collect(), next))
    }

    fn selects_little(&self) -> bool {
        self.status.is_some() || self.expires_before.is_some() || self.unused_since.is_some()
    }

    fn selects(
        &self,
        info: &KeyInfo,
        policy: &Policy,
        usage: Option<&Usage>,
        now: Timestamp,
    ) -> bool {
        let status = info.effective_status(now, policy);
        let living = !matches!(status, EffectiveStatus::Expired | EffectiveStatus::Revoked);
        let last_used = usage.and_then(|usage| usage.last_used);
        self.status.is_none_or(|wanted| wanted == status)
            && self.expires_before.is_none_or(|before| {
                living && info.expires_under(policy).is_some_and(|at| at < before)
            })
            && self.unused_since.is_none_or(|since| {
                living && info.created_at < since && last_used.is_none_or(|at| at < since)
            })
    }
}
