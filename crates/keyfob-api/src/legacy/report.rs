//! Who still uses legacy credentials.

use std::{collections::BTreeMap, sync::Arc, vec};

use keyfob::{
    Tenant, Timestamp,
    legacy::{LegacyPolicy, LegacyUse, NamespaceUse},
    manage::{UsageOf, UsageRange, UsageSeries},
    name::{NamespaceId, TeamId},
    store::{KeyQuery, LegacyQuery, NamespaceQuery, NamespaceRecord},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    legacy::policy::LegacyPolicyView,
    refusal::Refusal,
    state::AppState,
    stream::{PAGE, Parts, Text},
    usage::{BucketView, parse_days},
    wire::{Moment, parse_cursor, parse_limit},
};

/// What to report.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReportOf {
    /// Adds to each namespace the use of its keys and of its legacy credentials on each of the last days
    /// (in UTC): 1 to 400, today included.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 400)]
    days: Option<String>,
    /// Only this namespace.
    namespace: Option<String>,
    /// The size of a page, in credentials: 1 to 1000. Without it and without a cursor, all are reported. A
    /// namespace whose credentials are on two pages is on both, each with the use of those on the page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// Where the page begins: the `next_cursor` of the page before.
    cursor: Option<String>,
}

impl ReportOf {
    fn range(&self, now: Timestamp) -> Result<Option<UsageRange>, Refusal> {
        parse_days(self.days.as_deref(), now)
    }

    /// The page that is asked for; none for the whole report.
    fn page(&self) -> Result<Option<LegacyQuery>, Refusal> {
        if self.limit.is_none() && self.cursor.is_none() {
            return Ok(None);
        }
        let all = LegacyQuery::every_team();
        Ok(Some(LegacyQuery {
            after: parse_cursor(self.cursor.as_deref())?,
            limit: parse_limit(self.limit.as_deref(), all.limit)?,
            ..all
        }))
    }

    fn namespace(&self) -> Result<Option<NamespaceId>, Refusal> {
        let namespace = self.namespace.as_deref().filter(|text| !text.is_empty());
        Ok(namespace.map(NamespaceId::new).transpose()?)
    }
}

/// Who still uses legacy credentials.
#[derive(ToSchema)]
#[schema(as = LegacyReport)]
#[expect(dead_code, reason = "the form of a list that is written page by page")]
pub(crate) struct Report {
    /// The namespaces that have some.
    namespaces: Vec<UseOfNamespace>,
    /// Where the next page begins, if a page was asked for; left out on the last one.
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

/// The use of all legacy credentials by namespace, as [`Report`].
pub(crate) struct ReportParts {
    state: Arc<AppState>,
    namespaces: NamespaceQuery,
    /// The page that is asked for; none for the whole report.
    only: Option<LegacyQuery>,
    /// The days to show.
    days: Option<UsageRange>,
    /// Of the last page that was read, those that were not looked through.
    page: vec::IntoIter<NamespaceRecord>,
    more: bool,
    current: Option<Current>,
    begun: bool,
    /// Whether a namespace was written.
    listed: bool,
}

/// The namespace that is being written.
struct Current {
    query: LegacyQuery,
    tenant: Tenant,
    use_: NamespaceUse,
    begun: bool,
}

impl ReportParts {
    /// The report on a team, or on all.
    pub(crate) fn new(
        state: Arc<AppState>,
        team: Option<TeamId>,
        of: &ReportOf,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        Ok(Self {
            state,
            namespaces: NamespaceQuery {
                team,
                namespace: of.namespace()?,
                limit: PAGE,
                ..NamespaceQuery::every_team()
            },
            only: of.page()?,
            days: of.range(now)?,
            page: Vec::new().into_iter(),
            more: true,
            current: None,
            begun: false,
            listed: false,
        })
    }

