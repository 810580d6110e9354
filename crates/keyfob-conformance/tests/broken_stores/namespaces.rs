//! Defects in what binds, lists and removes namespaces.

use keyfob::{
    audit::AuditEvent,
    store::{Change, Conflict, NamespaceQuery, NamespaceRecord, Revision},
};

use crate::{
    Defect,
    store::{Hooks, acknowledging, committing, telling},
};

pub(crate) const DEFECTS: &[Defect] = &[
    Defect {
        name: "a namespace that is used already is created again",
        hooks: || {
            acknowledging(|commit, conflict| {
                matches!(commit.change, Change::CreateNamespace { .. })
                    && *conflict == Conflict::IdTaken
            })
        },
        caught_by: &["a_namespace_is_created_once"],
    },
    Defect {
        name: "a namespace is created for a team that has none of it",
        hooks: || {
            acknowledging(|commit, conflict| {
                matches!(commit.change, Change::CreateNamespace { .. })
                    && *conflict == Conflict::ForeignNamespace
            })
        },
        caught_by: &["a_namespace_is_created_once"],
    },
    Defect {
        name: "a namespace is created in a closed team",
        hooks: || {
            acknowledging(|commit, conflict| {
                matches!(commit.change, Change::CreateNamespace { .. })
                    && matches!(conflict, Conflict::Removed(_))
            })
        },
        caught_by: &["no_namespace_is_created_in_a_closed_team"],
    },
    Defect {
        name: "a created namespace binds nothing",
        hooks: || {
            committing(|state, mut commit| {
                if let Change::CreateNamespace { .. } = commit.change {
                    commit.change = Change::SetPolicy {
                        tenant: None,
                        policy: None,
                    };
                }
                state.commit(&commit)
            })
        },
        caught_by: &[
            "a_namespace_is_created_once",
            "the_first_change_binds_a_namespace",
            "the_feed_passes_over_a_created_namespace",
        ],
    },
    Defect {
        name: "the label of a namespace is lost",
        hooks: || showing(|records| records.iter_mut().for_each(|record| record.label = None)),
        caught_by: &["a_namespace_keeps_its_label_and_region"],
    },
    Defect {
        name: "the region of a namespace is lost",
        hooks: || showing(|records| records.iter_mut().for_each(|record| record.region = None)),
        caught_by: &["a_namespace_keeps_its_label_and_region"],
    },
    Defect {
        name: "the feed ends before a created namespace",
        hooks: || {
            telling(|_, _, changes| {
                changes.next_after = changes
                    .entries
                    .last()
                    .map_or(changes.after, |last| last.revision);
            })
        },
        caught_by: &["the_feed_passes_over_a_created_namespace"],
    },
    Defect {
        name: "namespaces are listed by their names",
        hooks: || showing(|records| records.sort_by(|a, b| a.tenant.cmp(&b.tenant))),
        caught_by: &["namespaces_are_listed_page_by_page"],
    },
    Defect {
        name: "only created namespaces are listed",
        hooks: || Hooks {
            namespaces: Box::new(|state, query| {
                let trail = state.audit(&keyfob::store::AuditQuery {
                    limit: usize::MAX,
                    ..keyfob::store::AuditQuery::every_team()
                });
                let created = |event: &AuditEvent| {
                    event.entry.action == keyfob::audit::Action::NamespaceCreated
                };
                let creations: Vec<Revision> = trail
                    .items
                    .iter()
                    .filter(|event| created(event))
                    .map(|event| event.revision)
                    .collect();
                let mut page = state.namespaces(query);
                page.items
                    .retain(|record| creations.contains(&record.created_revision));
                page
            }),
            ..Hooks::default()
        },
        caught_by: &[
            "a_namespace_is_listed_from_its_first_change_on",
            "a_namespace_is_listed_while_its_keys_come_and_go",
        ],
    },
    Defect {
        name: "lists of namespaces reach across teams",
        hooks: || asking(|query| query.team = None),
        caught_by: &["namespaces_are_listed_page_by_page"],
    },
    Defect {
        name: "one namespace is asked for and all are listed",
        hooks: || asking(|query| query.namespace = None),
        caught_by: &["namespaces_are_listed_page_by_page"],
    },
    Defect {
        name: "a removed namespace keeps silent",
        hooks: || {
            showing(|records| {
                for record in records {
                    record.removed = false;
                }
            })
        },
        caught_by: &[
            "a_removed_namespace_says_so",
            "a_namespace_is_listed_from_its_first_change_on",
        ],
    },
    Defect {
        name: "the list of namespaces has one page only",
        hooks: || Hooks {
            namespaces: Box::new(|state, query| {
                let mut page = state.namespaces(query);
                page.next = None;
                page
            }),
            ..Hooks::default()
        },
        caught_by: &["namespaces_are_listed_page_by_page"],
    },
];

/// A store that changes what its lists of namespaces are asked.
fn asking(ask: fn(&mut NamespaceQuery)) -> Hooks {
    Hooks {
        namespaces: Box::new(move |state, query| {
            let mut query = query.clone();
            ask(&mut query);
            state.namespaces(&query)
        }),
        ..Hooks::default()
    }
}

/// A store that changes its lists of namespaces.
fn showing(change: fn(&mut Vec<NamespaceRecord>)) -> Hooks {
    Hooks {
        namespaces: Box::new(move |state, query| {
            let mut page = state.namespaces(query);
            change(&mut page.items);
            page
        }),
        ..Hooks::default()
    }
}
