//! Defects in judging and keeping changes of keys.

use std::collections::{BTreeMap, BTreeSet};

use keyfob::{
    KeyId,
    manage::Status,
    store::{Change, Conflict, KeyRecord, Revision, StoreState},
};

use crate::{
    Defect,
    store::{Hooks, acknowledging, committing, every_key, every_raw_key, rewriting, whosever},
};

pub(crate) const DEFECTS: &[Defect] = &[
    Defect {
        name: "a deletion does not look at the revision",
        hooks: || {
            rewriting(|_, commit| {
                if let Change::DeleteKey { expected, .. } = &mut commit.change {
                    *expected = None;
                }
            })
        },
        caught_by: &["a_stale_deletion_is_refused"],
    },
    Defect {
        name: "a lost update: no look at the revision",
        hooks: || {
            rewriting(|state, commit| match &mut commit.change {
                Change::ReplaceKey {
                    record, expected, ..
                } => {
                    let known = state.key(&record.tenant, record.id);
                    *expected = known.map_or(*expected, |known| known.revision);
                }
                Change::ReplaceLegacy { record, expected } => {
                    let known = state
                        .legacy(&keyfob::store::LegacyQuery::every_team())
                        .items;
                    let known = known.iter().find(|known| known.id == record.id);
                    *expected = known.map_or(*expected, |known| known.revision);
                }
                _ => {}
            })
        },
        caught_by: &[
            "a_stale_replacement_is_refused",
            "a_stale_legacy_replacement_is_refused",
            "of_rotations_at_once_one_wins",
        ],
    },
    Defect {
        name: "a replacement revives a revoked key",
        hooks: reviving,
        caught_by: &["a_revoked_key_never_comes_back"],
    },
    Defect {
        name: "a revoked legacy credential can be replaced",
        hooks: || {
            acknowledging(|commit, conflict| {
                matches!(commit.change, Change::ReplaceLegacy { .. })
                    && *conflict == Conflict::Revoked
            })
        },
        caught_by: &["a_revoked_legacy_credential_never_comes_back"],
    },
    Defect {
        name: "an identifier is free again after deletion",
        hooks: freeing_identifiers,
        caught_by: &["an_identifier_is_taken_for_ever"],
    },
    Defect {
        name: "an import that runs again is acknowledged",
        hooks: || {
            acknowledging(|commit, conflict| {
                matches!(commit.change, Change::ImportLegacy { .. })
                    && *conflict == Conflict::IdTaken
            })
        },
        caught_by: &["an_import_can_run_again"],
    },
    Defect {
        name: "an identifier of a legacy credential is refused to a key",
        hooks: || {
            committing(|state, commit| {
                if let Change::CreateKey { record, .. } = &commit.change {
                    let legacy = state.legacy(&keyfob::store::LegacyQuery::every_team());
                    let mut taken = legacy.items.iter();
                    if taken.any(|other| other.id.to_bytes() == record.id.to_bytes()) {
                        return Err(Conflict::IdTaken);
                    }
                }
                state.commit(&commit)
            })
        },
        caught_by: &["keys_and_legacy_credentials_do_not_mix"],
    },
    Defect {
        name: "a deletion by a foreign tenant is accepted",
        hooks: || {
            rewriting(|state, commit| {
                if let Change::DeleteKey { tenant, id, .. } = &mut commit.change {
                    *tenant = whosever(state, *id).map_or(tenant.clone(), |known| known.tenant);
                }
            })
        },
        caught_by: &["a_key_of_another_tenant_is_not_deleted"],
    },
    Defect {
        name: "a replacement by a foreign tenant is accepted",
        hooks: || {
            rewriting(|state, commit| {
                if let Change::ReplaceKey { record, .. } = &mut commit.change {
                    let known = whosever(state, record.id);
                    record.tenant = known.map_or(record.tenant.clone(), |known| known.tenant);
                }
            })
        },
        caught_by: &["a_key_of_another_tenant_is_not_replaced"],
    },
    Defect {
        name: "a key can be given to another owner",
        hooks: || {
            acknowledging(|commit, conflict| {
                matches!(commit.change, Change::ReplaceKey { .. })
                    && *conflict == Conflict::OtherOwner
            })
        },
        caught_by: &["a_key_keeps_its_owner"],
    },
    Defect {
        name: "a legacy replacement by a foreign tenant is accepted",
        hooks: || {
            rewriting(|state, commit| {
                if let Change::ReplaceLegacy { record, .. } = &mut commit.change {
                    let known = state
                        .legacy(&keyfob::store::LegacyQuery::every_team())
                        .items;
                    let known = known.into_iter().find(|known| known.id == record.id);
                    record.tenant = known.map_or(record.tenant.clone(), |known| known.tenant);
                }
            })
        },
        caught_by: &["a_legacy_credential_of_another_tenant_is_not_replaced"],
    },
    Defect {
        name: "a foreign namespace is acknowledged",
        hooks: || acknowledging(|_, conflict| *conflict == Conflict::ForeignNamespace),
        caught_by: &[
            "a_namespace_belongs_to_its_first_team",
            "the_first_change_binds_a_namespace",
            "a_namespace_stays_with_its_team",
            "a_refused_commit_changes_nothing",
        ],
    },
    Defect {
        name: "a change of an unknown key is acknowledged",
        hooks: || acknowledging(|_, conflict| *conflict == Conflict::NotFound),
        caught_by: &[
            "an_unknown_key_cannot_be_changed",
            "a_deleted_key_stays_deleted",
        ],
    },
    Defect {
        name: "a revoked key cannot be deleted",
        hooks: || {
            committing(|state, commit| match &commit.change {
                Change::DeleteKey { tenant, id, .. }
                    if state.key(tenant, *id).is_some_and(|key| key.is_revoked()) =>
                {
                    Err(Conflict::Revoked)
                }
                _ => state.commit(&commit),
            })
        },
        caught_by: &["a_revoked_key_can_be_deleted"],
    },
    Defect {
        name: "a deleted key is only revoked",
        hooks: || {
            rewriting(|state, commit| {
                let Change::DeleteKey { tenant, id, .. } = &commit.change else {
                    return;
                };
                let Some(record) = state.key(tenant, *id).filter(|key| !key.is_revoked()) else {
                    return;
                };
                let context = keyfob::Context::new(commit.event.actor.clone(), commit.event.at);
                commit.change = Change::ReplaceKey {
                    expected: record.revision,
                    record: record.revoked(&context).unwrap(),
                    unique_name: false,
                };
            })
        },
        caught_by: &["a_deleted_key_is_gone_everywhere"],
    },
    Defect {
        name: "a replaced key is created_revision again",
        hooks: || showing_keys(|record| record.created_revision = record.revision),
        caught_by: &[
            "a_replaced_key_keeps_its_birth",
            "a_replacement_does_not_choose_its_birth",
            "the_store_sets_birth_and_revision",
        ],
    },
    Defect {
        name: "a replaced key keeps its revision",
        hooks: || showing_keys(|record| record.revision = record.created_revision),
        caught_by: &["a_commit_has_one_revision_everywhere"],
    },
    Defect {
        name: "the revision does not ascend",
        hooks: || {
            committing(|state, commit| {
                let before = state.revision();
                state.commit(&commit).map(|_| before)
            })
        },
        caught_by: &[
            "every_commit_gets_the_next_revision",
            "commits_at_once_get_a_revision_each",
        ],
    },
    Defect {
        name: "a refused commit takes a revision",
        hooks: || {
            committing(|state, commit| {
                let answer = state.commit(&commit);
                if answer.is_err() {
                    let change = Change::SetPolicy {
                        tenant: None,
                        policy: None,
                    };
                    state.commit(&keyfob::store::Commit { change, ..commit })?;
                }
                answer
            })
        },
        caught_by: &["a_refused_commit_changes_nothing"],
    },
];

