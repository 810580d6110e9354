//! Keys in the output.

use std::collections::BTreeMap;

use keyfob::{
    KeyId, KeyInfo, Scopes, Tenant, Timestamp,
    gateway::Usage,
    key::{CredentialId, KeyFormat},
    manage::{EffectiveStatus, Policy, RevocationCause, Status},
    name::NamespaceId,
    store::KeyQuery,
};
use serde::Serialize;

use crate::{
    command_context::CommandContext,
    failure::Failure,
    terminal::{TableView, Tone},
};

/// A key in JSON.
#[derive(Debug, Serialize)]
pub(crate) struct KeyView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) team: String,
    pub(crate) namespace: String,
    pub(crate) owner: String,
    pub(crate) status: EffectiveStatus,
    pub(crate) scopes: ScopesView,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) created_at: String,
    pub(crate) created_by: String,
    pub(crate) updated_at: String,
    pub(crate) issued_at: String,
    pub(crate) not_before: Option<String>,
    /// The key's own expiry.
    pub(crate) expires_at: Option<String>,
    /// The expiry under the policy, which is no later.
    pub(crate) effective_expires_at: Option<String>,
    pub(crate) previous_secret_until: Option<String>,
    pub(crate) revoked: Option<RevokedView>,
    pub(crate) last_used_at: Option<String>,
    pub(crate) uses: u64,
    pub(crate) revision: u64,
}

/// `"all"`, or a list.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum ScopesView {
    All(&'static str),
    Only(Vec<String>),
}

impl From<&Scopes> for ScopesView {
    fn from(scopes: &Scopes) -> Self {
        match scopes {
            Scopes::Only(scopes) => Self::Only(scopes.iter().map(ToString::to_string).collect()),
            _ => Self::All("all"),
        }
    }
}

impl std::fmt::Display for ScopesView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All(all) => f.write_str(all),
            Self::Only(scopes) if scopes.is_empty() => f.write_str("none"),
            Self::Only(scopes) => f.write_str(&scopes.join(" ")),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct RevokedView {
    at: String,
    by: String,
    cause: RevocationCause,
    reason: Option<String>,
}

impl KeyView {
    fn new(
        key: &KeyInfo,
        policy: &Policy,
        usage: Option<&Usage>,
        format: &KeyFormat,
        now: Timestamp,
    ) -> Self {
        let text = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
        let revoked = match &key.status {
            Status::Revoked(revocation) => Some(RevokedView {
                at: revocation.at.to_string(),
                by: revocation.by.to_string(),
                cause: revocation.cause,
                reason: revocation.reason.as_ref().map(ToString::to_string),
            }),
            Status::Active | Status::Disabled => None,
        };
        let labels = key.labels.iter();
        Self {
            id: format.key_id(key.id),
            name: key.name.to_string(),
            team: key.tenant.team.to_string(),
            namespace: key.tenant.namespace.to_string(),
            owner: key.owner.to_string(),
            status: key.effective_status(now, policy),
            scopes: ScopesView::from(&key.scopes),
            labels: labels
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            created_at: key.created_at.to_string(),
            created_by: key.created_by.to_string(),
            updated_at: key.updated_at.to_string(),
            issued_at: key.issued_at.to_string(),
            not_before: text(key.not_before),
            expires_at: text(key.expires_at),
            effective_expires_at: text(key.expires_under(policy)),
            previous_secret_until: text(key.previous_until.filter(|until| now < *until)),
            revoked,
            last_used_at: text(usage.and_then(|usage| usage.last_used)),
            uses: usage.map_or(0, |usage| usage.accepted),
            revision: key.revision.get(),
        }
    }

    pub(crate) fn effective_status(&self) -> (String, Tone) {
        match self.status {
            EffectiveStatus::Active => ("active".to_owned(), Tone::Good),
            EffectiveStatus::NotYetValid => ("not yet valid".to_owned(), Tone::Warning),
            EffectiveStatus::Disabled => ("disabled".to_owned(), Tone::Warning),
            EffectiveStatus::Expired => ("expired".to_owned(), Tone::Dim),
            EffectiveStatus::Revoked => ("revoked".to_owned(), Tone::Bad),
            _ => ("unknown".to_owned(), Tone::Bad),
        }
    }

