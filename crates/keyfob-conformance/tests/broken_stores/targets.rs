//! Defects in what is known, listed and counted of teams and owners.

use keyfob::{
    Owner, Timestamp,
    store::{
        Change, Commit, Conflict, KeyQuery, KeyRecord, LegacyQuery, LiveCount, StoreState, Target,
        TargetPage, TargetQuery, TargetsOf,
    },
};

use crate::{
    Defect,
    store::{Hooks, acknowledging, committing, every_key, every_raw_key, rewriting},
};

pub(crate) const DEFECTS: &[Defect] = &[
    Defect {
        name: "an unknown person is removed",
        hooks: || taking_in_advance(|target| matches!(target, Target::Owner(..))),
        caught_by: &[
            "an_unknown_target_is_refused",
            "an_owner_is_known_by_any_key_in_the_team",
        ],
    },
    Defect {
        name: "an unknown team is removed",
        hooks: || taking_in_advance(|target| matches!(target, Target::Team(_))),
        caught_by: &[
            "an_unknown_target_is_refused",
            "a_team_is_known_by_its_namespaces",
        ],
    },
    Defect {
        name: "an unknown namespace is removed",
        hooks: || taking_in_advance(|target| matches!(target, Target::Namespace(_))),
        caught_by: &["an_unknown_namespace_is_refused"],
    },
    Defect {
        name: "a policy for an unknown namespace is acknowledged",
        hooks: || {
            acknowledging(|commit, conflict| {
                matches!(
                    commit.change,
                    Change::SetPolicy { .. } | Change::SetLegacyPolicy { .. }
                ) && matches!(conflict, Conflict::UnknownTarget(_))
            })
        },
        caught_by: &["an_unknown_namespace_is_refused"],
    },
    Defect {
        name: "nobody can be removed in advance",
        hooks: || {
            rewriting(|_, commit| {
                if let Change::Revoke { in_advance, .. } = &mut commit.change {
                    *in_advance = false;
                }
            })
        },
        caught_by: &["a_target_can_be_removed_in_advance"],
    },
    Defect {
        name: "an owner is known by live keys only",
        hooks: || knowing(|record, commit| record.is_live(commit.event.at)),
        caught_by: &["an_owner_is_known_by_any_key_in_the_team"],
    },
    Defect {
        name: "who was removed in advance is unknown",
        hooks: || knowing(|_, _| true),
        caught_by: &["a_target_can_be_removed_in_advance"],
    },
    Defect {
        name: "a list of people has those of every team",
        hooks: || Hooks {
            targets: Box::new(|state, query| {
                let mut page = state.targets(query);
                if let TargetsOf::Members(team, _) = &query.of {
                    for record in every_raw_key(state) {
                        let target = Target::Owner(team.clone(), record.owner);
                        let is_listed = page.items.iter().any(|item| item.target == target);
                        if !is_listed && matches!(target, Target::Owner(_, Owner::User(_))) {
                            page.items.push(keyfob::store::TargetRecord {
                                target,
                                removed: false,
                            });
                        }
                    }
                }
                page
            }),
            ..Hooks::default()
        },
        caught_by: &["teams_and_owners_are_listed_by_their_names"],
    },
    Defect {
        name: "people are listed without regard to case",
        hooks: || {
            showing(|page| {
                let lower = |target: &Target| format!("{target:?}").to_lowercase();
                page.items.sort_by_key(|record| lower(&record.target));
            })
        },
        caught_by: &["teams_and_owners_are_listed_by_their_names"],
    },
    Defect {
        name: "a removed owner is listed like any other",
        hooks: || {
            showing(|page| {
                for record in &mut page.items {
                    record.removed = false;
                }
            })
        },
        caught_by: &["a_removed_target_is_listed_as_removed"],
    },
    Defect {
        name: "the list of owners has one page only",
        hooks: || showing(|page| page.more = false),
        caught_by: &["targets_are_listed_page_by_page"],
    },
    Defect {
        name: "a page of owners is as large as it likes",
        hooks: || Hooks {
            targets: Box::new(|state, query| {
                let query = TargetQuery {
                    limit: usize::MAX,
                    ..query.clone()
                };
                state.targets(&query)
            }),
            ..Hooks::default()
        },
        caught_by: &["targets_are_listed_page_by_page"],
    },
    Defect {
        name: "every target that is looked up is found",
        hooks: || Hooks {
            targets: Box::new(|state, query| match &query.of {
                TargetsOf::One(target) => TargetPage {
                    items: vec![keyfob::store::TargetRecord {
                        target: target.clone(),
                        removed: false,
                    }],
                    more: false,
                },
                _ => state.targets(query),
            }),
            ..Hooks::default()
        },
        caught_by: &["one_target_is_looked_up"],
    },
    Defect {
        name: "expired keys are counted",
        hooks: || counting(|state, target, _| count(state, target, |record| !record.is_revoked())),
        caught_by: &["live_credentials_are_counted"],
    },
    Defect {
        name: "disabled keys are not counted",
        hooks: || {
            counting(|state, target, at| {
                let active = |record: &KeyRecord| {
                    record.is_live(at) && record.status == keyfob::manage::Status::Active
                };
                count(state, target, active)
            })
        },
        caught_by: &["live_credentials_are_counted"],
    },
    Defect {
        name: "a count ignores the cutoffs of owners",
        hooks: || {
            counting(|state, target, at| {
                let mut raw = every_raw_key(state);
                raw.retain(|record| record.targets().contains(target) && record.is_live(at));
                let found = state.count_live(target, at);
                LiveCount::new(raw.len() as u64, found.legacy, found.created_for_others)
            })
        },
        caught_by: &["a_count_applies_cutoffs"],
    },
    Defect {
        name: "legacy credentials are not counted",
        hooks: || {
            counting(|state, target, at| {
                let found = state.count_live(target, at);
                LiveCount::new(found.keys, 0, found.created_for_others)
            })
        },
        caught_by: &["live_credentials_are_counted", "a_count_applies_cutoffs"],
    },
    Defect {
        name: "revoked legacy credentials are counted",
        hooks: || {
            counting(|state, target, at| {
                let found = state.count_live(target, at);
                let legacy = state.legacy(&LegacyQuery {
                    limit: KeyQuery::LIMIT_MAX,
                    ..LegacyQuery::team(target.team().clone())
                });
                let of_target = legacy.items.iter();
                let of_target = of_target.filter(|record| record.targets().contains(target));
                LiveCount::new(
                    found.keys,
                    of_target.count() as u64,
                    found.created_for_others,
                )
            })
        },
        caught_by: &["live_credentials_are_counted", "a_count_applies_cutoffs"],
    },
    Defect {
        name: "a creator's own keys are found as those of others",
        hooks: || Hooks {
            keys: Box::new(|state, query| {
                let Some(creator) = &query.created_for_others_by else {
                    return state.keys(query);
                };
                let wider = KeyQuery {
                    created_for_others_by: None,
                    limit: KeyQuery::LIMIT_MAX,
                    ..query.clone()
                };
                let mut page = state.keys(&wider);
                page.items
                    .retain(|record| record.created_by.owner.as_ref() == Some(creator));
                page
            }),
            ..Hooks::default()
        },
        caught_by: &["keys_that_an_owner_created_for_others_are_found"],
    },
    Defect {
        name: "what somebody created for others is not counted",
        hooks: || {
            counting(|state, target, at| {
                let found = state.count_live(target, at);
                LiveCount::new(found.keys, found.legacy, 0)
            })
        },
        caught_by: &["keys_that_an_owner_created_for_others_are_found"],
    },
];

