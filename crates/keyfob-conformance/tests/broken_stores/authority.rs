//! Defects in the check of an actor's authority.

use std::collections::BTreeMap;

use keyfob::{
    KeyId, Scopes, Tenant, Timestamp,
    audit::{Action, AuditEntry},
    key::CredentialId,
    legacy::{LegacyPolicy, LegacyRecord},
    manage::{Authority, Policy, Status},
    store::{
        Change, Commit, Conflict, Cutoff, Existing, Item, KeyRecord, LegacyQuery, Revision,
        Snapshot, StoreState, Target,
    },
};

use crate::{
    Defect,
    store::{Hooks, acknowledging, committing, every_raw_key, rewriting, whosever},
};

pub(crate) const DEFECTS: &[Defect] = &[
    Defect {
        name: "an actor is not checked",
        hooks: || rewriting(|_, commit| commit.authority = Authority::System),
        caught_by: &[
            "an_actor_without_a_credential_is_refused",
            "a_revoked_actor_is_refused",
            "a_removed_owner_is_refused",
            "every_kind_of_change_is_checked",
            "no_change_comes_after_its_actors_revocation",
            "no_change_comes_after_its_owners_removal",
        ],
    },
    Defect {
        name: "an actor's key is read from a cache",
        hooks: || {
            let mut cache = BTreeMap::new();
            reading(move |_, _, snapshot| {
                if let Existing::Key(record) = &mut snapshot.actor {
                    *record = cache
                        .entry(record.id)
                        .or_insert_with(|| record.clone())
                        .clone();
                }
            })
        },
        caught_by: &[
            "a_revoked_actor_is_refused",
            "an_actor_can_revoke_itself_once",
            "a_disabled_actor_is_refused",
            "an_actor_that_lost_a_scope_is_refused",
            "no_change_comes_after_its_actors_revocation",
        ],
    },
    Defect {
        name: "a deleted key is remembered as an actor",
        hooks: || {
            let mut cache: BTreeMap<KeyId, KeyRecord> = BTreeMap::new();
            reading(move |_, commit, snapshot| {
                if let Existing::Key(record) = &snapshot.actor {
                    cache.insert(record.id, record.clone());
                } else {
                    let id = key_of(&commit.authority);
                    if let Some(known) = id.and_then(|id| cache.get(&id)) {
                        snapshot.actor = Existing::Key(known.clone());
                    }
                }
            })
        },
        caught_by: &[
            "an_actor_without_a_credential_is_refused",
            "no_change_comes_after_its_actors_revocation",
        ],
    },
    Defect {
        name: "an actor is looked up by the bytes of its identifier",
        hooks: || {
            reading(|state, commit, snapshot| {
                if let Authority::Credential { id, .. } = &mut commit.authority {
                    if let CredentialId::Legacy(legacy) = *id {
                        let same = KeyId::from_bytes(legacy.to_bytes());
                        if let Some(record) = whosever(state, same) {
                            *id = CredentialId::Key(same);
                            snapshot.actor = Existing::Key(record);
                        }
                    }
                }
            })
        },
        caught_by: &["an_actor_without_a_credential_is_refused"],
    },
    Defect {
        name: "cutoffs are not applied to an actor's key",
        hooks: || {
            reading(|state, _, snapshot| {
                if let Existing::Key(record) = &mut snapshot.actor {
                    let mut raw = every_raw_key(state).into_iter();
                    let raw = raw.find(|raw| raw.id == record.id);
                    *record = raw.unwrap_or_else(|| record.clone());
                }
            })
        },
        caught_by: &[
            "an_actor_before_a_cutoff_is_refused",
            "no_change_comes_after_its_actors_revocation",
        ],
    },
    Defect {
        name: "cutoffs are not applied to a legacy actor",
        hooks: || {
            reading(|state, _, snapshot| {
                if let Existing::Legacy(record) = &mut snapshot.actor {
                    let raw = items(state).find_map(|item| match item {
                        Item::Legacy(raw) if raw.id == record.id => Some(raw),
                        _ => None,
                    });
                    *record = raw.unwrap_or_else(|| record.clone());
                }
            })
        },
        caught_by: &["a_legacy_actor_that_is_no_longer_accepted_is_refused"],
    },
    Defect {
        name: "a cutoff of the same person in another team is applied to an actor",
        hooks: || {
            reading(|state, _, snapshot| {
                if let Existing::Key(record) = &snapshot.actor {
                    let foreign = cutoffs(state).filter(|cutoff| match &cutoff.target {
                        Target::Owner(_, owner) => *owner == record.owner,
                        _ => false,
                    });
                    let foreign: Vec<Cutoff> = foreign.collect();
                    snapshot.actor = Existing::Key(record.clone().with_cutoffs(&foreign));
                }
            })
        },
        caught_by: &["an_actor_before_a_cutoff_is_refused"],
    },
    Defect {
        name: "a disabled key is accepted as an actor's",
        hooks: || {
            of_keys(|record| {
                if record.status == Status::Disabled {
                    record.status = Status::Active;
                }
            })
        },
        caught_by: &["a_disabled_actor_is_refused"],
    },
    Defect {
        name: "an expired key is accepted as an actor's",
        hooks: || of_keys(|record| record.expires_at = None),
        caught_by: &["an_expired_actor_is_refused"],
    },
    Defect {
        name: "an actor's key expires a second late",
        hooks: || {
            of_keys(|record| record.expires_at = record.expires_at.map(|at| at.plus_seconds(1)))
        },
        caught_by: &["an_expired_actor_is_refused"],
    },
    Defect {
        name: "an actor's key is accepted before it is valid",
        hooks: || of_keys(|record| record.not_before = None),
        caught_by: &["an_actor_that_is_not_yet_valid_is_refused"],
    },
    Defect {
        name: "the policy of an actor's namespace is ignored",
        hooks: || reading(|_, _, snapshot| snapshot.actor_policy = Policy::default()),
        caught_by: &["an_actor_past_the_maximum_of_its_namespace_is_refused"],
    },
    Defect {
        name: "the default policy is applied to an actor where there is an override",
        hooks: || reading(|state, _, snapshot| snapshot.actor_policy = state.policy(None)),
        caught_by: &["an_actor_past_the_maximum_of_its_namespace_is_refused"],
    },
    Defect {
        name: "the policy of the change's namespace is applied to the actor",
        hooks: || {
            reading(|state, commit, snapshot| {
                if let Change::CreateKey { record, .. } = &commit.change {
                    snapshot.actor_policy = state.policy(Some(&record.tenant));
                    snapshot.actor_legacy_policy = state.legacy_policy(Some(&record.tenant));
                }
            })
        },
        caught_by: &[
            "an_actor_past_the_maximum_of_its_namespace_is_refused",
            "a_legacy_actor_that_is_no_longer_accepted_is_refused",
        ],
    },
    Defect {
        name: "the legacy policy is ignored for actors",
        hooks: || {
            reading(|_, _, snapshot| {
                snapshot.actor_legacy_policy = LegacyPolicy::until(Timestamp::MAX);
            })
        },
        caught_by: &["a_legacy_actor_that_is_no_longer_accepted_is_refused"],
    },
    Defect {
        name: "a blocked legacy credential is accepted as an actor's",
        hooks: || of_legacy(|record| record.blocked = false),
        caught_by: &["a_legacy_actor_that_is_no_longer_accepted_is_refused"],
    },
    Defect {
        name: "a revoked legacy credential is accepted as an actor's",
        hooks: || of_legacy(|record| record.revoked = None),
        caught_by: &["a_legacy_actor_that_is_no_longer_accepted_is_refused"],
    },
    Defect {
        name: "the scopes of an actor are not checked",
        hooks: || {
            rewriting(|_, commit| {
                if let Authority::Credential { scopes, .. } = &mut commit.authority {
                    *scopes = Scopes::none();
                }
            })
        },
        caught_by: &["an_actor_that_lost_a_scope_is_refused"],
    },
    Defect {
        name: "an owner is not checked",
        hooks: || reading(|_, _, snapshot| snapshot.cutoffs.clear()),
        caught_by: &[
            "a_removed_owner_is_refused",
            "every_kind_of_change_is_checked",
            "no_change_comes_after_its_owners_removal",
        ],
    },
    Defect {
        name: "an owner is refused who was removed from another team",
        hooks: || {
            reading(|state, commit, snapshot| {
                let asked = commit.read_set().targets.pop();
                if let (Authority::Owner(owner), Some(asked)) = (&commit.authority, asked) {
                    let foreign = |cutoff: &Cutoff| match &cutoff.target {
                        Target::Owner(_, removed) => removed == owner,
                        _ => false,
                    };
                    let mut foreign = cutoffs(state).filter(foreign);
                    snapshot.cutoffs.retain(|cutoff| cutoff.target != asked);
                    let blocked = foreign.find(|cutoff| cutoff.blocked);
                    snapshot.cutoffs.extend(blocked.map(|cutoff| Cutoff {
                        target: asked,
                        ..cutoff
                    }));
                }
            })
        },
        caught_by: &["a_removed_owner_is_refused"],
    },
    Defect {
        name: "an owner whose keys were revoked counts as removed",
        hooks: || {
            reading(|_, commit, snapshot| {
                if let Authority::Owner(_) = commit.authority {
                    for cutoff in &mut snapshot.cutoffs {
                        cutoff.blocked = true;
                    }
                }
            })
        },
        caught_by: &["a_removed_owner_is_refused"],
    },
    Defect {
        name: "only who creates a key is checked",
        hooks: || {
            rewriting(|_, commit| {
                if !matches!(commit.change, Change::CreateKey { .. }) {
                    commit.authority = Authority::System;
                }
            })
        },
        caught_by: &[
            "every_kind_of_change_is_checked",
            "an_actor_can_revoke_itself_once",
        ],
    },
    Defect {
        name: "a default policy is set without a check of the actor",
        hooks: || {
            rewriting(|_, commit| {
                if matches!(
                    commit.change,
                    Change::SetPolicy { .. } | Change::SetLegacyPolicy { .. }
                ) {
                    commit.authority = Authority::System;
                }
            })
        },
        caught_by: &["every_kind_of_change_is_checked"],
    },
    Defect {
        name: "an actor is checked after the conditions of the change",
        hooks: || {
            committing(|state, commit| {
                state.decide(&Commit {
                    authority: Authority::System,
                    ..commit.clone()
                })?;
                state.commit(&commit)
            })
        },
        caught_by: &["every_kind_of_change_is_checked"],
    },
    Defect {
        name: "an actor is checked after the change",
        hooks: || {
            reading(|_, commit, snapshot| {
                if let (Change::ReplaceKey { record, .. }, Existing::Key(actor)) =
                    (&commit.change, &mut snapshot.actor)
                {
                    if record.id == actor.id {
                        *actor = record.clone();
                    }
                }
            })
        },
        caught_by: &["an_actor_can_revoke_itself_once"],
    },
    Defect {
        name: "the system is checked by what its event says",
        hooks: || {
            rewriting(|_, commit| {
                let actor = &commit.event.actor;
                if let (Authority::System, Some(id)) = (&commit.authority, actor.credential) {
                    commit.authority = Authority::credential(id, Scopes::none());
                }
            })
        },
        caught_by: &["the_system_is_never_refused"],
    },
    Defect {
        name: "a part of an unauthorized change is kept",
        hooks: || {
            committing(|state, commit| {
                let answer = state.commit(&commit);
                if let Err(Conflict::Actor(_)) = answer {
                    state.commit(&Commit {
                        change: Change::SetPolicy {
                            tenant: None,
                            policy: None,
                        },
                        authority: Authority::System,
                        event: AuditEntry {
                            action: Action::PolicySet,
                            ..commit.event
                        },
                    })?;
                }
                answer
            })
        },
        caught_by: &[
            "a_revoked_actor_is_refused",
            "every_kind_of_change_is_checked",
        ],
    },
    Defect {
        name: "the namespace of an unauthorized change is bound",
        hooks: || {
            committing(|state, commit| {
                let answer = state.commit(&commit);
                if let (Err(Conflict::Actor(_)), Change::CreateKey { record, .. }) =
                    (&answer, &commit.change)
                {
                    let tenant = record.tenant.clone();
                    // Where it is bound already there is nothing to bind.
                    let _ = state.commit(&Commit {
                        change: Change::CreateNamespace { new: tenant.into() },
                        authority: Authority::System,
                        event: commit.event,
                    });
                }
                answer
            })
        },
        caught_by: &["an_actor_without_a_credential_is_refused"],
    },
    Defect {
        name: "an unauthorized change is acknowledged",
        hooks: || acknowledging(|_, conflict| matches!(conflict, Conflict::Actor(_))),
        caught_by: &[
            "a_revoked_actor_is_refused",
            "no_change_comes_after_its_actors_revocation",
        ],
    },
];