/// A store that knows of revocations only until the record is replaced.
fn reviving() -> Hooks {
    let mut revoked: BTreeMap<KeyId, Status> = BTreeMap::new();
    let hidden = std::sync::Arc::new(std::sync::Mutex::new(BTreeMap::new()));
    let shown = std::sync::Arc::clone(&hidden);
    let show = move |mut record: KeyRecord| {
        if let Some(status) = shown.lock().unwrap().get(&record.id).cloned() {
            record.status = status;
        }
        record
    };
    let (show_page, show_told) = (show.clone(), show.clone());
    Hooks {
        commit: Box::new(move |state, commit| {
            let mut commit = commit.clone();
            if let Change::ReplaceKey { record, .. } = &mut commit.change {
                let known = state.key(&record.tenant, record.id);
                let cut_off = known.is_some_and(|known| known.is_revoked());
                if !cut_off {
                    revoked.remove(&record.id);
                    if record.is_revoked() {
                        revoked.insert(record.id, record.status.clone());
                        record.status = Status::Disabled;
                    }
                }
            }
            let answer = state.commit(&commit);
            hidden.lock().unwrap().clone_from(&revoked);
            answer
        }),
        key: Box::new(move |state, tenant, id| state.key(tenant, id).map(&show)),
        keys: Box::new(move |state, query| {
            let items = every_key(state).into_iter().map(&show_page);
            let items = items.filter(|record| query.selects(record)).collect();
            crate::store::page(items, query, |record| record.created_revision)
        }),
        changes: Box::new(move |state, after, limit| {
            let mut changes = state.changes(after, limit);
            for entry in &mut changes.entries {
                if let keyfob::store::Item::Key(record) = &mut entry.item {
                    *record = show_told(record.clone());
                }
            }
            changes
        }),
        ..Hooks::default()
    }
}

fn freeing_identifiers() -> Hooks {
    let mut deleted = BTreeSet::new();
    committing(move |state, mut commit| {
        match &mut commit.change {
            Change::DeleteKey { id, .. } => {
                deleted.insert(*id);
            }
            Change::CreateKey { record, .. } if deleted.contains(&record.id) => {
                let mut bytes = record.id.to_bytes();
                bytes.reverse();
                record.id = KeyId::from_bytes(bytes);
            }
            _ => {}
        }
        state.commit(&commit)
    })
}

/// A store that shows keys otherwise than they were kept.
pub(crate) fn showing_keys(change: fn(&mut KeyRecord)) -> Hooks {
    let show = move |mut record: KeyRecord| {
        change(&mut record);
        record
    };
    Hooks {
        key: Box::new(move |state: &StoreState, tenant, id| state.key(tenant, id).map(show)),
        keys: Box::new(move |state, query| state.keys(query).map(show)),
        changes: Box::new(move |state, after: Revision, limit| {
            let mut changes = state.changes(after, limit);
            for entry in &mut changes.entries {
                if let keyfob::store::Item::Key(record) = &mut entry.item {
                    change(record);
                }
            }
            changes
        }),
        ..Hooks::default()
    }
}

/// Whether a live key of any namespace but this record's has its name.
pub(crate) fn is_named_elsewhere(state: &StoreState, record: &KeyRecord) -> bool {
    let mut keys = every_raw_key(state).into_iter();
    keys.any(|other| other.tenant != record.tenant && other.name == record.name)
}
