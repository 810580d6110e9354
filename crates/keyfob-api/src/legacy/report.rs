//! `GET /v1/legacy`

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json as Answer, extract::State};
use keyfob::{
    KeyStore, Tenant, Timestamp,
    legacy::LegacyUse,
    store::{KeyQuery, LegacyQuery},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    admission::Admitted, authority::Call, control_plane::Plane, legacy::LegacyPolicyView,
    moment::Moment, refusal::Refusal,
};

/// Reports who still uses legacy credentials
///
/// Of every team, for operators.
#[utoipa::path(
    get,
    path = "/v1/legacy",
    operation_id = "report_legacy",
    tag = "Legacy credentials",
    responses((status = 200, description = "Their use, by namespace.", body = Report)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
) -> Result<Answer<Report>, Refusal> {
    asked.may(Call::Operate)?;
    plane
        .legacy_report(LegacyQuery::every_team())
        .await
        .map(Answer)
}

impl<S: KeyStore> Plane<S> {
    /// The use of all legacy credentials that a query gives, by namespace.
    pub(crate) async fn legacy_report(&self, mut query: LegacyQuery) -> Result<Report, Refusal> {
        query.limit = KeyQuery::LIMIT_MAX;
        let mut by_namespace: BTreeMap<Tenant, Vec<LegacyUse>> = BTreeMap::new();
        loop {
            let page = self.keyring.legacy_report(&query).await?;
            for found in page.items {
                let tenant = found.record.tenant.clone();
                by_namespace.entry(tenant).or_default().push(found);
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        let mut namespaces = Vec::with_capacity(by_namespace.len());
        for (tenant, found) in by_namespace {
            let policy = self.keyring.legacy_policy(&tenant).await?;
            let policy = LegacyPolicyView::from(&policy);
            namespaces.push(UseOfNamespace::new(&tenant, policy, &found));
        }
        Ok(Report { namespaces })
    }
}

/// Who still uses legacy credentials.
#[derive(Serialize, ToSchema)]
#[schema(as = LegacyReport)]
pub(crate) struct Report {
    /// The namespaces that have some.
    namespaces: Vec<UseOfNamespace>,
}

/// The use of all legacy credentials of a namespace.
#[derive(Serialize, ToSchema)]
#[schema(as = LegacyUse)]
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
    /// One by one.
    credentials: Vec<UseOfCredential>,
}

/// A legacy credential and its use.
#[derive(Serialize, ToSchema)]
#[schema(as = LegacyCredential)]
struct UseOfCredential {
    /// Its public identifier, a UUID.
    id: String,
    /// The subject that it belonged to where it was issued.
    subject: String,
    /// Whether the subject was blocked: then it opens nothing.
    blocked: bool,
    /// Whether it was revoked.
    revoked: bool,
    /// When it was imported.
    imported_at: Moment,
    /// The minute of the last accepted use; null if there was none.
    #[schema(required)]
    last_used_at: Option<Moment>,
}

impl UseOfNamespace {
    fn new(tenant: &Tenant, policy: LegacyPolicyView, found: &[LegacyUse]) -> Self {
        let usage = || found.iter().filter_map(|found| found.usage.as_ref());
        let last: Option<Timestamp> = usage().filter_map(|usage| usage.last_used).max();
        let sum = |count: fn(&keyfob::gateway::Usage) -> u64| {
            usage().map(count).fold(0, u64::saturating_add)
        };
        Self {
            team: tenant.team.as_str().to_owned(),
            namespace: tenant.namespace.as_str().to_owned(),
            last_used_at: last.map(Moment),
            accepted: sum(|usage| usage.accepted),
            refused: sum(|usage| usage.refused),
            policy,
            credentials: found.iter().map(UseOfCredential::from).collect(),
        }
    }
}

impl From<&LegacyUse> for UseOfCredential {
    fn from(LegacyUse { record, usage }: &LegacyUse) -> Self {
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
