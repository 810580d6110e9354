//! Defects in unique names, in numbers of keys and in usage.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use keyfob::{
    Timestamp,
    gateway::{Usage, UsageBatch, UsageDelta, UsageOutcome, UsageSource},
    key::{CredentialId, SystemRandom},
    legacy::LegacyId,
    name::KeyName,
    store::{Change, Conflict, StoreState},
};

use crate::{
    Defect,
    changing::is_named_elsewhere,
    store::{Hooks, committing, every_key, rewriting},
};

pub(crate) const DEFECTS: &[Defect] = &[
    Defect {
        name: "a taken name is ignored",
        hooks: || {
            rewriting(|_, commit| match &mut commit.change {
                Change::CreateKey { limits, .. } => limits.unique_name = false,
                Change::ReplaceKey { unique_name, .. } => *unique_name = false,
                _ => {}
            })
        },
        caught_by: &[
            "a_taken_name_is_refused",
            "a_taken_name_is_refused_to_a_renamed_key",
            "a_renamed_key_frees_its_old_name",
            "a_key_that_waits_keeps_its_name",
            "of_equal_names_at_once_one_is_kept",
        ],
    },
    Defect {
        name: "names are unique against the policy",
        hooks: || {
            rewriting(|_, commit| {
                if let Change::CreateKey { limits, .. } = &mut commit.change {
                    limits.unique_name = true;
                }
            })
        },
        caught_by: &["names_may_repeat_where_the_policy_allows"],
    },
    Defect {
        name: "names are unique across namespaces",
        hooks: || {
            committing(|state, commit| match &commit.change {
                Change::CreateKey { record, limits }
                    if limits.unique_name && is_named_elsewhere(state, record) =>
                {
                    Err(Conflict::NameTaken)
                }
                _ => state.commit(&commit),
            })
        },
        caught_by: &["a_name_is_taken_in_its_namespace_only"],
    },
    Defect {
        name: "names are unique across owners",
        hooks: || {
            committing(|state, commit| {
                let named = match &commit.change {
                    Change::CreateKey { record, limits } if limits.unique_name => Some(record),
                    Change::ReplaceKey {
                        record,
                        unique_name: true,
                        ..
                    } => Some(record),
                    _ => None,
                };
                let taken = named.is_some_and(|record| {
                    every_key(state).iter().any(|other| {
                        other.tenant == record.tenant
                            && other.name == record.name
                            && other.id != record.id
                            && other.is_live(commit.event.at)
                    })
                });
                if taken {
                    return Err(Conflict::NameTaken);
                }
                state.commit(&commit)
            })
        },
        caught_by: &["a_name_is_taken_for_its_owner_only"],
    },
    Defect {
        name: "names are compared without regard to case",
        hooks: || {
            committing(|state, commit| match &commit.change {
                Change::CreateKey { record, limits }
                    if limits.unique_name && has_folded_name(state, &record.name) =>
                {
                    Err(Conflict::NameTaken)
                }
                _ => state.commit(&commit),
            })
        },
        caught_by: &["names_that_look_alike_are_different"],
    },
    Defect {
        name: "expired keys keep their names and places",
        hooks: || {
            rewriting(|_, commit| {
                if let Change::CreateKey { .. } = commit.change {
                    commit.event.at = Timestamp::MIN;
                }
            })
        },
        caught_by: &[
            "a_name_is_free_once_its_key_has_ended",
            "a_name_is_taken_until_the_moment_of_expiry",
            "a_key_that_has_ended_does_not_count",
        ],
    },
    Defect {
        name: "an owner may have one key more than allowed",
        hooks: || {
            rewriting(|_, commit| {
                if let Change::CreateKey { limits, .. } = &mut commit.change {
                    limits.keys_per_owner = limits.keys_per_owner.map(|most| most + 1);
                }
            })
        },
        caught_by: &[
            "an_owner_has_no_more_keys_than_allowed",
            "where_no_key_is_allowed_the_first_is_refused",
        ],
    },
    Defect {
        name: "an owner may have one key less than allowed",
        hooks: || {
            rewriting(|_, commit| {
                if let Change::CreateKey { limits, .. } = &mut commit.change {
                    limits.keys_per_owner = limits.keys_per_owner.map(|most| most.max(1) - 1);
                }
            })
        },
        caught_by: &[
            "an_owner_has_no_more_keys_than_allowed",
            "other_owners_and_namespaces_do_not_count",
        ],
    },
    Defect {
        name: "an owner's keys count across namespaces",
        hooks: || {
            committing(|state, commit| match &commit.change {
                Change::CreateKey { record, limits } if limits.keys_per_owner.is_some() => {
                    let keys = every_key(state);
                    let own = keys.iter().filter(|key| key.owner == record.owner);
                    match limits.keys_per_owner {
                        Some(most) if own.count() >= most as usize => Err(Conflict::TooManyKeys),
                        _ => state.commit(&commit),
                    }
                }
                _ => state.commit(&commit),
            })
        },
        caught_by: &["other_owners_and_namespaces_do_not_count"],
    },
    Defect {
        name: "usage is overwritten",
        hooks: || {
            counting(|known, new| {
                *known = Usage::none(known.credential);
                known.add(new);
            })
        },
        caught_by: &["counts_are_added"],
    },
    Defect {
        name: "last use moves backwards",
        hooks: || {
            counting(|known, new| {
                known.add(new);
                known.last_used = new.last_used;
            })
        },
        caught_by: &["last_use_only_moves_forward", "a_refused_use_is_no_use"],
    },
    Defect {
        name: "last use is kept as a number without sign",
        hooks: || {
            counting(|known, new| {
                let early = known.last_used.filter(|at| at.as_unix() < 0);
                known.add(new);
                known.last_used = early.or(known.last_used);
            })
        },
        caught_by: &["usage_before_the_epoch_is_kept"],
    },
    Defect {
        name: "usage of unknown credentials is kept",
        hooks: || counting(Usage::add),
        caught_by: &["unknown_credentials_are_passed_over"],
    },
    Defect {
        name: "keys and legacy credentials are counted together",
        hooks: counting_together,
        caught_by: &["keys_and_legacy_credentials_are_counted_apart"],
    },
    Defect {
        name: "a key that was never used has empty usage",
        hooks: || Hooks {
            usage: Box::new(|state, credentials| {
                let found = |credential: &CredentialId| {
                    let none = Usage::none(*credential);
                    state.usage(&[*credential]).pop().unwrap_or(none)
                };
                credentials.iter().map(found).collect()
            }),
            ..Hooks::default()
        },
        caught_by: &["a_key_that_was_never_used_has_no_usage"],
    },
    Defect {
        name: "usage is a commit",
        hooks: || Hooks {
            record_usage: Box::new(|state, batch, now| {
                state.record_usage(batch, now);
                let context = keyfob::Context::new(keyfob::Actor::system(), Timestamp::MIN);
                let action = keyfob::audit::Action::PolicySet;
                state
                    .commit(&keyfob::store::Commit {
                        change: Change::SetPolicy {
                            tenant: None,
                            policy: None,
                        },
                        authority: keyfob::manage::Authority::System,
                        event: keyfob::audit::AuditEntry::new(action, &context),
                    })
                    .unwrap();
            }),
            ..Hooks::default()
        },
        caught_by: &["usage_outlives_changes_and_makes_none"],
    },
    Defect {
        name: "uses to come are recorded as they are",
        hooks: || {
            sending(|state, batch, now| {
                let mut latest = now;
                for delta in &batch.usage {
                    latest = delta.last_used.unwrap_or(now).max(latest);
                }
                state.record_usage(batch, latest);
            })
        },
        caught_by: &["a_use_to_come_counts_as_one_now"],
    },
    Defect {
        name: "uses of the previous secret are not counted",
        hooks: || {
            sending(|state, batch, now| {
                let mut batch = batch.clone();
                let usage = &mut batch.usage;
                usage.retain(|delta| delta.outcome != UsageOutcome::AcceptedPrevious);
                state.record_usage(&batch, now);
            })
        },
        caught_by: &["a_use_of_the_previous_secret_is_a_use"],
    },
    Defect {
        name: "every batch is counted",
        hooks: || {
            sending(|state, batch, now| {
                let own =
                    UsageBatch::single(batch.usage.clone(), batch.hour, &SystemRandom).unwrap();
                state.record_usage(&own, now);
            })
        },
        caught_by: &[
            "a_repeated_batch_is_counted_once",
            "a_repeated_batch_counts_once_by_day",
            "of_equal_batches_at_once_one_is_counted",
            "an_older_batch_is_ignored",
            "sources_do_not_disturb_each_other",
        ],
    },
    Defect {
        name: "all sources share their numbers",
        hooks: || {
            sending(|state, batch, now| {
                let mut batch = batch.clone();
                batch.source = UsageSource::from_bytes([0; 16]);
                state.record_usage(&batch, now);
            })
        },
        caught_by: &["sources_do_not_disturb_each_other", "counts_are_added"],
    },
    Defect {
        name: "an older batch is counted",
        hooks: counting_older,
        caught_by: &["an_older_batch_is_ignored"],
    },
    Defect {
        name: "only the last source is remembered",
        hooks: || {
            let mut last = None;
            sending(move |state, batch, now| {
                if last.replace(batch.source) != Some(batch.source) {
                    let other = UsageBatch::single(Vec::new(), now, &SystemRandom).unwrap();
                    state.record_usage(&other, now.plus_seconds(UsageSource::KEPT.as_secs()));
                }
                state.record_usage(batch, now);
            })
        },
        caught_by: &["a_silent_source_is_forgotten"],
    },
    Defect {
        name: "a group may have any number of sources",
        hooks: || {
            sending(|state, batch, now| {
                let mut batch = batch.clone();
                let mut bytes = batch.source.to_bytes();
                bytes.reverse();
                batch.source = UsageSource::from_bytes(bytes);
                state.record_usage(&batch, now);
            })
        },
        caught_by: &["the_sources_of_a_group_are_bounded"],
    },
    Defect {
        name: "no source is ever forgotten",
        hooks: || sending(|state, batch, _| state.record_usage(batch, Timestamp::UNIX_EPOCH)),
        caught_by: &["a_silent_source_is_forgotten"],
    },
];

