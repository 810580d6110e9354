//! Defects in look-up and lists.

use std::collections::BTreeMap;

use keyfob::{
    KeyId,
    store::{Cursor, KeyQuery, KeyRecord, LegacyQuery, Page, Revision},
};

use crate::{
    Defect,
    store::{Hooks, asking, every_key, listing, page, whosever},
};

pub(crate) const DEFECTS: &[Defect] = &[
    Defect {
        name: "a stale read",
        hooks: || {
            let mut cache: BTreeMap<KeyId, Option<KeyRecord>> = BTreeMap::new();
            Hooks {
                key: Box::new(move |state, tenant, id| {
                    let known = cache.entry(id).or_insert_with(|| state.key(tenant, id));
                    known.clone().filter(|record| record.tenant == *tenant)
                }),
                ..Hooks::default()
            }
        },
        caught_by: &[
            "a_reader_sees_what_was_committed_before",
            "a_revoked_key_is_revoked_everywhere",
            "a_deleted_key_is_gone_everywhere",
            "no_key_outlives_its_owner",
            "reopening_revives_nothing",
        ],
    },
    Defect {
        name: "a key of a foreign tenant is found",
        hooks: || Hooks {
            key: Box::new(|state, _, id| whosever(state, id)),
            ..Hooks::default()
        },
        caught_by: &["a_key_of_another_tenant_is_not_found"],
    },
    Defect {
        name: "a look-up asks for the namespace and not for the team",
        hooks: || Hooks {
            key: Box::new(|state, tenant, id| {
                whosever(state, id).filter(|record| record.tenant.namespace == tenant.namespace)
            }),
            ..Hooks::default()
        },
        caught_by: &["a_key_of_another_tenant_is_not_found"],
    },
    Defect {
        name: "lists reach across teams",
        hooks: || {
            listing(
                |query, record| {
                    let team = record.tenant.team.clone();
                    let query = KeyQuery {
                        team,
                        ..query.clone()
                    };
                    query.selects(record)
                },
                |record| record.created_revision,
            )
        },
        caught_by: &["no_list_crosses_teams", "hostile_names_stay_apart"],
    },
    Defect {
        name: "a namespace is listed without a look at the team",
        hooks: || {
            listing(
                |query, record| {
                    query.selects(record)
                        || query.namespace.as_ref() == Some(&record.tenant.namespace)
                },
                |record| record.created_revision,
            )
        },
        caught_by: &["no_list_crosses_teams"],
    },
    Defect {
        name: "lists are in the order of the last change",
        hooks: || listing(KeyQuery::selects, |record| record.revision),
        caught_by: &[
            "keys_are_listed_in_the_order_of_creation",
            "changes_between_pages_disturb_no_place",
        ],
    },
    Defect {
        name: "a page skips a key",
        hooks: || turning(|_, revision| revision.next()),
        caught_by: &["pages_join_to_the_whole_list"],
    },
    Defect {
        name: "a page repeats the last key when keys are created between",
        hooks: || {
            let mut given: Option<(Cursor, Revision)> = None;
            Hooks {
                keys: Box::new(move |state, query| {
                    let mut query = query.clone();
                    let head = state.revision();
                    if let (Some(after), Some((cursor, before))) = (query.after, given) {
                        if after == cursor && before != head {
                            query.after = Some(before_last(after));
                        }
                    }
                    let page = state.keys(&query);
                    given = page.next.map(|next| (next, head));
                    page
                }),
                ..Hooks::default()
            }
        },
        caught_by: &["keys_created_between_pages_come_last"],
    },
    Defect {
        name: "a page repeats the last key",
        hooks: || turning(|_, revision| Revision::new(revision.get() - 1)),
        caught_by: &["pages_join_to_the_whole_list"],
    },
    Defect {
        name: "pages are numbered, so that deletions shift them",
        hooks: || Hooks {
            keys: Box::new(|state, query| {
                let start = query.after.map_or(0, |after| after.revision().get());
                let all = KeyQuery {
                    after: None,
                    limit: KeyQuery::LIMIT_MAX,
                    ..query.clone()
                };
                let mut items = state.keys(&all).items;
                let start = usize::try_from(start).unwrap().min(items.len());
                items.drain(..start);
                let limit = query.limit.clamp(1, KeyQuery::LIMIT_MAX);
                let more = items.len() > limit;
                items.truncate(limit);
                let end = Revision::new((start + items.len()) as u64);
                Page {
                    items,
                    next: more.then(|| Cursor::after(end)),
                }
            }),
            ..Hooks::default()
        },
        caught_by: &["changes_between_pages_disturb_no_place"],
    },
    Defect {
        name: "a cursor past the end begins again",
        hooks: || Hooks {
            keys: Box::new(|state, query| {
                let mut query = query.clone();
                let past = |after: &Cursor| after.revision() >= state.revision();
                query.after = query.after.filter(|after| !past(after));
                state.keys(&query)
            }),
            ..Hooks::default()
        },
        caught_by: &["nothing_comes_behind_the_last_key"],
    },
    Defect {
        name: "a full page always promises another",
        hooks: || Hooks {
            keys: Box::new(|state, query| {
                let mut page = state.keys(query);
                if page.items.len() == query.limit {
                    let last = page.items.last();
                    page.next = last.map(|record| Cursor::after(record.created_revision));
                }
                page
            }),
            ..Hooks::default()
        },
        caught_by: &["the_last_page_says_so"],
    },
    Defect {
        name: "a limit of zero gives nothing",
        hooks: || Hooks {
            keys: Box::new(|state, query| {
                let mut page = state.keys(query);
                page.items.truncate(query.limit);
                page
            }),
            ..Hooks::default()
        },
        caught_by: &["limits_are_clamped"],
    },
    Defect {
        name: "a page is as large as it was asked for",
        hooks: || Hooks {
            keys: Box::new(|state, query| {
                if query.limit <= KeyQuery::LIMIT_MAX {
                    return state.keys(query);
                }
                let mut items = every_key(state);
                items.sort_by_key(|record| record.created_revision);
                items.retain(|record| query.selects(record));
                Page { items, next: None }
            }),
            ..Hooks::default()
        },
        caught_by: &["no_page_is_larger_than_the_maximum"],
    },
    Defect {
        name: "a list is not in the order that was asked for",
        hooks: || asking(|query| query.order = keyfob::store::Order::OldestFirst),
        caught_by: &["keys_are_listed_newest_first"],
    },
    Defect {
        name: "a list is not selected by identifiers",
        hooks: || asking(|query| query.ids = None),
        caught_by: &["keys_are_found_by_their_identifiers"],
    },
    Defect {
        name: "a list is not selected by a text",
        hooks: || asking(|query| query.containing = None),
        caught_by: &["keys_are_found_by_a_text_in_what_names_them"],
    },
    Defect {
        name: "a list is not in the order of expiry",
        hooks: || {
            listing(
                |query, record| query.selects(record) && query.reaches(record),
                |record| record.created_revision,
            )
        },
        caught_by: &["keys_are_listed_by_their_expiry"],
    },
    Defect {
        name: "a list is not selected by label",
        hooks: || asking(|query| query.label = None),
        caught_by: &["filters_select_what_they_say"],
    },
    Defect {
        name: "a list is selected by the owner's name without its kind",
        hooks: || {
            listing(
                |query, record| {
                    let all = KeyQuery {
                        owner: None,
                        ..query.clone()
                    };
                    let owner = query.owner.as_ref();
                    all.selects(record)
                        && owner.is_none_or(|owner| owner.as_str() == record.owner.as_str())
                },
                |record| record.created_revision,
            )
        },
        caught_by: &["a_person_and_a_service_of_one_name_are_two_owners"],
    },
    Defect {
        name: "expired keys are dropped",
        hooks: dropping_expired,
        caught_by: &["an_expired_key_is_not_dropped"],
    },
    Defect {
        name: "disabled keys are not listed",
        hooks: || {
            listing(
                |query, record| {
                    query.selects(record) && record.status != keyfob::manage::Status::Disabled
                },
                |record| record.created_revision,
            )
        },
        caught_by: &["filters_select_what_they_say"],
    },
    Defect {
        name: "revoked keys are not found",
        hooks: || Hooks {
            key: Box::new(|state, tenant, id| {
                state.key(tenant, id).filter(|record| !record.is_revoked())
            }),
            ..Hooks::default()
        },
        caught_by: &["a_revoked_key_is_revoked_everywhere"],
    },
    Defect {
        name: "a new key is found and not listed",
        hooks: || {
            listing(
                |query, record| query.selects(record) && record.revision != record.created_revision,
                |record| record.created_revision,
            )
        },
        caught_by: &["a_created_key_is_found_everywhere"],
    },
    Defect {
        name: "legacy credentials are not selected by identifier",
        hooks: || Hooks {
            legacy: Box::new(|state, query| {
                state.legacy(&LegacyQuery {
                    id: None,
                    ..query.clone()
                })
            }),
            ..Hooks::default()
        },
        caught_by: &["legacy_credentials_are_listed_page_by_page"],
    },
    Defect {
        name: "a replaced legacy credential is created_revision again",
        hooks: || Hooks {
            legacy: Box::new(|state, query| {
                let mut page = state.legacy(query);
                for record in &mut page.items {
                    record.created_revision = record.revision;
                }
                page
            }),
            ..Hooks::default()
        },
        caught_by: &["a_replaced_legacy_credential_keeps_its_birth"],
    },
    Defect {
        name: "legacy credentials are not selected by namespace",
        hooks: || Hooks {
            legacy: Box::new(|state, query| {
                state.legacy(&LegacyQuery {
                    namespace: None,
                    ..query.clone()
                })
            }),
            ..Hooks::default()
        },
        caught_by: &["legacy_credentials_are_listed_page_by_page"],
    },
];

fn before_last(cursor: Cursor) -> Cursor {
    Cursor::after(Revision::new(cursor.revision().get() - 1))
}

/// A store whose cursors point elsewhere.
fn turning(turn: fn(&KeyQuery, Revision) -> Revision) -> Hooks {
    Hooks {
        keys: Box::new(move |state, query| {
            let mut page = state.keys(query);
            let place = |next: Cursor| Cursor::after(turn(query, next.revision()));
            page.next = page.next.map(place);
            page
        }),
        ..Hooks::default()
    }
}

/// A store that deletes everything that ended before the last commit.
fn dropping_expired() -> Hooks {
    Hooks {
        keys: Box::new(|state, query| {
            let events = state.audit(&keyfob::store::AuditQuery::every_team()).items;
            let now = events.iter().map(|event| event.entry.at).max();
            let ended = |record: &KeyRecord| record.expires_at.is_some_and(|end| Some(end) <= now);
            let mut items = every_key(state);
            items.sort_by_key(|record| record.created_revision);
            items.retain(|record| query.selects(record) && !ended(record));
            page(items, query, |record| record.created_revision)
        }),
        ..Hooks::default()
    }
}
