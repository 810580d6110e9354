//! Stores that forget something when they are opened again.

use keyfob::{
    block_on,
    legacy::LegacyPolicy,
    manage::Policy,
    store::{Item, Revision},
};
use keyfob_conformance::{
    behaviours,
    reopening::{contents, goes_on},
};

use crate::{
    quietly,
    store::{Broken, Hooks, auditing, every_raw_key, telling},
};

/// What a store forgets, and a behaviour after which it is noticed.
struct Loss {
    name: &'static str,
    hooks: fn() -> Hooks,
    noticed_after: &'static str,
}

const LOSSES: &[Loss] = &[
    Loss {
        name: "usage",
        hooks: || Hooks {
            usage: Box::new(|_, _| Vec::new()),
            ..Hooks::default()
        },
        noticed_after: "counts_are_added",
    },
    Loss {
        name: "the key format",
        hooks: || Hooks {
            key_format: Box::new(|_| None),
            ..Hooks::default()
        },
        noticed_after: "the_first_key_format_is_kept",
    },
    Loss {
        name: "the first event of the audit trail",
        hooks: || auditing(|events| events.retain(|event| event.revision.get() != 1)),
        noticed_after: "every_commit_leaves_one_event",
    },
    Loss {
        name: "policies",
        hooks: || Hooks {
            policy: Box::new(|_, _| Policy::default()),
            ..Hooks::default()
        },
        noticed_after: "every_field_of_a_policy_is_kept",
    },
    Loss {
        name: "legacy policies",
        hooks: || Hooks {
            legacy_policy: Box::new(|_, _| LegacyPolicy::Off),
            ..Hooks::default()
        },
        noticed_after: "a_sunset_can_be_put_off",
    },
    Loss {
        name: "tombstones",
        hooks: || {
            telling(|_, _, changes| {
                let kept = |item: &Item| !matches!(item, Item::KeyDeleted { .. });
                changes.entries.retain(|entry| kept(&entry.item));
            })
        },
        noticed_after: "a_deleted_key_stays_deleted",
    },
    Loss {
        name: "cutoffs",
        hooks: || Hooks {
            key: Box::new(|state, tenant, id| {
                let mut keys = every_raw_key(state).into_iter();
                keys.find(|key| key.id == id && key.tenant == *tenant)
            }),
            ..Hooks::default()
        },
        noticed_after: "no_key_outlives_its_owner",
    },
    Loss {
        name: "old secrets",
        hooks: || {
            telling(|_, _, changes| {
                for entry in &mut changes.entries {
                    if let Item::Key(record) = &mut entry.item {
                        record.previous = None;
                    }
                }
            })
        },
        noticed_after: "a_replaced_secret_ends_with_its_grace",
    },
    Loss {
        name: "the last commit",
        hooks: || {
            telling(|_, _, changes| {
                changes.entries.pop();
                let last = changes.entries.last();
                changes.next_after = last.map_or(changes.after, |last| last.revision);
                changes.head.revision = changes.next_after;
            })
        },
        noticed_after: "a_created_key_is_found_everywhere",
    },
    Loss {
        name: "namespaces without keys",
        hooks: || Hooks {
            namespaces: Box::new(|state, query| {
                let mut page = state.namespaces(query);
                let keys = every_raw_key(state);
                page.items
                    .retain(|record| keys.iter().any(|key| key.tenant == record.tenant));
                page
            }),
            ..Hooks::default()
        },
        noticed_after: "the_feed_passes_over_a_created_namespace",
    },
    Loss {
        name: "legacy credentials in the list",
        hooks: || Hooks {
            legacy: Box::new(|state, query| {
                let mut page = state.legacy(query);
                page.items.clear();
                page
            }),
            ..Hooks::default()
        },
        noticed_after: "an_import_can_run_again",
    },
    Loss {
        name: "the order of keys",
        hooks: || Hooks {
            keys: Box::new(|state, query| {
                let mut page = state.keys(query);
                page.items.reverse();
                page
            }),
            ..Hooks::default()
        },
        noticed_after: "keys_are_listed_in_the_order_of_creation",
    },
    Loss {
        name: "where the log ends",
        hooks: || Hooks {
            commit: Box::new(|state, commit| {
                state.commit(commit)?;
                Ok(Revision::new(1))
            }),
            ..Hooks::default()
        },
        noticed_after: "every_commit_gets_the_next_revision",
    },
];

/// Whether a store that is opened again with these defects passes after this behaviour.
fn passes(behaviour: &keyfob_conformance::Behaviour, hooks: fn() -> Hooks) -> bool {
    let store = Broken::new(Hooks::default());
    block_on(behaviour.play(&store));
    let before = block_on(contents(&store));
    let store = store.reopened(hooks());
    quietly(|| block_on(goes_on(&store, &before))).is_ok()
}

#[test]
fn a_store_that_forgets_nothing_passes_after_every_behaviour() {
    for behaviour in &behaviours() {
        assert!(passes(behaviour, Hooks::default), "{behaviour:?}");
    }
}

#[test]
fn a_store_that_forgets_something_when_it_is_opened_again_is_caught() {
    for loss in LOSSES {
        let behaviours = behaviours();
        let mut behaviours = behaviours.iter();
        let behaviour = behaviours.find(|behaviour| behaviour.name() == loss.noticed_after);
        let behaviour = behaviour.expect("there is such a behaviour");
        assert!(!passes(behaviour, loss.hooks), "{} is forgotten", loss.name);
    }
}