/// A store that records batches in its own way.
fn sending(record: impl FnMut(&mut StoreState, &UsageBatch, Timestamp) + Send + 'static) -> Hooks {
    Hooks {
        record_usage: Box::new(record),
        ..Hooks::default()
    }
}

/// A store that ignores only a batch with the number of the last one.
fn counting_older() -> Hooks {
    let mut last = BTreeMap::new();
    sending(move |state, batch, now| {
        if last.insert(batch.source, batch.sequence) != Some(batch.sequence) {
            let own = UsageBatch::single(batch.usage.clone(), batch.hour, &SystemRandom).unwrap();
            state.record_usage(&own, now);
        }
    })
}

fn has_folded_name(state: &StoreState, name: &KeyName) -> bool {
    let folded = name.as_str().to_lowercase();
    let mut keys = every_key(state).into_iter();
    keys.any(|key| key.name.as_str().to_lowercase() == folded)
}

/// A store that merges usage in its own way, for every credential.
fn counting(add: fn(&mut Usage, &UsageDelta)) -> Hooks {
    let kept: Arc<Mutex<BTreeMap<CredentialId, Usage>>> = Arc::default();
    let read = Arc::clone(&kept);
    Hooks {
        record_usage: Box::new(move |_, batch, _| {
            let mut kept = kept.lock().unwrap();
            for delta in &batch.usage {
                let known = kept.entry(delta.credential);
                add(
                    known.or_insert_with(|| Usage::none(delta.credential)),
                    delta,
                );
            }
        }),
        usage: Box::new(move |_, credentials| {
            let kept = read.lock().unwrap();
            let found = credentials.iter().filter_map(|id| kept.get(id));
            found.cloned().collect()
        }),
        ..Hooks::default()
    }
}

fn counting_together() -> Hooks {
    fn number(id: CredentialId) -> CredentialId {
        match id {
            CredentialId::Key(id) => CredentialId::Legacy(LegacyId::from_bytes(id.to_bytes())),
            other => other,
        }
    }
    let mut sound = counting(Usage::add);
    let mut usage = sound.usage;
    let mut record = sound.record_usage;
    sound.record_usage = Box::new(move |state, batch, now| {
        let mut batch = batch.clone();
        for usage in &mut batch.usage {
            usage.credential = number(usage.credential);
        }
        record(state, &batch, now);
    });
    sound.usage = Box::new(move |state, credentials| {
        let numbers: Vec<_> = credentials.iter().copied().map(number).collect();
        let mut found = usage(state, &numbers);
        for (usage, credential) in found.iter_mut().zip(credentials) {
            usage.credential = *credential;
        }
        found
    });
    sound
}