/// A store that checks an actor by what it read, which may be changed, and by the commit, which
/// may be changed for this check only.
pub(crate) fn reading(
    mut read: impl FnMut(&StoreState, &mut Commit, &mut Snapshot) + Send + 'static,
) -> Hooks {
    committing(move |state, commit| {
        let mut checked = commit.clone();
        let mut snapshot = snapshot(state, &commit);
        read(state, &mut checked, &mut snapshot);
        if let Err(fault @ Conflict::Actor(_)) = checked.decide(&snapshot) {
            return Err(fault);
        }
        state.commit(&Commit {
            authority: Authority::System,
            ..commit
        })
    })
}

fn of_keys(change: fn(&mut KeyRecord)) -> Hooks {
    reading(move |_, _, snapshot| {
        if let Existing::Key(record) = &mut snapshot.actor {
            change(record);
        }
    })
}

fn of_legacy(change: fn(&mut LegacyRecord)) -> Hooks {
    reading(move |_, _, snapshot| {
        if let Existing::Legacy(record) = &mut snapshot.actor {
            change(record);
        }
    })
}

/// What a sound store reads of an actor; what it reads of the change is left out.
fn snapshot(state: &StoreState, commit: &Commit) -> Snapshot {
    let read_set = commit.read_set();
    let mut snapshot = Snapshot::default();
    let asked = |cutoff: &Cutoff| read_set.targets.contains(&cutoff.target);
    snapshot.cutoffs = cutoffs(state).filter(asked).collect();
    let actor = read_set.actor.map(|id| existing(state, id));
    if let Some((actor, tenant)) = actor {
        snapshot.actor = actor;
        snapshot.actor_policy = state.policy(tenant.as_ref());
        snapshot.actor_legacy_policy = state.legacy_policy(tenant.as_ref());
    }
    snapshot
}

fn existing(state: &StoreState, id: CredentialId) -> (Existing, Option<Tenant>) {
    if let CredentialId::Key(id) = id {
        if let Some(record) = whosever(state, id) {
            let tenant = record.tenant.clone();
            return (Existing::Key(record), Some(tenant));
        }
    }
    if let CredentialId::Legacy(id) = id {
        let query = LegacyQuery::every_team().with_id(id);
        if let Some(record) = state.legacy(&query).items.pop() {
            let tenant = record.tenant.clone();
            return (Existing::Legacy(record), Some(tenant));
        }
    }
    (Existing::Nothing, None)
}

fn items(state: &StoreState) -> impl Iterator<Item = Item> {
    let entries = state.changes(Revision::ZERO, usize::MAX).entries;
    entries.into_iter().map(|entry| entry.item)
}

fn cutoffs(state: &StoreState) -> impl Iterator<Item = Cutoff> {
    items(state).filter_map(|item| match item {
        Item::Cutoff(cutoff) => Some(cutoff),
        _ => None,
    })
}

fn key_of(authority: &Authority) -> Option<KeyId> {
    match authority {
        Authority::Credential {
            id: CredentialId::Key(id),
            ..
        } => Some(*id),
        _ => None,
    }
}
