//! Defects in the audit trail, in policies, and fields that are lost.

use std::sync::{Arc, Mutex};

use keyfob::{
    Scopes, Tenant, Timestamp,
    audit::{Action, AuditEntry, AuditEvent, ChainHash, Field, FieldChange, TrailHead, Value},
    key::KeyFormat,
    legacy::LegacyPolicy,
    manage::{Labels, Policy},
    store::{AuditQuery, Change, Commit, Item, NamespaceQuery, Order, Revision, StoreState},
};

use crate::{
    Defect,
    store::{Hooks, auditing, every_raw_key, rewriting, telling},
};

pub(crate) const DEFECTS: &[Defect] = &[
    Defect {
        name: "an audit event is dropped",
        hooks: || {
            auditing(|events| {
                events.retain(|event| event.revision.get() % 4 != 3);
                chain_anew(events);
            })
        },
        caught_by: &["every_commit_leaves_one_event"],
    },
    Defect {
        name: "an audit event without a change",
        hooks: with_refused_events,
        caught_by: &[
            "a_refused_commit_changes_nothing",
            "a_stale_replacement_is_refused",
        ],
    },
    Defect {
        name: "the hash chain is broken",
        hooks: || {
            auditing(|events| {
                for event in events.iter_mut().filter(|event| event.revision.get() == 2) {
                    event.hash = ChainHash::START;
                }
            })
        },
        caught_by: &["the_trail_is_one_chain"],
    },
    Defect {
        name: "a deletion takes the key's events with it",
        hooks: || {
            auditing(|events| {
                let deleted = |event: &AuditEvent| event.entry.action == Action::KeyDeleted;
                if events.iter().any(deleted) {
                    events.retain(deleted);
                }
            })
        },
        caught_by: &["a_deletion_keeps_the_trail"],
    },
    Defect {
        name: "an event loses its request",
        hooks: || rewriting(|_, commit| commit.event.request_id = None),
        caught_by: &["every_field_of_an_event_is_kept"],
    },
    Defect {
        name: "an event loses the actor's key",
        hooks: || rewriting(|_, commit| commit.event.actor.credential = None),
        caught_by: &["every_field_of_an_event_is_kept"],
    },
    Defect {
        name: "an event does not say what was changed",
        hooks: || retelling(|entry| entry.changes.clear()),
        caught_by: &["an_event_says_what_was_changed"],
    },
    Defect {
        name: "an event has only the new values",
        hooks: || {
            retelling(|entry| {
                for change in &mut entry.changes {
                    change.old = None;
                }
            })
        },
        caught_by: &["an_event_says_what_was_changed"],
    },
    Defect {
        name: "the policy that is replaced is not read",
        hooks: || {
            retelling(|entry| {
                if entry.action == Action::PolicySet {
                    entry.replaces = None;
                }
            })
        },
        caught_by: &[
            "an_event_says_what_was_changed",
            "the_trail_describes_the_store",
        ],
    },
    Defect {
        name: "an event has the digest of the record's secret",
        hooks: || Hooks {
            audit: Box::new(|state, query| {
                let mut page = state.audit(query);
                for record in every_raw_key(state) {
                    let of_key = |event: &&mut AuditEvent| event.revision == record.revision;
                    if let Some(event) = page.items.iter_mut().find(of_key) {
                        event.entry.changes.push(FieldChange {
                            field: Field::Pepper,
                            old: None,
                            new: Some(Value::Text(record.digest.to_text())),
                        });
                    }
                }
                page
            }),
            ..Hooks::default()
        },
        caught_by: &["no_event_holds_a_secret_or_a_digest"],
    },
    Defect {
        name: "the head is that of an empty store",
        hooks: || Hooks {
            head: Box::new(|_| TrailHead::START),
            ..Hooks::default()
        },
        caught_by: &["the_trail_describes_the_store"],
    },
    Defect {
        name: "a record is kept otherwise than its event says",
        hooks: || {
            telling(|_, _, changes| {
                for entry in &mut changes.entries {
                    if let Item::Key(record) = &mut entry.item {
                        record.updated_at = record.updated_at.plus_seconds(1);
                    }
                }
            })
        },
        caught_by: &["the_trail_describes_the_store"],
    },
    Defect {
        name: "the trail has one page only",
        hooks: || Hooks {
            audit: Box::new(|state, query| {
                let mut page = state.audit(query);
                page.next = None;
                page
            }),
            ..Hooks::default()
        },
        caught_by: &["pages_of_the_trail_join_up"],
    },
    Defect {
        name: "the trail is not selected by credential",
        hooks: || selecting(|query| query.credential = None),
        caught_by: &["the_trail_is_selected_by_what_it_says"],
    },
    Defect {
        name: "the trail is not selected by action",
        hooks: || selecting(|query| query.action = None),
        caught_by: &["the_trail_is_selected_by_action"],
    },
    Defect {
        name: "leaks are not told from other events",
        hooks: || selecting(|query| query.leaks_only = false),
        caught_by: &["leaks_are_told_from_other_revocations"],
    },
    Defect {
        name: "the trail has no order but its own",
        hooks: || selecting(|query| query.order = Order::OldestFirst),
        caught_by: &["the_trail_is_listed_newest_first"],
    },
    Defect {
        name: "only a page is turned round",
        hooks: || Hooks {
            audit: Box::new(|state, query| {
                let oldest = AuditQuery {
                    order: Order::OldestFirst,
                    ..query.clone()
                };
                let mut page = state.audit(&oldest);
                if query.order == Order::NewestFirst {
                    page.items.reverse();
                }
                page
            }),
            ..Hooks::default()
        },
        caught_by: &["the_trail_is_listed_newest_first"],
    },
    Defect {
        name: "the trail is not selected by team",
        hooks: || selecting(|query| query.team = None),
        caught_by: &["the_trail_is_selected_by_what_it_says"],
    },
    Defect {
        name: "the trail is not selected by its beginning",
        hooks: || selecting(|query| query.since = None),
        caught_by: &["the_trail_is_selected_by_time"],
    },
    Defect {
        name: "the trail is selected up to and with its end",
        hooks: || selecting(|query| query.until = query.until.map(|until| until.plus_seconds(1))),
        caught_by: &["the_trail_is_selected_by_time"],
    },
    Defect {
        name: "an override leaks to other namespaces",
        hooks: || {
            rewriting(|_, commit| {
                if let Change::SetPolicy { tenant, .. } = &mut commit.change {
                    *tenant = None;
                }
            })
        },
        caught_by: &["an_override_holds_for_its_namespace_alone"],
    },
    Defect {
        name: "a legacy override leaks to other namespaces",
        hooks: || {
            rewriting(|_, commit| {
                if let Change::SetLegacyPolicy { tenant, .. } = &mut commit.change {
                    *tenant = None;
                }
            })
        },
        caught_by: &["a_legacy_policy_has_its_own_overrides"],
    },
    Defect {
        name: "a policy cannot be taken back",
        hooks: || {
            rewriting(|_, commit| match &mut commit.change {
                Change::SetPolicy { policy, .. } => {
                    policy.get_or_insert_with(Policy::default);
                }
                Change::SetLegacyPolicy { policy, .. } => {
                    policy.get_or_insert(LegacyPolicy::Off);
                }
                _ => {}
            })
        },
        caught_by: &["a_policy_can_be_taken_back", "the_feed_tells_of_policies"],
    },
    Defect {
        name: "a policy loses its longest life",
        hooks: || {
            rewriting(|_, commit| {
                if let Change::SetPolicy {
                    policy: Some(policy),
                    ..
                } = &mut commit.change
                {
                    policy.max_ttl = None;
                }
            })
        },
        caught_by: &[
            "every_field_of_a_policy_is_kept",
            "a_lowered_maximum_ends_existing_keys",
        ],
    },
    Defect {
        name: "a legacy policy loses its brownouts",
        hooks: || {
            rewriting(|_, commit| {
                if let Change::SetLegacyPolicy {
                    policy: Some(LegacyPolicy::Until { brownouts, .. }),
                    ..
                } = &mut commit.change
                {
                    brownouts.clear();
                }
            })
        },
        caught_by: &["a_sunset_can_be_put_off"],
    },
    Defect {
        name: "without a policy there is a limit of the store's own",
        hooks: || Hooks {
            policy: Box::new(|state, namespace| {
                let mut policy = state.policy(namespace);
                if policy == Policy::default() {
                    policy.keys_per_owner = Some(100);
                }
                policy
            }),
            ..Hooks::default()
        },
        caught_by: &["without_a_policy_the_default_holds"],
    },
    Defect {
        name: "the default policy cannot be read by itself",
        hooks: || Hooks {
            policy: Box::new(|state, tenant| match tenant {
                Some(_) => state.policy(tenant),
                None => Policy::default(),
            }),
            ..Hooks::default()
        },
        caught_by: &["the_default_policy_is_read_by_itself"],
    },
    Defect {
        name: "the default legacy policy cannot be read by itself",
        hooks: || Hooks {
            legacy_policy: Box::new(|state, tenant| match tenant {
                Some(_) => state.legacy_policy(tenant),
                None => LegacyPolicy::Off,
            }),
            ..Hooks::default()
        },
        caught_by: &["the_default_policy_is_read_by_itself"],
    },
    Defect {
        name: "another team is told the policies of a namespace",
        hooks: || Hooks {
            policy: Box::new(|state, tenant| state.policy(of_any_team(state, tenant).as_ref())),
            ..Hooks::default()
        },
        caught_by: &["an_override_is_not_told_to_another_team"],
    },
    Defect {
        name: "another team is told the legacy policies of a namespace",
        hooks: || Hooks {
            legacy_policy: Box::new(|state, tenant| {
                state.legacy_policy(of_any_team(state, tenant).as_ref())
            }),
            ..Hooks::default()
        },
        caught_by: &["an_override_is_not_told_to_another_team"],
    },
    Defect {
        name: "policies of many namespaces are told in the order of the namespaces' names",
        hooks: || Hooks {
            policies: Box::new(|state, policy, tenants| {
                let mut tenants = tenants.to_vec();
                tenants.sort();
                tenants.iter().map(|it| policy(state, Some(it))).collect()
            }),
            ..Hooks::default()
        },
        caught_by: &["many_policies_are_told_in_the_order_of_the_question"],
    },
    Defect {
        name: "the last key format is recorded",
        hooks: || {
            let last = Arc::new(Mutex::new(None));
            let recorded = Arc::clone(&last);
            Hooks {
                key_format: Box::new(move |_| *recorded.lock().unwrap()),
                record_key_format: Box::new(move |_, format| {
                    *last.lock().unwrap() = Some(*format);
                    *format
                }),
                ..Hooks::default()
            }
        },
        caught_by: &["the_first_key_format_is_kept"],
    },
    Defect {
        name: "every key format is confirmed",
        hooks: || Hooks {
            record_key_format: Box::new(|state, format| {
                state.record_key_format(format);
                *format
            }),
            ..Hooks::default()
        },
        caught_by: &[
            "the_first_key_format_is_kept",
            "of_key_formats_at_once_one_is_kept",
        ],
    },
    Defect {
        name: "there is a key format from the beginning",
        hooks: || Hooks {
            key_format: Box::new(|state| {
                let recorded = state.key_format();
                recorded.or_else(|| KeyFormat::new("dof").ok())
            }),
            ..Hooks::default()
        },
        caught_by: &["no_key_format_is_recorded_at_first"],
    },
    Defect {
        name: "a key format is recorded by a commit",
        hooks: || Hooks {
            record_key_format: Box::new(|state, format| {
                let context = keyfob::Context::system(Timestamp::UNIX_EPOCH);
                let action = Action::PolicySet;
                let commit = Commit {
                    change: Change::SetPolicy {
                        tenant: None,
                        policy: None,
                    },
                    authority: keyfob::manage::Authority::System,
                    event: AuditEntry::new(action, &context),
                };
                state.commit(&commit).unwrap();
                state.record_key_format(format)
            }),
            ..Hooks::default()
        },
        caught_by: &["the_first_key_format_is_kept"],
    },
    Defect {
        name: "labels are lost",
        hooks: || losing(|record| record.labels = Labels::new()),
        caught_by: &[
            "every_field_of_a_key_is_kept",
            "filters_select_what_they_say",
        ],
    },
    Defect {
        name: "no scopes are read as every scope",
        hooks: || {
            losing(|record| {
                if record.scopes == Scopes::Only([].into()) {
                    record.scopes = Scopes::All;
                }
            })
        },
        caught_by: &["empty_and_full_sets_are_kept_apart"],
    },
    Defect {
        name: "moments are kept as 32 bits",
        hooks: || {
            losing(|record| {
                let narrow = |at: Timestamp| {
                    Timestamp::from_unix(at.as_unix().clamp(0, i64::from(i32::MAX)))
                };
                record.expires_at = record.expires_at.map(narrow);
                record.created_at = narrow(record.created_at);
            })
        },
        caught_by: &["extreme_moments_are_kept"],
    },
    Defect {
        name: "the beginning of a key is lost",
        hooks: || losing(|record| record.not_before = None),
        caught_by: &["a_key_begins_at_the_exact_second"],
    },
    Defect {
        name: "an end is kept one second late",
        hooks: || {
            losing(|record| record.expires_at = record.expires_at.map(|at| at.plus_seconds(1)))
        },
        caught_by: &[
            "a_key_expires_at_the_exact_second",
            "an_earlier_end_ends_both_secrets",
        ],
    },
    Defect {
        name: "a rotation lengthens a life",
        hooks: || {
            losing(|record| {
                if let Some(previous) = &mut record.previous {
                    previous.until = previous.until.plus_seconds(1);
                }
            })
        },
        caught_by: &[
            "a_rotation_never_lengthens_a_life",
            "a_replaced_secret_ends_with_its_grace",
        ],
    },
    Defect {
        name: "a rotation without grace keeps the old secret",
        hooks: keeping_old_secrets,
        caught_by: &["a_rotation_without_grace_ends_the_old_secret"],
    },
    Defect {
        name: "a disabled key is kept as active",
        hooks: || {
            losing(|record| {
                if record.status == keyfob::manage::Status::Disabled {
                    record.status = keyfob::manage::Status::Active;
                }
            })
        },
        caught_by: &["a_disabled_key_can_be_enabled"],
    },
    Defect {
        name: "the block on a legacy credential is lost",
        hooks: || {
            rewriting(|_, commit| {
                if let Change::ImportLegacy { record } = &mut commit.change {
                    record.blocked = false;
                }
            })
        },
        caught_by: &[
            "a_blocked_credential_is_refused",
            "every_field_of_a_legacy_credential_is_kept",
        ],
    },
];

