//! What stops working when a person or service is removed.

use std::collections::{BTreeMap, HashMap};

use keyfob::{
    Owner, Timestamp,
    manage::EffectiveStatus,
    name::{NamespaceId, TeamId},
    store::{KeyQuery, StatusFilter},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{keys::AccessKey, refusal::Refusal, state::AppState};

/// What will stop working when a person or service is removed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Preview {
    /// Whose keys they are, as `user:NAME` or `service:NAME`.
    #[schema(value_type = String, examples("user:alice"))]
    owner: Owner,
    /// The keys that are active, not yet valid or disabled, by namespace.
    namespaces: Vec<KeysOfNamespace>,
    /// How many keys there are.
    count: usize,
}

/// Keys of one namespace.
#[derive(Serialize, ToSchema)]
struct KeysOfNamespace {
    namespace: String,
    access_keys: Vec<AccessKey>,
}

impl Preview {
    pub(crate) async fn read(
        state: &AppState,
        team: TeamId,
        owner: Owner,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let mut by_namespace: BTreeMap<NamespaceId, Vec<AccessKey>> = BTreeMap::new();
        let mut policies = HashMap::new();
        let mut count = 0;
        for status in [StatusFilter::Active, StatusFilter::Disabled] {
            let mut keys = state.keyring.walk(KeyQuery {
                owner: Some(owner.clone()),
                status: Some(status),
                limit: KeyQuery::LIMIT_MAX,
                ..KeyQuery::team(team.clone())
            });
            while let Some(page) = keys.next_page().await? {
                let usage = state.usage_of(&page).await?;
                for info in &page {
                    let namespace = &info.tenant.namespace;
                    if !policies.contains_key(namespace) {
                        let policy = state.keyring.policy(Some(&info.tenant)).await?;
                        policies.insert(namespace.clone(), policy);
                    }
                    let policy = &policies[namespace];
                    if info.effective_status(now, policy) == EffectiveStatus::Expired {
                        continue;
                    }
                    let key =
                        AccessKey::new(info, state.format(), policy, usage.get(&info.id), now);
                    by_namespace.entry(namespace.clone()).or_default().push(key);
                    count += 1;
                }
            }
        }
        let namespaces = by_namespace.into_iter();
        let namespaces = namespaces.map(|(namespace, access_keys)| KeysOfNamespace {
            namespace: namespace.as_str().to_owned(),
            access_keys,
        });
        Ok(Self {
            owner,
            namespaces: namespaces.collect(),
            count,
        })
    }
}
