//! Defects in usage by day.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use keyfob::{
    Timestamp,
    gateway::{UsageBatch, UsageOutcome},
    key::{CredentialId, SystemRandom},
    name::TeamId,
    store::{StoreState, UsageDay, UsageOf, UsageQuery},
};

use crate::{
    Defect,
    store::{Hooks, whosever},
};

pub(crate) const DEFECTS: &[Defect] = &[
    Defect {
        name: "every use counts for the current hour",
        hooks: || recording(|batch, now| batch.hour = *now),
        caught_by: &[
            "uses_are_counted_by_hour_and_outcome",
            "a_late_batch_counts_for_its_own_hour",
        ],
    },
    Defect {
        name: "hours to come are counted",
        hooks: || recording(|batch, now| *now = batch.hour.max(*now)),
        caught_by: &["an_hour_to_come_counts_as_the_current_one"],
    },
    Defect {
        name: "days are never forgotten",
        hooks: || {
            let kept = Timestamp::from_unix(1_800_000_000 + 399 * 86_400);
            recording(move |_, now| *now = kept.min(*now))
        },
        caught_by: &[
            "a_day_is_kept_as_long_as_stated",
            "forgotten_days_do_not_pile_up",
        ],
    },
    Defect {
        name: "a day is forgotten a day too early",
        hooks: || Hooks {
            record_usage: Box::new(|state, batch, now| {
                state.record_usage(batch, now);
                let other = UsageBatch::single(Vec::new(), now, &SystemRandom).unwrap();
                state.record_usage(&other, now.plus_seconds(86_400));
            }),
            ..Hooks::default()
        },
        caught_by: &["a_day_is_kept_as_long_as_stated"],
    },
    Defect {
        name: "the outcomes of a day are counted together",
        hooks: || {
            telling_days(|_, days| {
                let mut together: BTreeMap<_, UsageDay> = BTreeMap::new();
                for mut day in days.drain(..) {
                    day.outcome = UsageOutcome::Accepted;
                    let place = (day.of.clone(), day.day, day.legacy);
                    if let Some(known) = together.get_mut(&place) {
                        for (sum, count) in known.hours.iter_mut().zip(day.hours) {
                            *sum += count;
                        }
                    } else {
                        together.insert(place, day);
                    }
                }
                days.extend(together.into_values());
            })
        },
        caught_by: &["uses_are_counted_by_hour_and_outcome"],
    },
    Defect {
        name: "days of legacy credentials are told as those of keys",
        hooks: || {
            telling_days(|_, days| {
                for day in days {
                    day.legacy = false;
                }
            })
        },
        caught_by: &["keys_and_legacy_credentials_are_counted_apart_by_day"],
    },
    Defect {
        name: "a namespace is told the days of a team",
        hooks: || Hooks {
            usage_days: Box::new(|state, query| {
                let team = UsageOf::Team(TeamId::new("acme").unwrap());
                let mut found = Vec::new();
                for of in &query.of {
                    let other = matches!(of, UsageOf::Namespace(_)).then_some(&team);
                    let query = UsageQuery {
                        of: vec![other.unwrap_or(of).clone()],
                        ..query.clone()
                    };
                    let days = state.usage_days(&query).into_iter();
                    found.extend(days.map(|day| UsageDay {
                        of: of.clone(),
                        ..day
                    }));
                }
                found
            }),
            ..Hooks::default()
        },
        caught_by: &["namespaces_and_teams_are_counted_apart"],
    },
    Defect {
        name: "usage of unknown credentials counts for its day",
        hooks: counting_unknown,
        caught_by: &["unknown_credentials_count_for_no_day"],
    },
    Defect {
        name: "the days of a deleted key are deleted",
        hooks: || {
            telling_days(|state, days| {
                days.retain(|day| match day.of {
                    UsageOf::Credential(CredentialId::Key(id)) => whosever(state, id).is_some(),
                    _ => true,
                });
            })
        },
        caught_by: &["days_outlive_their_credential"],
    },
    Defect {
        name: "the days around a query are told too",
        hooks: || Hooks {
            usage_days: Box::new(|state, query| {
                state.usage_days(&UsageQuery {
                    of: query.of.clone(),
                    first: query.first - 1,
                    last: query.last,
                })
            }),
            ..Hooks::default()
        },
        caught_by: &["only_the_days_that_are_asked_for_are_told"],
    },
    Defect {
        name: "the uses of an hour wrap around",
        hooks: || {
            telling_days(|_, days| {
                for count in days.iter_mut().flat_map(|day| &mut day.hours) {
                    *count &= u64::from(u32::MAX) >> 1;
                }
            })
        },
        caught_by: &["counts_of_an_hour_stop_at_the_largest_number"],
    },
];

/// A store that changes every batch before it records it.
fn recording(mut change: impl FnMut(&mut UsageBatch, &mut Timestamp) + Send + 'static) -> Hooks {
    Hooks {
        record_usage: Box::new(move |state, batch, mut now| {
            let mut batch = batch.clone();
            change(&mut batch, &mut now);
            state.record_usage(&batch, now);
        }),
        ..Hooks::default()
    }
}

/// A store that changes what it tells of days.
fn telling_days(change: fn(&StoreState, &mut Vec<UsageDay>)) -> Hooks {
    Hooks {
        usage_days: Box::new(move |state, query| {
            let mut days = state.usage_days(query);
            change(state, &mut days);
            days
        }),
        ..Hooks::default()
    }
}

fn counting_unknown() -> Hooks {
    let counted: Arc<Mutex<Vec<(CredentialId, i64)>>> = Arc::default();
    let read = Arc::clone(&counted);
    Hooks {
        record_usage: Box::new(move |state, batch, now| {
            state.record_usage(batch, now);
            let day = batch.slot(now).map(|(day, _)| day);
            let uses = batch
                .usage
                .iter()
                .filter_map(|it| Some((it.credential, day?)));
            counted.lock().unwrap().extend(uses);
        }),
        usage_days: Box::new(move |state, query| {
            let mut found = state.usage_days(query);
            for (credential, day) in &*read.lock().unwrap() {
                let of = UsageOf::Credential(*credential);
                let is_told = found.iter().any(|told| told.of == of);
                if query.of.contains(&of) && query.days().contains(day) && !is_told {
                    found.push(UsageDay {
                        of,
                        day: *day,
                        legacy: false,
                        outcome: UsageOutcome::Accepted,
                        hours: [1; 24],
                    });
                }
            }
            found
        }),
        ..Hooks::default()
    }
}