fn chain_anew(events: &mut [AuditEvent]) {
    let mut last = ChainHash::START;
    for event in events {
        *event = AuditEvent::chained(event.entry.clone(), event.revision, last);
        last = event.hash;
    }
}

/// A store whose events say something else of the commits.
fn retelling(change: fn(&mut AuditEntry)) -> Hooks {
    auditing(move |events| {
        for event in events.iter_mut() {
            change(&mut event.entry);
        }
        chain_anew(events);
    })
}

fn selecting(change: fn(&mut AuditQuery)) -> Hooks {
    Hooks {
        audit: Box::new(move |state, query| {
            let mut query = query.clone();
            change(&mut query);
            state.audit(&query)
        }),
        ..Hooks::default()
    }
}

/// The namespace of any team.
fn of_any_team(state: &StoreState, tenant: Option<&Tenant>) -> Option<Tenant> {
    let namespace = tenant?.namespace.clone();
    let query = NamespaceQuery::every_team().with_namespace(namespace);
    let known = state.namespaces(&query).items.pop();
    known.map(|known| known.tenant).or_else(|| tenant.cloned())
}

/// A store that keeps records otherwise than it was told.
fn losing(lose: fn(&mut keyfob::store::KeyRecord)) -> Hooks {
    rewriting(move |_, commit| {
        if let Change::CreateKey { record, .. } | Change::ReplaceKey { record, .. } =
            &mut commit.change
        {
            lose(record);
        }
    })
}

