//! Defects in waiting for a change.

use std::task::Poll;

use keyfob::store::Revision;

use crate::{
    Defect,
    store::{Hooks, ready_if},
};

pub(crate) const DEFECTS: &[Defect] = &[
    Defect {
        name: "a reader waits although there is a commit that it has not read",
        hooks: || Hooks {
            wait: Box::new(|state, _, began| ready_if(state.revision() > began, true)),
            ..Hooks::default()
        },
        caught_by: &[
            "a_reader_behind_the_store_does_not_wait",
            "no_commit_is_missed_between_two_waits",
        ],
    },
    Defect {
        name: "a commit wakes nobody",
        hooks: || Hooks {
            wake: Box::new(Vec::clear),
            ..Hooks::default()
        },
        caught_by: &["a_commit_ends_every_wait"],
    },
    Defect {
        name: "a commit ends one wait",
        hooks: || Hooks {
            wait: {
                let mut answered = Revision::ZERO;
                Box::new(move |state, after, _| {
                    let last = state.revision();
                    if last > after && last > answered {
                        answered = last;
                        return Poll::Ready(true);
                    }
                    Poll::Pending
                })
            },
            ..Hooks::default()
        },
        caught_by: &["a_commit_ends_every_wait"],
    },
    Defect {
        name: "a wait that a commit ended says that the store cannot tell",
        hooks: || Hooks {
            wait: Box::new(|state, after, began| ready_if(state.revision() > after, began > after)),
            ..Hooks::default()
        },
        caught_by: &["a_commit_ends_every_wait"],
    },
    Defect {
        name: "there is always a change",
        hooks: || Hooks {
            wait: Box::new(|_, _, _| Poll::Ready(true)),
            ..Hooks::default()
        },
        caught_by: &["a_commit_ends_every_wait"],
    },
    Defect {
        name: "a store that waits says of a change that it cannot tell",
        hooks: || Hooks {
            wait: Box::new(|state, after, _| ready_if(state.revision() > after, false)),
            ..Hooks::default()
        },
        caught_by: &["a_reader_behind_the_store_does_not_wait"],
    },
];
