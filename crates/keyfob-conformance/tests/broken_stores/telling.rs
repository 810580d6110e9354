//! Defects in the change feed.

use keyfob::{
    audit::ChainHash,
    name::{NamespaceId, TeamId},
    store::{Entry, Item, Revision},
};

use crate::{
    Defect,
    store::{Hooks, telling},
};

pub(crate) const DEFECTS: &[Defect] = &[
    Defect {
        name: "the feed has a gap where a part begins",
        hooks: || {
            telling(|_, _, changes| {
                if changes.after > Revision::ZERO && changes.entries.len() > 1 {
                    changes.entries.remove(0);
                }
            })
        },
        caught_by: &["the_feed_goes_on_from_every_revision"],
    },
    Defect {
        name: "the feed always says that there is more",
        hooks: || telling(|_, _, changes| changes.more = true),
        caught_by: &["an_empty_feed_is_at_its_end"],
    },
    Defect {
        name: "the feed does not tell when a part was read",
        hooks: || telling(|_, _, changes| changes.head.revision = changes.next_after),
        caught_by: &["parts_of_the_feed_join_to_the_whole"],
    },
    Defect {
        name: "the feed is out of order",
        hooks: || telling(|_, _, changes| changes.entries.reverse()),
        caught_by: &["the_feed_tells_each_subject_once"],
    },
    Defect {
        name: "the feed misses deletions",
        hooks: || {
            telling(|_, _, changes| {
                let is_deleted = |item: &Item| matches!(item, Item::KeyDeleted { .. });
                changes.entries.retain(|entry| !is_deleted(&entry.item));
            })
        },
        caught_by: &[
            "a_deleted_key_is_gone_everywhere",
            "the_feed_tells_each_subject_once",
            "indexes_agree_wherever_they_began",
        ],
    },
    Defect {
        name: "the feed misses policies",
        hooks: || {
            telling(|_, _, changes| {
                changes.entries.retain(|entry| {
                    !matches!(entry.item, Item::Policy(..) | Item::LegacyPolicy(..))
                });
            })
        },
        caught_by: &[
            "the_feed_tells_of_policies",
            "a_lowered_maximum_ends_existing_keys",
            "a_sunset_can_be_put_off",
        ],
    },
    Defect {
        name: "the feed misses legacy credentials",
        hooks: || {
            telling(|_, _, changes| {
                let is_legacy = |item: &Item| matches!(item, Item::Legacy(_));
                changes.entries.retain(|entry| !is_legacy(&entry.item));
            })
        },
        caught_by: &["an_imported_credential_works_until_the_sunset"],
    },
    Defect {
        name: "the feed tells an entry twice",
        hooks: || {
            telling(|_, _, changes| {
                if let Some(first) = changes.entries.first().cloned() {
                    changes.entries.insert(0, first);
                }
            })
        },
        caught_by: &["the_feed_tells_each_subject_once"],
    },
    Defect {
        name: "the feed tells replaced keys at their birth",
        hooks: telling_at_birth,
        caught_by: &["a_change_moves_its_subject_to_the_end"],
    },
    Defect {
        name: "a part promises more than it told",
        hooks: || telling(|state, _, changes| changes.next_after = state.revision()),
        caught_by: &[
            "parts_of_the_feed_join_to_the_whole",
            "the_feed_moves_on_at_a_limit_of_zero",
        ],
    },
    Defect {
        name: "every part says that it is the last",
        hooks: || telling(|_, _, changes| changes.more = false),
        caught_by: &["parts_of_the_feed_join_to_the_whole"],
    },
    Defect {
        name: "the end of the feed is the last entry of the last part",
        hooks: || {
            telling(|_, _, changes| {
                let last = changes.entries.last();
                changes.next_after = last.map_or(Revision::ZERO, |last| last.revision);
            })
        },
        caught_by: &["an_empty_feed_is_at_its_end"],
    },
    Defect {
        name: "a reader ahead of the store is told that all is well",
        hooks: || {
            telling(|_, _, changes| changes.next_after = changes.next_after.max(changes.after))
        },
        caught_by: &["a_reader_ahead_of_the_store_is_told"],
    },
    Defect {
        name: "an opening is told as another cut",
        hooks: || {
            telling(|_, _, changes| {
                for Entry { revision, item } in &mut changes.entries {
                    if let Item::Cutoff(cutoff) = item {
                        cutoff.up_to = *revision;
                    }
                }
            })
        },
        caught_by: &["the_feed_tells_of_cuts_and_openings"],
    },
    Defect {
        name: "a page does not name the history at its start",
        hooks: || telling(|_, _, changes| changes.after_hash = None),
        caught_by: &[
            "pages_of_the_feed_name_their_history",
            "indexes_agree_wherever_they_began",
        ],
    },
    Defect {
        name: "a page names the head where it starts",
        hooks: || telling(|state, _, changes| changes.after_hash = Some(state.head().hash)),
        caught_by: &["pages_of_the_feed_name_their_history"],
    },
    Defect {
        name: "a page names a history that the store has not reached",
        hooks: || {
            telling(|state, _, changes| {
                if changes.after > state.revision() {
                    changes.after_hash = Some(state.head().hash);
                }
            })
        },
        caught_by: &["pages_of_the_feed_name_their_history"],
    },
    Defect {
        name: "a page names the head where it ends",
        hooks: || telling(|state, _, changes| changes.next_hash = Some(state.head().hash)),
        caught_by: &["pages_of_the_feed_name_their_history"],
    },
    Defect {
        name: "the head of a page has no hash",
        hooks: || telling(|_, _, changes| changes.head.hash = ChainHash::START),
        caught_by: &["pages_of_the_feed_name_their_history"],
    },
    Defect {
        name: "a tombstone is told as another tenant's",
        hooks: || {
            telling(|_, _, changes| {
                for entry in &mut changes.entries {
                    if let Item::KeyDeleted { tenant, .. } = &mut entry.item {
                        tenant.team = TeamId::new("other").unwrap();
                    }
                }
            })
        },
        caught_by: &[
            "entries_of_the_feed_have_their_tenant",
            "a_deleted_key_is_gone_everywhere",
        ],
    },
    Defect {
        name: "a policy is told as another team's",
        hooks: || {
            telling(|_, _, changes| {
                for entry in &mut changes.entries {
                    if let Item::Policy(Some(tenant), _) | Item::LegacyPolicy(Some(tenant), _) =
                        &mut entry.item
                    {
                        tenant.team = TeamId::new("other").unwrap();
                    }
                }
            })
        },
        caught_by: &[
            "entries_of_the_feed_have_their_tenant",
            "the_feed_tells_of_policies",
        ],
    },
    Defect {
        name: "every key is told as one of the same namespace",
        hooks: || {
            telling(|_, _, changes| {
                for entry in &mut changes.entries {
                    if let Item::Key(record) = &mut entry.item {
                        record.tenant.namespace = NamespaceId::new("fn-1").unwrap();
                    }
                }
            })
        },
        caught_by: &["a_key_opens_its_own_namespace_only"],
    },
];

fn telling_at_birth() -> Hooks {
    telling(|_, _, changes| {
        for Entry { revision, item } in &mut changes.entries {
            if let Item::Key(record) = item {
                *revision = record.created_revision;
            }
        }
        changes.entries.sort_by_key(|entry| entry.revision);
    })
}
