//! Defects in cuts, closings and openings.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use keyfob::manage::Authority;
use keyfob::store::{
    Change, Commit, Conflict, Item, KeyQuery, LegacyQuery, Page, Revision, StoreState, Target,
};

use crate::{
    Defect,
    store::{Hooks, acknowledging, committing, every_key, every_raw_key, page, rewriting, telling},
};

pub(crate) const DEFECTS: &[Defect] = &[
    Defect {
        name: "a key is created after its owner left",
        hooks: || {
            rewriting(|_, commit| {
                if let Change::Revoke { block, .. } = &mut commit.change {
                    *block = false;
                }
            })
        },
        caught_by: &[
            "a_key_created_after_its_owner_left_is_refused",
            "a_removal_that_races_with_creations_leaves_no_key",
        ],
    },
    Defect {
        name: "coming back revives what was cut off",
        hooks: reviving,
        caught_by: &["reopening_revives_nothing"],
    },
    Defect {
        name: "a look-up does not read behind cutoffs",
        hooks: || Hooks {
            key: Box::new(|state, tenant, id| {
                let mut keys = every_raw_key(state).into_iter();
                keys.find(|key| key.id == id && key.tenant == *tenant)
            }),
            ..Hooks::default()
        },
        caught_by: &[
            "no_key_outlives_its_owner",
            "a_cut_without_closing_lets_new_keys_be_made",
        ],
    },
    Defect {
        name: "a list does not read behind cutoffs",
        hooks: || Hooks {
            keys: Box::new(|state, query| {
                let mut items = every_raw_key(state);
                items.sort_by_key(|record| record.created_revision);
                items.retain(|record| query.selects(record));
                page(items, query, |record| record.created_revision)
            }),
            ..Hooks::default()
        },
        caught_by: &[
            "no_key_outlives_its_team",
            "lists_select_by_status_behind_cuts",
        ],
    },
    Defect {
        name: "a list selects by status before it reads behind cutoffs",
        hooks: || Hooks {
            keys: Box::new(|state, query| {
                let mut keys = every_raw_key(state);
                keys.sort_by_key(|record| record.created_revision);
                keys.retain(|record| query.selects(record));
                let read = |record: keyfob::store::KeyRecord| state.key(&record.tenant, record.id);
                let items = keys.into_iter().filter_map(read).collect();
                page(items, query, |record| record.created_revision)
            }),
            ..Hooks::default()
        },
        caught_by: &["lists_select_by_status_behind_cuts"],
    },
    Defect {
        name: "the list of legacy credentials does not read behind cutoffs",
        hooks: || Hooks {
            legacy: Box::new(|state, query| {
                let entries = state.changes(Revision::ZERO, usize::MAX).entries;
                let raw = |id| {
                    entries.iter().find_map(|entry| match &entry.item {
                        Item::Legacy(record) if record.id == id => Some(record.clone()),
                        _ => None,
                    })
                };
                let Page { items, next } = state.legacy(query);
                let items = items.into_iter().filter_map(|record| raw(record.id));
                Page {
                    items: items.collect(),
                    next,
                }
            }),
            ..Hooks::default()
        },
        caught_by: &["legacy_credentials_end_with_their_target"],
    },
    Defect {
        name: "the feed does not tell of cutoffs",
        hooks: || {
            telling(|_, _, changes| {
                let is_cutoff = |item: &Item| matches!(item, Item::Cutoff(_));
                changes.entries.retain(|entry| !is_cutoff(&entry.item));
            })
        },
        caught_by: &[
            "no_key_outlives_its_owner",
            "no_key_outlives_its_namespace",
            "the_feed_tells_of_cuts_and_openings",
            "a_target_without_keys_can_be_cut",
        ],
    },
    Defect {
        name: "a rotation prepared before a removal is acknowledged",
        hooks: || {
            acknowledging(|commit, conflict| {
                matches!(commit.change, Change::ReplaceKey { .. }) && *conflict == Conflict::Revoked
            })
        },
        caught_by: &[
            "a_rotation_prepared_before_a_removal_is_refused",
            "a_key_behind_a_cut_cannot_be_replaced",
        ],
    },
    Defect {
        name: "an ended team is opened with its namespace",
        hooks: || {
            committing(|state, commit| {
                let answer = state.commit(&commit)?;
                if let Change::Restore {
                    target: Target::Namespace(tenant),
                } = &commit.change
                {
                    open(state, &commit, Target::Team(tenant.team.clone()));
                }
                Ok(answer)
            })
        },
        caught_by: &["opening_one_target_opens_no_other"],
    },
    Defect {
        name: "a later cut opens a closed target",
        hooks: || {
            committing(|state, commit| {
                let answer = state.commit(&commit)?;
                if let Change::Revoke {
                    target,
                    block: false,
                    ..
                } = &commit.change
                {
                    open(state, &commit, target.clone());
                }
                Ok(answer)
            })
        },
        caught_by: &["a_later_cut_does_not_open_a_closed_target"],
    },
    Defect {
        name: "every cut closes its target",
        hooks: || {
            rewriting(|_, commit| {
                if let Change::Revoke { block, .. } = &mut commit.change {
                    *block = true;
                }
            })
        },
        caught_by: &["a_cut_without_closing_lets_new_keys_be_made"],
    },
    Defect {
        name: "opening a target that is not closed is acknowledged",
        hooks: || acknowledging(|_, conflict| matches!(conflict, Conflict::NotRemoved(_))),
        caught_by: &["a_target_that_is_not_closed_cannot_be_opened"],
    },
    Defect {
        name: "an owner's leaving closes the team",
        hooks: || {
            rewriting(|_, commit| {
                if let Change::Revoke { target, .. } = &mut commit.change {
                    *target = Target::Team(target.team().clone());
                }
            })
        },
        caught_by: &[
            "a_closed_target_closes_no_other",
            "no_key_outlives_its_owner",
            "a_service_is_removed_alone",
        ],
    },
    Defect {
        name: "the last cut overwrites the first revocation",
        hooks: || Hooks {
            key: Box::new(|state, tenant, id| {
                let record = state.key(tenant, id)?;
                Some(under_last_cut(state, record))
            }),
            ..Hooks::default()
        },
        caught_by: &[
            "each_cut_revokes_what_came_before_it",
            "a_cut_does_not_rewrite_a_revocation",
        ],
    },
    Defect {
        name: "a cut is a sweep that rewrites each key",
        hooks: || {
            telling(|state, _, changes| {
                for entry in &mut changes.entries {
                    if let Item::Key(record) = &mut entry.item {
                        if let Some(read) = state.key(&record.tenant, record.id) {
                            *record = read;
                        }
                    }
                }
            })
        },
        caught_by: &["a_cut_rewrites_no_record"],
    },
    Defect {
        name: "a team's name is a pattern when it is cut",
        hooks: || {
            committing(|state, commit| {
                let answer = state.commit(&commit)?;
                if let Change::Revoke {
                    target: Target::Team(team),
                    block,
                    ..
                } = &commit.change
                {
                    if team.as_str() == "%" {
                        for key in every_key(state) {
                            let change = Change::Revoke {
                                target: Target::Team(key.tenant.team),
                                block: *block,
                                in_advance: true,
                            };
                            let event = commit.event.clone();
                            state.commit(&Commit {
                                change,
                                authority: Authority::System,
                                event,
                            })?;
                        }
                    }
                }
                Ok(answer)
            })
        },
        caught_by: &["hostile_names_stay_apart"],
    },
];