    /// All fields of the key.
    pub(crate) fn details(&self) -> TableView {
        let mut table = TableView::pairs();
        let (standing, tone) = self.effective_status();
        table
            .pair("key", &self.id)
            .pair("name", &self.name)
            .pair("owner", &self.owner)
            .pair(
                "namespace",
                format!("{} (team {})", self.namespace, self.team),
            )
            .toned_pair("status", standing, tone);
        if let Some(revoked) = &self.revoked {
            table
                .pair("revoked", format!("{} by {}", revoked.at, revoked.by))
                .pair_if("reason", revoked.reason.as_ref());
        }
        table.pair("scopes", &self.scopes);
        for (name, value) in &self.labels {
            table.pair("label", format!("{name}={value}"));
        }
        table
            .pair(
                "created",
                format!("{} by {}", self.created_at, self.created_by),
            )
            .pair_if("valid from", self.not_before.as_ref())
            .pair(
                "expires",
                self.effective_expires_at.as_deref().unwrap_or("never"),
            )
            .pair_if("old secret until", self.previous_secret_until.as_ref())
            .pair("last used", self.last_used_at.as_deref().unwrap_or("never"))
            .pair("revision", self.revision);
        table
    }

    /// A table of keys.
    pub(crate) fn table(keys: &[Self]) -> TableView {
        let mut table = TableView::new(
            [
                "KEY",
                "NAME",
                "OWNER",
                "NAMESPACE",
                "STATUS",
                "EXPIRES",
                "LAST USED",
            ],
            "no keys",
        );
        for key in keys {
            let or_never = |text: &Option<String>| match text {
                Some(text) => (text.clone(), Tone::Plain),
                None => ("never".to_owned(), Tone::Dim),
            };
            table.row([
                (key.id.clone(), Tone::Plain),
                (key.name.clone(), Tone::Plain),
                (key.owner.clone(), Tone::Plain),
                (key.namespace.clone(), Tone::Plain),
                key.effective_status(),
                or_never(&key.effective_expires_at),
                or_never(&key.last_used_at),
            ]);
        }
        table
    }
}

/// What the output says about keys in addition to their records: their policies and usage.
///
/// A command that changes keys reads it before the change: once the change is committed, nothing
/// may fail.
pub(crate) struct KeyReads {
    policies: BTreeMap<NamespaceId, Policy>,
    usage: BTreeMap<String, Usage>,
}

impl KeyReads {
    /// Reads it for keys with these identifiers, in these tenants.
    pub(crate) async fn read<'t>(
        cx: &CommandContext,
        tenants: impl IntoIterator<Item = &'t Tenant>,
        ids: impl IntoIterator<Item = KeyId>,
    ) -> Result<Self, Failure> {
        let ids: Vec<_> = ids.into_iter().map(CredentialId::Key).collect();
        let usage = if ids.is_empty() {
            Vec::new()
        } else {
            cx.keyring.usage(&ids).await?
        };
        let usage = usage.into_iter();
        let mut policies = BTreeMap::new();
        for tenant in tenants {
            if !policies.contains_key(&tenant.namespace) {
                let policy = cx.keyring.policy(Some(tenant)).await?;
                policies.insert(tenant.namespace.clone(), policy);
            }
        }
        Ok(Self {
            policies,
            usage: usage
                .map(|usage| (usage.credential.to_string(), usage))
                .collect(),
        })
    }

    /// A key with its status under its policy, and its usage.
    pub(crate) fn view(&self, cx: &CommandContext, key: &KeyInfo) -> KeyView {
        let policy = self.policies.get(&key.tenant.namespace);
        let policy = policy.cloned().unwrap_or_default();
        let usage = self.usage.get(&CredentialId::Key(key.id).to_string());
        KeyView::new(key, &policy, usage, cx.format(), cx.now)
    }
}

/// Keys with their status under their policies, and their usage.
pub(crate) async fn views(cx: &CommandContext, keys: &[KeyInfo]) -> Result<Vec<KeyView>, Failure> {
    let tenants = keys.iter().map(|key| &key.tenant);
    let reads = KeyReads::read(cx, tenants, keys.iter().map(|key| key.id)).await?;
    Ok(keys.iter().map(|key| reads.view(cx, key)).collect())
}

/// All keys that a query selects.
pub(crate) async fn read_all(
    cx: &CommandContext,
    mut query: KeyQuery,
) -> Result<Vec<KeyInfo>, Failure> {
    query.limit = KeyQuery::LIMIT_MAX;
    let mut keys = Vec::new();
    let mut pages = cx.keyring.walk(query);
    while let Some(page) = pages.next_page().await? {
        keys.extend(page);
    }
    Ok(keys)
}
