//! Who still uses legacy credentials.

use std::{sync::Arc, vec};

use keyfob::{
    Tenant,
    legacy::{LegacyUse, NamespaceUse},
    name::TeamId,
    store::{LegacyQuery, NamespaceQuery, NamespaceRecord},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    legacy::policy::LegacyPolicyView,
    refusal::Refusal,
    state::AppState,
    stream::{PAGE, Parts, Text},
    wire::Moment,
};

/// Who still uses legacy credentials.
#[derive(ToSchema)]
#[schema(as = LegacyReport)]
#[expect(dead_code, reason = "the form of a list that is written page by page")]
pub(crate) struct Report {
    /// The namespaces that have some.
    namespaces: Vec<UseOfNamespace>,
}

/// The use of all legacy credentials by namespace, as [`Report`].
pub(crate) struct ReportParts {
    state: Arc<AppState>,
    namespaces: NamespaceQuery,
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
    pub(crate) fn new(state: Arc<AppState>, team: Option<TeamId>) -> Self {
        Self {
            state,
            namespaces: NamespaceQuery {
                team,
                limit: PAGE,
                ..NamespaceQuery::every_team()
            },
            page: Vec::new().into_iter(),
            more: true,
            current: None,
            begun: false,
            listed: false,
        }
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
        let keyring = &self.state.keyring;
        let page = keyring.legacy_report(&current.query).await?;
        if page.items.is_empty() && !current.begun {
            return Ok(None);
        }
        if !std::mem::replace(&mut current.begun, true) {
            let policy = keyring.legacy_policy(Some(&current.tenant)).await?;
            if std::mem::replace(&mut self.listed, true) {
                out.raw(",");
            }
            out.raw("{\"team\":");
            out.value(&current.tenant.team.as_str())?;
            out.raw(",\"namespace\":");
            out.value(&current.tenant.namespace.as_str())?;
            out.raw(",\"policy\":");
            out.value(&LegacyPolicyView::from(&policy))?;
            out.raw(",\"credentials\":");
            out.begin();
        }
        for found in &page.items {
            out.item(&UseOfCredential::from(found))?;
            current.use_.add(found);
        }
        current.query.after = page.next;
        if page.next.is_some() {
            return Ok(Some(current));
        }
        let all = &current.use_;
        out.raw("],\"last_used_at\":");
        out.value(&all.last_used.map(Moment))?;
        out.raw(",\"accepted\":");
        out.value(&all.accepted)?;
        out.raw(",\"refused\":");
        out.value(&all.refused)?;
        out.raw("}");
        Ok(None)
    }
}

impl Parts for ReportParts {
    async fn next(&mut self, out: &mut Text) -> Result<bool, Refusal> {
        if !std::mem::replace(&mut self.begun, true) {
            out.raw("{\"namespaces\":[");
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