fn keeping_old_secrets() -> Hooks {
    rewriting(|state: &StoreState, commit: &mut Commit| {
        if let Change::ReplaceKey { record, .. } = &mut commit.change {
            let known = state.key(&record.tenant, record.id);
            let changed = known.filter(|known| known.digest.to_text() != record.digest.to_text());
            if let (None, Some(known)) = (&record.previous, changed) {
                record.previous = Some(keyfob::store::PreviousSecret {
                    digest: known.digest,
                    issued_at: known.issued_at,
                    until: Timestamp::MAX,
                });
            }
        }
    })
}

/// A store that writes its audit trail before it judges.
fn with_refused_events() -> Hooks {
    let refused = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&refused);
    Hooks {
        commit: Box::new(move |state, commit| {
            let answer = state.commit(commit);
            if answer.is_err() {
                refused.lock().unwrap().push(commit.event.clone());
            }
            answer
        }),
        audit: Box::new(move |state, query| {
            let mut page = state.audit(query);
            if page.next.is_none() {
                for entry in told.lock().unwrap().iter() {
                    let last = page.items.last();
                    let hash = last.map_or(ChainHash::START, |last| last.hash);
                    let revision = last.map_or(Revision::ZERO, |last| last.revision);
                    let event = AuditEvent::chained(entry.clone(), revision, hash);
                    page.items.push(event);
                }
            }
            page
        }),
        ..Hooks::default()
    }
}
