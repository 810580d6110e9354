//! Use over time.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
};
use keyfob::{
    Timestamp,
    key::CredentialId,
    legacy::LegacyId,
    manage::{UsageBucket, UsageCounts, UsageOf, UsageRange, UsageSeries, UsageStep},
    name::TeamId,
    store::LegacyQuery,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    authority::Call,
    body::Query,
    caller_context::CallerContext,
    control_keys::control_namespace,
    refusal::Refusal,
    state::AppState,
    wire::{Moment, parse_moment},
};

/// Shows what the credentials of a team were used for, over time
///
/// By hour or by UTC day, with every hour or day of the range: of the whole team without its control keys, of
/// a namespace, of a key or of a legacy credential. Hours are kept for as long as days, 400 days. A call counts
/// for the hour in which its gateway reports it, some seconds later. Refused calls are those whose secret was
/// right; what is sent with a wrong one counts for nobody.
///
/// With `key`, callers who may see the key, such as its owner, see its use with `function:read`.
#[utoipa::path(
    get,
    path = "/v1/teams/{team_id}/usage",
    operation_id = "show_usage",
    tag = "Use",
    params(
        ("team_id" = String, Path, description = "The team."),
        ShowUsage,
    ),
    responses((status = 200, description = "The use in each hour or day.", body = UsageShown)),
)]
pub(crate) async fn show(
    State(state): State<Arc<AppState>>,
    caller: CallerContext,
    Path(team): Path<String>,
    Query(asked): Query<ShowUsage>,
) -> Result<Json<UsageShown>, Refusal> {
    // Those who may see a key may see its use.
    let call = match asked.key {
        Some(_) => Call::ShowKey,
        None => Call::ReadUsage,
    };
    let team = caller.require_team(call, &team)?;
    let range = asked.range(caller.now())?;
    let of = asked.of(&state, &caller, &team).await?;
    // The team's own calls of this interface are no use of what it protects.
    let control = match &of {
        UsageOf::Team(team) => Some(UsageOf::Namespace(control_namespace(team)?)),
        _ => None,
    };
    let all: Vec<UsageOf> = [Some(of), control].into_iter().flatten().collect();
    let mut found = state.keyring.usage_series(&all, &range).await?.into_iter();
    let mut series = found.next().ok_or(Refusal::SERVER_ERROR)?;
    for control in found {
        series.subtract(&control);
    }
    Ok(Json(UsageShown {
        by: range.step().as_str(),
        from: range.from().into(),
        to: range.to().into(),
        buckets: series.buckets.iter().map(BucketView::from).collect(),
        total: TotalView::from(&series.total()),
    }))
}

/// Which use to show.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ShowUsage {
    /// The length of the parts: `hour` or `day` (in UTC). Left out: `day`.
    #[param(example = "day")]
    by: Option<String>,
    /// The begin of the range, at most 31 days by hour and 400 days by day before its end. Left out: 24
    /// hours or 30 days before the end.
    #[param(format = DateTime)]
    from: Option<String>,
    /// The end of the range. Left out: now.
    #[param(format = DateTime)]
    to: Option<String>,
    /// Only that of this namespace.
    namespace: Option<String>,
    /// Only that of this key, of the team or of the namespace.
    key: Option<String>,
    /// Only that of this legacy credential: its UUID.
    legacy: Option<String>,
}

impl ShowUsage {
    fn range(&self, now: Timestamp) -> Result<UsageRange, Refusal> {
        let (step, usual) = match self.by.as_deref() {
            None | Some("day") => (UsageStep::Day, 30),
            Some("hour") => (UsageStep::Hour, 24),
            Some(_) => return Err(Refusal::bad_request("by: must be hour or day")),
        };
        let parse = |field, text: &Option<String>| {
            text.as_deref()
                .map(|text| parse_moment(field, text))
                .transpose()
        };
        let (from, to) = (parse("from", &self.from)?, parse("to", &self.to)?);
        let range = match (from, to) {
            (None, None) => return Ok(UsageRange::last(step, usual, now)),
            // The last part is that which has the moment before the end.
            (None, Some(to)) => {
                let before = Timestamp::from_unix(to.as_unix().saturating_sub(1));
                return Ok(UsageRange::last(step, usual, before));
            }
            (Some(from), to) => UsageRange::new(step, from, to.unwrap_or(now.plus_seconds(1))),
        };
        range.map_err(|error| Refusal::bad_request(error.to_string()))
    }

