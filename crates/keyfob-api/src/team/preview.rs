//! What stops working when somebody is removed.

use std::collections::{BTreeMap, HashMap};

use keyfob::{
    KeyInfo, KeyStore, Owner, Timestamp,
    manage::{EffectiveStatus, Policy},
    name::{NamespaceId, TeamId},
    store::{KeyQuery, Page, StatusFilter},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    control_plane::Plane,
    key::{AccessKey, OwnerView},
    refusal::Refusal,
};

impl<S: KeyStore> Plane<S> {
    /// The keys of a person or service that work, or will.
    pub(crate) async fn preview(
        &self,
        team: TeamId,
        owner: Owner,
        now: Timestamp,
    ) -> Result<Preview, Refusal> {
        let mut preview = Preview {
            owner: OwnerView::from(&owner),
            namespaces: Vec::new(),
            count: 0,
        };
        let mut by_namespace: BTreeMap<NamespaceId, Vec<AccessKey>> = BTreeMap::new();
        let mut policies: HashMap<NamespaceId, Policy> = HashMap::new();
        for status in [StatusFilter::Active, StatusFilter::Disabled] {
            let mut query = KeyQuery {
                owner: Some(owner.clone()),
                status: Some(status),
                limit: KeyQuery::LIMIT_MAX,
                ..KeyQuery::team(team.clone())
            };
            loop {
                let Page { items, next } = self.keyring.list(&query).await?;
                let used = self.usage_of(&items).await?;
                for info in &items {
                    let policy = self.policy_of(info, &mut policies).await?;
                    if info.effective_status(now, policy) == EffectiveStatus::Expired {
                        continue;
                    }
                    let usage = used.get(&info.id);
                    let key = AccessKey::new(info, self.format(), policy, usage, now);
                    let namespace = info.tenant.namespace.clone();
                    by_namespace.entry(namespace).or_default().push(key);
                    preview.count += 1;
                }
                match next {
                    Some(next) => query.after = Some(next),
                    None => break,
                }
            }
        }
        preview.namespaces = by_namespace
            .into_iter()
            .map(|(namespace, access_keys)| KeysOfNamespace {
                namespace: namespace.as_str().to_owned(),
                access_keys,
            })
            .collect();
        Ok(preview)
    }

    /// The policy of a key's namespace, read once for each.
    async fn policy_of<'p>(
        &self,
        info: &KeyInfo,
        known: &'p mut HashMap<NamespaceId, Policy>,
    ) -> Result<&'p Policy, Refusal> {
        let namespace = &info.tenant.namespace;
        if !known.contains_key(namespace) {
            let policy = self.keyring.policy(&info.tenant).await?;
            known.insert(namespace.clone(), policy);
        }
        known.get(namespace).ok_or(Refusal::SERVER_ERROR)
    }
}

/// What will stop working when a person or service is removed.
#[derive(Serialize, ToSchema)]
pub(crate) struct Preview {
    /// Whose keys they are.
    owner: OwnerView,
    /// Their keys that work, will work or are switched off, by namespace.
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