    /// Writes the whole report on a team, by the names of its namespaces, with as many calls of the
    /// store however many namespaces it has. Writes nothing if the team has more credentials than a page.
    async fn write_at_once(&mut self, team: &TeamId, out: &mut Text) -> Result<bool, Refusal> {
        let query = LegacyQuery {
            namespace: self.namespaces.namespace.clone(),
            limit: KeyQuery::LIMIT_MAX,
            ..LegacyQuery::team(team.clone())
        };
        let page = self.state.keyring.legacy_report(&query).await?;
        if page.next.is_some() {
            return Ok(false);
        }
        self.write_uses(page.items, out).await?;
        Ok(true)
    }

    /// Writes one page, by the names of its namespaces, and where the next one begins.
    async fn write_page(&mut self, page: LegacyQuery, out: &mut Text) -> Result<(), Refusal> {
        let query = LegacyQuery {
            team: self.namespaces.team.clone(),
            namespace: self.namespaces.namespace.clone(),
            ..page
        };
        let page = self.state.keyring.legacy_report(&query).await?;
        self.write_uses(page.items, out).await?;
        out.raw("]");
        if let Some(next) = page.next {
            out.raw(",\"next_cursor\":");
            out.value(&next.to_string())?;
        }
        out.raw("}");
        Ok(())
    }

    /// Writes the use of credentials, by the names of their namespaces.
    async fn write_uses(&mut self, uses: Vec<LegacyUse>, out: &mut Text) -> Result<(), Refusal> {
        let keyring = Arc::clone(&self.state.keyring);
        let mut found: BTreeMap<Tenant, Vec<LegacyUse>> = BTreeMap::new();
        for one in uses {
            found
                .entry(one.record.tenant.clone())
                .or_default()
                .push(one);
        }
        let tenants: Vec<Tenant> = found.keys().cloned().collect();
        let policies = keyring.legacy_policies(&tenants).await?;
        let mut series = Vec::new();
        if let Some(range) = &self.days {
            let of = tenants.iter().map(|tenant| tenant.namespace.clone());
            let of: Vec<_> = of.map(UsageOf::Namespace).collect();
            series = keyring.usage_series(&of, range).await?;
        }
        let mut series = series.iter();
        for ((tenant, found), policy) in found.iter().zip(&policies) {
            self.open(tenant, policy, out)?;
            let mut all = NamespaceUse::default();
            for one in found {
                out.item(&UseOfCredential::from(one))?;
                all.add(one);
            }
            close(&all, series.next(), out)?;
        }
        Ok(())
    }

    /// Begins a namespace.
    fn open(
        &mut self,
        tenant: &Tenant,
        policy: &LegacyPolicy,
        out: &mut Text,
    ) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.listed, true) {
            out.raw(",");
        }
        out.raw("{\"team\":");
        out.value(&tenant.team.as_str())?;
        out.raw(",\"namespace\":");
        out.value(&tenant.namespace.as_str())?;
        out.raw(",\"policy\":");
        out.value(&LegacyPolicyView::from(policy))?;
        out.raw(",\"credentials\":");
        out.begin();
        Ok(())
    }

    /// The next namespace; none after the last.
    async fn next_namespace(&mut self) -> Result<Option<Current>, Refusal> {
        loop {
            if let Some(record) = self.page.next() {
                let tenant = record.tenant;
                let query = LegacyQuery {
                    namespace: Some(tenant.namespace.clone()),
                    limit: PAGE,
                    ..LegacyQuery::team(tenant.team.clone())
                };
                return Ok(Some(Current {
                    query,
                    tenant,
                    use_: NamespaceUse::default(),
                    begun: false,
                }));
            }
            if !self.more {
                return Ok(None);
            }
            let page = self.state.keyring.namespaces(&self.namespaces).await?;
            self.namespaces.after = page.next;
            self.more = page.next.is_some();
            self.page = page.items.into_iter();
        }
    }

    /// Writes a page of the current namespace; returns it if there is more of it.
    async fn write(
        &mut self,
        mut current: Current,
        out: &mut Text,
    ) -> Result<Option<Current>, Refusal> {
        let keyring = Arc::clone(&self.state.keyring);
        let page = keyring.legacy_report(&current.query).await?;
        if page.items.is_empty() && !current.begun {
            return Ok(None);
        }
        if !std::mem::replace(&mut current.begun, true) {
            let policy = keyring.legacy_policy(Some(&current.tenant)).await?;
            self.open(&current.tenant, &policy, out)?;
        }
        for found in &page.items {
            out.item(&UseOfCredential::from(found))?;
            current.use_.add(found);
        }
        current.query.after = page.next;
        if page.next.is_some() {
            return Ok(Some(current));
        }
        let series = match &self.days {
            Some(range) => {
                let of = UsageOf::Namespace(current.tenant.namespace.clone());
                self.state.keyring.usage_series(&[of], range).await?
            }
            None => Vec::new(),
        };
        close(&current.use_, series.first(), out)?;
        Ok(None)
    }
}