/// A store that takes every revocation of such a target for one in advance.
fn taking_in_advance(of: fn(&Target) -> bool) -> Hooks {
    rewriting(move |_, commit| {
        if let Change::Revoke {
            target, in_advance, ..
        } = &mut commit.change
        {
            *in_advance |= of(target);
        }
    })
}

/// A store that knows an owner by such keys, and by nothing else.
fn knowing(by: fn(&KeyRecord, &Commit) -> bool) -> Hooks {
    committing(move |state, commit| {
        if let Change::Revoke {
            target: target @ Target::Owner(..),
            in_advance: false,
            ..
        } = &commit.change
        {
            let of_target = |record: &&KeyRecord| record.targets().contains(target);
            let keys = every_key(state);
            if !keys
                .iter()
                .filter(of_target)
                .any(|record| by(record, &commit))
            {
                return Err(Conflict::UnknownTarget(target.clone()));
            }
        }
        state.commit(&commit)
    })
}

/// A store that changes its lists of teams and owners.
fn showing(change: fn(&mut TargetPage)) -> Hooks {
    Hooks {
        targets: Box::new(move |state, query| {
            let mut page = state.targets(query);
            change(&mut page);
            page
        }),
        ..Hooks::default()
    }
}

fn counting(count: fn(&StoreState, &Target, Timestamp) -> LiveCount) -> Hooks {
    Hooks {
        count_live: Box::new(count),
        ..Hooks::default()
    }
}

/// The count of a target by a selection of its keys.
fn count(state: &StoreState, target: &Target, selects: impl Fn(&KeyRecord) -> bool) -> LiveCount {
    let keys = every_key(state).into_iter();
    let keys = keys.filter(|record| record.targets().contains(target) && selects(record));
    let found = state.count_live(target, Timestamp::MIN);
    LiveCount::new(keys.count() as u64, found.legacy, found.created_for_others)
}