    async fn of(
        &self,
        state: &AppState,
        caller: &CallerContext,
        team: &TeamId,
    ) -> Result<UsageOf, Refusal> {
        let tenant = match &self.namespace {
            Some(namespace) => {
                let tenant = state.tenant(caller, namespace).await?;
                if tenant.team != *team {
                    return Err(Refusal::NOT_FOUND);
                }
                Some(tenant)
            }
            None => None,
        };
        if let Some(key) = &self.key {
            let id = state.format().parse_key_id(key);
            let id = id.map_err(|_| Refusal::NOT_FOUND)?;
            let of_key = state.keyring.tenant_of(CredentialId::Key(id)).await?;
            let of_key = of_key.filter(|found| match &tenant {
                Some(tenant) => found == tenant,
                None => found.team == *team,
            });
            let of_key = of_key.ok_or(Refusal::NOT_FOUND)?;
            let info = state.keyring.get(&of_key, id).await?;
            caller.require_for(Call::ShowKey, &info.owner)?;
            return Ok(UsageOf::Credential(CredentialId::Key(id)));
        }
        if let Some(legacy) = &self.legacy {
            let id = LegacyId::parse(legacy.as_bytes()).map_err(|_| Refusal::NOT_FOUND)?;
            let query = LegacyQuery {
                id: Some(id),
                namespace: tenant.map(|tenant| tenant.namespace),
                limit: 1,
                ..LegacyQuery::team(team.clone())
            };
            let found = state.keyring.legacy_report(&query).await?.items.pop();
            found.ok_or(Refusal::NOT_FOUND)?;
            return Ok(UsageOf::Credential(CredentialId::Legacy(id)));
        }
        Ok(match tenant {
            Some(tenant) => UsageOf::Namespace(tenant.namespace),
            None => UsageOf::Team(team.clone()),
        })
    }
}

/// Use over time.
#[derive(Serialize, ToSchema)]
#[schema(as = Usage)]
pub(crate) struct UsageShown {
    /// The length of the parts: `hour` or `day`.
    by: &'static str,
    /// The start of the first part.
    from: Moment,
    /// The end of the last part: the first moment after it.
    to: Moment,
    /// Each hour or day of the range, in order.
    buckets: Vec<BucketView>,
    /// The sum.
    total: TotalView,
}

/// The use in an hour or a day.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageBucket)]
pub(crate) struct BucketView {
    /// Its first second.
    start: Moment,
    /// The use of keys.
    keys: CountsView,
    /// The use of legacy credentials.
    legacy: CountsView,
}

impl From<&UsageBucket> for BucketView {
    fn from(bucket: &UsageBucket) -> Self {
        Self {
            start: bucket.start.into(),
            keys: CountsView::from(&bucket.keys),
            legacy: CountsView::from(&bucket.legacy),
        }
    }
}

/// The use in the whole range.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageTotal)]
struct TotalView {
    /// The use of keys.
    keys: CountsView,
    /// The use of legacy credentials.
    legacy: CountsView,
}

impl From<&UsageBucket> for TotalView {
    fn from(total: &UsageBucket) -> Self {
        Self {
            keys: CountsView::from(&total.keys),
            legacy: CountsView::from(&total.legacy),
        }
    }
}

/// Numbers of calls.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageCounts)]
struct CountsView {
    /// How many calls were accepted.
    accepted: u64,
    /// How many of them had the secret before the last rotation, in its grace period.
    accepted_previous: u64,
    /// How many calls were refused although the secret was right.
    refused: u64,
    /// How many of them for each reason: `replaced`, `revoked`, `disabled`, `not_yet_valid`, `expired`,
    /// `legacy_off`, `wrong_namespace` or `missing_scope`. Reasons without a call are left out.
    reasons: BTreeMap<&'static str, u64>,
}

impl From<&UsageCounts> for CountsView {
    fn from(counts: &UsageCounts) -> Self {
        let reasons = counts.reasons();
        Self {
            accepted: counts.accepted(),
            accepted_previous: counts.accepted_previous(),
            refused: counts.refused(),
            reasons: reasons.map(|(why, count)| (why.as_str(), count)).collect(),
        }
    }
}

/// Reads the range of the use that a list of keys shows.
pub(crate) fn parse_window(
    text: Option<&str>,
    now: Timestamp,
) -> Result<Option<UsageRange>, Refusal> {
    let (step, len) = match text {
        None | Some("") => return Ok(None),
        Some("24h") => (UsageStep::Hour, 24),
        Some("7d") => (UsageStep::Day, 7),
        Some("30d") => (UsageStep::Day, 30),
        Some(_) => return Err(Refusal::bad_request("usage: must be 24h, 7d or 30d")),
    };
    Ok(Some(UsageRange::last(step, len, now)))
}

/// Reads the number of days of the use that a report shows.
pub(crate) fn parse_days(
    text: Option<&str>,
    now: Timestamp,
) -> Result<Option<UsageRange>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let days = text.parse().ok();
    let days = days.filter(|days| (1..=UsageStep::Day.most()).contains(days));
    let days = days.ok_or(Refusal::bad_request("days: not a number from 1 to 400"))?;
    Ok(Some(UsageRange::last(UsageStep::Day, days, now)))
}

/// The use of one key over time, in short.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyUsage)]
pub(crate) struct Sparkline {
    /// The length of the parts: `hour` or `day` (in UTC).
    by: &'static str,
    /// The start of the first part.
    from: Moment,
    /// How many calls were accepted in each part; the last one is the current hour or day.
    accepted: Vec<u64>,
    /// How many calls were refused in each part although the secret was right.
    refused: Vec<u64>,
}

impl Sparkline {
    pub(crate) fn new(range: &UsageRange, series: &UsageSeries) -> Self {
        let buckets = || series.buckets.iter();
        Self {
            by: range.step().as_str(),
            from: range.from().into(),
            accepted: buckets().map(UsageBucket::accepted).collect(),
            refused: buckets().map(UsageBucket::refused).collect(),
        }
    }
}