/// Ends a namespace.
fn close(all: &NamespaceUse, series: Option<&UsageSeries>, out: &mut Text) -> Result<(), Refusal> {
    out.raw("],\"last_used_at\":");
    out.value(&all.last_used.map(Moment))?;
    out.raw(",\"accepted\":");
    out.value(&all.accepted)?;
    out.raw(",\"refused\":");
    out.value(&all.refused)?;
    if let Some(series) = series {
        let buckets = series.buckets.iter().map(BucketView::from);
        out.raw(",\"days\":");
        out.value(&buckets.collect::<Vec<_>>())?;
    }
    out.raw("}");
    Ok(())
}

impl Parts for ReportParts {
    async fn next(&mut self, out: &mut Text) -> Result<bool, Refusal> {
        if !std::mem::replace(&mut self.begun, true) {
            out.raw("{\"namespaces\":[");
            if let Some(page) = self.only.take() {
                self.write_page(page, out).await?;
                return Ok(false);
            }
            if let Some(team) = self.namespaces.team.clone()
                && self.write_at_once(&team, out).await?
            {
                out.raw("]}");
                return Ok(false);
            }
        }
        // Many namespaces have no legacy credential: a bounded number of them a part.
        for _ in 0..PAGE {
            let current = match self.current.take() {
                Some(current) => Some(current),
                None => self.next_namespace().await?,
            };
            let Some(current) = current else {
                out.raw("]}");
                return Ok(false);
            };
            self.current = self.write(current, out).await?;
            if self.current.is_some() {
                break;
            }
        }
        Ok(true)
    }
}

/// The use of all legacy credentials of a namespace.
#[derive(ToSchema)]
#[schema(as = LegacyUse)]
#[expect(dead_code, reason = "the form of a list that is written page by page")]
struct UseOfNamespace {
    team: String,
    namespace: String,
    /// The minute of the last accepted use; null if there was none.
    #[schema(required)]
    last_used_at: Option<Moment>,
    /// How many uses were accepted.
    accepted: u64,
    /// How many uses were refused although the secret was right.
    refused: u64,
    /// Until when they are accepted.
    policy: LegacyPolicyView,
    /// Each credential.
    credentials: Vec<UseOfCredential>,
    /// The use of the namespace's keys and legacy credentials on each day, if `days` was given.
    #[schema(nullable = false)]
    days: Option<Vec<BucketView>>,
}

/// A legacy credential and its use.
#[derive(Serialize, ToSchema)]
#[schema(as = LegacyCredential)]
struct UseOfCredential {
    /// Its public identifier, a UUID.
    id: String,
    /// The subject that it belonged to where it was issued.
    subject: String,
    /// Whether the subject was blocked: then the credential opens nothing.
    blocked: bool,
    /// Whether it was revoked.
    revoked: bool,
    /// When it was imported.
    imported_at: Moment,
    /// The minute of the last accepted use; null if there was none.
    #[schema(required)]
    last_used_at: Option<Moment>,
}

impl From<&LegacyUse> for UseOfCredential {
    fn from(LegacyUse { record, usage, .. }: &LegacyUse) -> Self {
        let last = usage.as_ref().and_then(|usage| usage.last_used);
        Self {
            id: record.id.to_string(),
            subject: record.subject.as_str().to_owned(),
            blocked: record.blocked,
            revoked: record.revoked.is_some(),
            imported_at: record.imported_at.into(),
            last_used_at: last.map(Moment),
        }
    }
}