fn open(state: &mut StoreState, commit: &Commit, target: Target) {
    let change = Change::Restore { target };
    let event = commit.event.clone();
    // Where it is not closed there is nothing to open.
    let _ = state.commit(&Commit {
        change,
        authority: Authority::System,
        event,
    });
}

/// The key as revoked by the last cut that it is behind.
fn under_last_cut(
    state: &StoreState,
    mut record: keyfob::store::KeyRecord,
) -> keyfob::store::KeyRecord {
    for entry in state.changes(Revision::ZERO, usize::MAX).entries {
        if let Item::Cutoff(cutoff) = entry.item {
            let is_behind = cutoff.covers(record.created_revision)
                && cutoff.target.team() == &record.tenant.team;
            if is_behind {
                record.status = keyfob::manage::Status::Revoked(cutoff.revocation);
            }
        }
    }
    record
}

/// A store that forgets a cut when its target is opened.
fn reviving() -> Hooks {
    let opened: Arc<Mutex<BTreeSet<Target>>> = Arc::default();
    let (by_key, by_feed) = (Arc::clone(&opened), Arc::clone(&opened));
    Hooks {
        commit: Box::new(move |state, commit| {
            let answer = state.commit(commit)?;
            if let Change::Restore { target } = &commit.change {
                opened.lock().unwrap().insert(target.clone());
            }
            Ok(answer)
        }),
        key: Box::new(move |state, tenant, id| {
            let opened = by_key.lock().unwrap();
            let raw = every_raw_key(state).into_iter();
            let mut raw = raw.filter(|key| key.id == id && key.tenant == *tenant);
            let owned = |target: &Target| target.team() == &tenant.team;
            match raw.next() {
                Some(record) if opened.iter().any(owned) => Some(record),
                _ => state.key(tenant, id),
            }
        }),
        changes: Box::new(move |state, after, limit| {
            let opened = by_feed.lock().unwrap();
            let mut changes = state.changes(after, limit);
            changes.entries.retain(|entry| match &entry.item {
                Item::Cutoff(cutoff) => !opened.contains(&cutoff.target),
                _ => true,
            });
            changes
        }),
        keys: Box::new(|state, query: &KeyQuery| state.keys(query)),
        legacy: Box::new(|state, query: &LegacyQuery| state.legacy(query)),
        ..Hooks::default()
    }
}
