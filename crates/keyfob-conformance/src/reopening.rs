//! Everything that can be read from a store, to compare it before and after it is opened again.

use std::{collections::BTreeSet, fmt::Debug};

use keyfob::{
    KeyStore, Tenant,
    audit::AuditEvent,
    key::CredentialId,
    name::TeamId,
    store::{
        AuditQuery, Change, Item, KeyQuery, LegacyQuery, NamespaceQuery, Revision, Target,
        TargetQuery, UsageOf, UsageQuery,
    },
};

use crate::{
    fixture::{NOW, fields, kept, sound},
    reading::{
        countable, countable_days, feed, find, head, list, list_legacy, list_namespaces,
        list_targets, shown, trail,
    },
};

/// Everything that can be read from a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents(Vec<(String, String)>);

/// Reads everything: the change feed, the audit trail, keys, legacy credentials, namespaces,
/// policies, usage and the key format.
pub async fn contents(store: &dyn KeyStore) -> Contents {
    let mut contents = Contents(Vec::new());
    contents.add("the last revision", head(store).await);
    contents.add("the key format", sound(store.key_format().await));
    let entries = feed(store, Revision::ZERO, 1000).await;
    let (mut tenants, mut teams) = (BTreeSet::new(), BTreeSet::new());
    let mut credentials = Vec::new();
    for entry in &entries {
        contents.add(
            format!("the feed at {}", entry.revision),
            shown(&entry.item),
        );
        match &entry.item {
            Item::Key(record) => {
                let found = find(store, record).await;
                let found = found.as_ref().map(fields);
                contents.add(format!("the key {}", record.id), found);
                tenants.insert(record.tenant.clone());
                credentials.push(CredentialId::Key(record.id));
            }
            Item::KeyDeleted { id, .. } => credentials.push(CredentialId::Key(*id)),
            Item::Legacy(record) => {
                tenants.insert(record.tenant.clone());
                credentials.push(CredentialId::Legacy(record.id));
            }
            _ => {}
        }
    }
    for event in trail(store, &AuditQuery::every_team()).await {
        contents.add(format!("the audit trail at {}", event.revision), &event);
    }
    for record in list_namespaces(store, &NamespaceQuery::every_team()).await {
        contents.add("a namespace in the list", &record);
        tenants.insert(record.tenant);
    }
    for record in list_legacy(store, &LegacyQuery::every_team()).await {
        let digest = record.digest.to_text();
        contents.add("a legacy credential in the list", (record, digest));
    }
    for record in list_targets(store, &TargetQuery::teams()).await {
        contents.add("a team in the list", &record);
    }
    teams.extend(tenants.iter().map(|tenant| tenant.team.clone()));
    contents.add_lists(store, &tenants, &teams).await;
    contents.add_policies(store, &tenants).await;
    for usage in sound(store.usage(&credentials).await) {
        contents.add("the usage of a credential", countable(&usage));
    }
    let namespaces = tenants.iter().map(|tenant| tenant.namespace.clone());
    let of = credentials.into_iter().map(UsageOf::Credential);
    let of = of.chain(namespaces.map(UsageOf::Namespace));
    let today = NOW.as_unix().div_euclid(86_400);
    let query = UsageQuery {
        of: of.chain(teams.into_iter().map(UsageOf::Team)).collect(),
        first: today - 1,
        last: today + 2,
    };
    for day in countable_days(sound(store.usage_days(&query).await)) {
        contents.add("the usage of a day", day);
    }
    contents
}

impl Contents {
    /// Panics at the first difference.
    pub(crate) fn assert_equal(&self, expected: &Self, at: &str) {
        for (found, expected) in self.0.iter().zip(&expected.0) {
            assert_eq!(found, expected, "{at}");
        }
        assert_eq!(
            self.0.len(),
            expected.0.len(),
            "{at}: the number of answers"
        );
    }

    fn add(&mut self, what: impl Into<String>, answer: impl Debug) {
        self.0.push((what.into(), format!("{answer:?}")));
    }

    async fn add_lists(
        &mut self,
        store: &dyn KeyStore,
        tenants: &BTreeSet<Tenant>,
        teams: &BTreeSet<TeamId>,
    ) {
        let of_teams = teams.iter().map(|team| KeyQuery::team(team.clone()));
        for team in teams {
            let members = TargetQuery::members(team.clone());
            for query in [members, TargetQuery::services(team.clone())] {
                for record in list_targets(store, &query).await {
                    self.add("an owner in the list", &record);
                }
            }
            let count = store.count_live(&Target::Team(team.clone()), NOW).await;
            self.add("the live credentials of a team", sound(count));
        }
        for query in of_teams.chain(tenants.iter().map(KeyQuery::namespace)) {
            for record in list(store, &query).await {
                self.add("a key in a list", fields(&record));
            }
        }
    }

    async fn add_policies(&mut self, store: &dyn KeyStore, tenants: &BTreeSet<Tenant>) {
        for tenant in [None].into_iter().chain(tenants.iter().map(Some)) {
            let policy = sound(store.policy(tenant).await);
            self.add(format!("the policy of {tenant:?}"), policy);
            let policy = sound(store.legacy_policy(tenant).await);
            self.add(format!("the legacy policy of {tenant:?}"), policy);
        }
    }
}

/// Checks that a store has these contents, and that it goes on where it ended: the next commit
/// gets the next revision and continues the chain of the audit trail.
pub async fn goes_on(store: &dyn KeyStore, expected: &Contents) {
    let found = contents(store).await;
    found.assert_equal(expected, "the store was opened again");
    let last = trail(store, &AuditQuery::every_team()).await.pop();
    let before = head(store).await;
    let change = Change::SetPolicy {
        tenant: None,
        policy: None,
    };
    let revision = kept(store, change).await;
    assert_eq!(revision, before.next(), "the next commit");
    let next = trail(store, &AuditQuery::every_team()).await.pop();
    let next = next.expect("the commit left an event");
    let hash = last.map_or(keyfob::audit::ChainHash::START, |last| last.hash);
    let chained = AuditEvent::chained(next.entry.clone(), revision, hash);
    assert_eq!(next, chained, "the event of the next commit");
}
