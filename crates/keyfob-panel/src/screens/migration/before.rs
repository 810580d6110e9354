//! The policy for shared credentials before its last change, as the audit trail has it.

use serde_json::Value;

use crate::{
    client::{Refused, query},
    time::Moment,
    visit::Visit,
    wire::{Brownout, Change, Event, Events, LegacyPolicy},
};

/// The last changes of the policies for shared credentials, newest first: of one namespace, or of all.
pub(super) async fn changes(
    visit: &Visit,
    namespace: &str,
    limit: &str,
) -> Result<Vec<Event>, Refused> {
    let rest = query([
        ("namespace", namespace),
        ("action", "legacy_policy_set"),
        ("order", "newest_first"),
        ("limit", limit),
    ]);
    let path = visit.team_path(&format!("/audit{rest}"));
    Ok(visit.api.get::<Events>(&path).await?.events)
}

/// The policy of a namespace before its last change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// It had none of its own: the default applied.
    Inherited,
    Own(LegacyPolicy),
    /// The event does not tell.
    Unknown,
}

impl Before {
    /// By the event of the change, and the policy that applies since then.
    pub(super) fn of(event: &Event, now: &LegacyPolicy) -> Self {
        let change = |name: &str| event.changes.iter().find(|change| change.field == name);
        let text = |change: &Change| {
            let old = change.old.as_ref().and_then(Value::as_str);
            old.map(ToOwned::to_owned)
        };
        let accepted = match change("accepted") {
            // None of the fields had a value.
            Some(Change { old: None, .. }) => return Self::Inherited,
            Some(Change { old: Some(old), .. }) => old.as_bool(),
            None => Some(!now.is_cut_off()),
        };
        let sunset = change("sunset").map_or_else(|| now.sunset.clone(), text);
        let brownouts = change("brownouts").map(|change| {
            let periods = change.old.as_ref().and_then(Value::as_array);
            let periods = periods.into_iter().flatten().filter_map(Value::as_str);
            let periods = periods.filter_map(|period| period.split_once('/'));
            periods
                .map(|(start, end)| Brownout {
                    start: start.to_owned(),
                    end: end.to_owned(),
                })
                .collect()
        });
        match (event.changes.is_empty(), accepted, sunset) {
            (true, ..) | (_, None, _) | (_, Some(true), None) => Self::Unknown,
            (_, Some(false), _) => Self::Own(LegacyPolicy::default()),
            (_, Some(true), sunset) => Self::Own(LegacyPolicy {
                sunset,
                brownouts: brownouts.unwrap_or_else(|| now.brownouts.clone()),
            }),
        }
    }

    /// Whether setting it again has shared credentials accepted, as far as this can be told.
    pub(super) fn accepts(&self, now: Moment) -> bool {
        match self {
            Self::Inherited => true,
            Self::Own(policy) => policy.sunset().is_some_and(|at| at > now),
            Self::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(changes: &Value) -> Event {
        serde_json::from_value(json!({
            "revision": 1, "at": "2025-12-19T10:30:00Z", "action": "legacy_policy_set", "actor": {},
            "namespace": "orders", "owner": null, "credential": null, "reason": null,
            "request_id": null, "changes": changes, "hash": "",
        }))
        .unwrap()
    }

    fn until(sunset: &str, brownouts: &[(&str, &str)]) -> LegacyPolicy {
        let brownouts = brownouts.iter().map(|(start, end)| Brownout {
            start: (*start).to_owned(),
            end: (*end).to_owned(),
        });
        LegacyPolicy {
            sunset: Some(sunset.to_owned()),
            brownouts: brownouts.collect(),
        }
    }

    #[test]
    fn the_policy_before_a_change_follows_from_its_event() {
        let off = LegacyPolicy::default();
        let (may, june) = ("2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z");
        let brownouts = [("2026-04-01T00:00:00Z", "2026-04-01T01:00:00Z")];
        let period = format!("{}/{}", brownouts[0].0, brownouts[0].1);
        let cases = [
            (
                json!([
                    {"field": "accepted", "old": true, "new": false},
                    {"field": "sunset", "old": june, "new": null},
                    {"field": "brownouts", "old": [period], "new": null},
                ]),
                &off,
                Before::Own(until(june, &brownouts)),
            ),
            (
                json!([{"field": "accepted", "old": null, "new": false}]),
                &off,
                Before::Inherited,
            ),
            (
                json!([
                    {"field": "accepted", "old": false, "new": true},
                    {"field": "sunset", "old": null, "new": may},
                ]),
                &until(may, &[]),
                Before::Own(LegacyPolicy::default()),
            ),
            (
                json!([{"field": "sunset", "old": june, "new": may}]),
                &until(may, &brownouts),
                Before::Own(until(june, &brownouts)),
            ),
            (
                json!([{"field": "brownouts", "old": null, "new": [period]}]),
                &until(may, &brownouts),
                Before::Own(until(may, &[])),
            ),
            (json!([]), &off, Before::Unknown),
        ];
        for (changes, now, before) in cases {
            assert_eq!(Before::of(&event(&changes), now), before, "{changes}");
        }
    }
}
