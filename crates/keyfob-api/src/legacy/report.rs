//! Who still uses legacy credentials.

use std::collections::BTreeMap;

use keyfob::{
    Keyring, Tenant, Timestamp,
    gateway::Usage,
    legacy::LegacyUse,
    store::{KeyQuery, LegacyQuery},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{legacy::policy::LegacyPolicyView, refusal::Refusal, wire::Moment};

/// Who still uses legacy credentials.
#[derive(Serialize, ToSchema)]
#[schema(as = LegacyReport)]
pub(crate) struct Report {
    /// The namespaces that have some.
    namespaces: Vec<UseOfNamespace>,
}

impl Report {
    /// The use of all legacy credentials that a query selects, by namespace.
    pub(crate) async fn read(keyring: &Keyring, query: LegacyQuery) -> Result<Self, Refusal> {
        let mut by_namespace: BTreeMap<Tenant, Vec<LegacyUse>> = BTreeMap::new();
        let mut credentials = keyring.walk(LegacyQuery {
            limit: KeyQuery::LIMIT_MAX,
            ..query
        });
        while let Some(found) = credentials.next().await? {
            let tenant = found.record.tenant.clone();
            by_namespace.entry(tenant).or_default().push(found);
        }
        let mut namespaces = Vec::with_capacity(by_namespace.len());
        for (tenant, found) in by_namespace {
            let policy = keyring.legacy_policy(Some(&tenant)).await?;
            let policy = LegacyPolicyView::from(&policy);
            namespaces.push(UseOfNamespace::new(&tenant, policy, &found));
        }
        Ok(Self { namespaces })
    }
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
    /// Each credential.
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

impl UseOfNamespace {
    fn new(tenant: &Tenant, policy: LegacyPolicyView, found: &[LegacyUse]) -> Self {
        let usage = || found.iter().filter_map(|found| found.usage.as_ref());
        let last: Option<Timestamp> = usage().filter_map(|usage| usage.last_used).max();
        let sum = |count: fn(&Usage) -> u64| usage().map(count).fold(0, u64::saturating_add);
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
