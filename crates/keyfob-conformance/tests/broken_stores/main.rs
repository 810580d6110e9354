//! The suite is proven by stores that it must fail: each has one defect, and each behaviour
//! catches some of them.

mod authority;
mod changing;
mod counting;
mod cutoffs;
mod namespaces;
mod recording;
mod reopening;
mod showing;
mod store;
mod targets;
mod telling;
mod timing;
mod waiting;

use std::{
    cell::Cell,
    collections::BTreeSet,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, Once},
    thread,
};

use keyfob::{KeyStore, block_on};
use keyfob_conformance::{behaviours, model::play};

use store::{Broken, Hooks};

/// A store with one defect, and behaviours that must fail on it.
struct Defect {
    name: &'static str,
    hooks: fn() -> Hooks,
    caught_by: &'static [&'static str],
}

fn defects() -> impl Iterator<Item = &'static Defect> + Send {
    [
        // First, since it has to wait for answers that never come.
        waiting::DEFECTS,
        authority::DEFECTS,
        changing::DEFECTS,
        counting::DEFECTS,
        namespaces::DEFECTS,
        cutoffs::DEFECTS,
        targets::DEFECTS,
        recording::DEFECTS,
        showing::DEFECTS,
        telling::DEFECTS,
        timing::DEFECTS,
    ]
    .into_iter()
    .flatten()
}

/// The behaviours that a store does not show.
fn failing(hooks: fn() -> Hooks) -> BTreeSet<&'static str> {
    failing_of(&names(), hooks)
}

/// The behaviours among these that a store does not show.
fn failing_of(names: &[&str], hooks: fn() -> Hooks) -> BTreeSet<&'static str> {
    behaviours()
        .iter()
        .filter(|behaviour| names.contains(&behaviour.name()))
        .filter(|behaviour| {
            let store = Broken::new(hooks());
            quietly(|| block_on(behaviour.play(&store))).is_err()
        })
        .map(keyfob_conformance::Behaviour::name)
        .collect()
}

/// The names of all behaviours.
fn names() -> Vec<&'static str> {
    behaviours()
        .iter()
        .map(keyfob_conformance::Behaviour::name)
        .collect()
}

/// Runs something that may panic, and keeps its message to itself.
fn quietly(run: impl FnOnce()) -> thread::Result<()> {
    thread_local! {
        static QUIET: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    QUIET.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    QUIET.set(false);
    result
}

#[test]
fn a_store_without_defect_shows_every_behaviour() {
    let failing = failing(Hooks::default);
    assert!(failing.is_empty(), "on a sound store: {failing:?}");
}

#[test]
fn a_store_that_reads_actors_as_it_should_shows_every_behaviour() {
    let failing = failing(|| authority::reading(|_, _, _| {}));
    assert!(failing.is_empty(), "on a sound store: {failing:?}");
}

#[test]
fn every_defect_is_caught_by_the_behaviours_that_are_about_it() {
    let waiting = Mutex::new(defects());
    let work = || {
        let next = || waiting.lock().unwrap().next();
        std::iter::from_fn(next)
            .filter_map(missed)
            .collect::<Vec<String>>()
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let missed: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// How a defect is not caught, if so.
fn missed(defect: &Defect) -> Option<String> {
    let caught = failing_of(defect.caught_by, defect.hooks);
    let mut missed = defect.caught_by.to_vec();
    missed.retain(|behaviour| !caught.contains(behaviour));
    if missed.is_empty() && !defect.caught_by.is_empty() {
        return None;
    }
    let failing = failing(defect.hooks);
    Some(format!("{}: not {missed:?} but {failing:?}", defect.name))
}

/// The generator of random operations catches defects of each kind too.
#[test]
fn random_operations_catch_defects() {
    for name in [
        "an actor's key is read from a cache",
        "the policy of an actor's namespace is ignored",
        "an owner is not checked",
        "a part of an unauthorized change is kept",
        "another team is told the policies of a namespace",
        "the trail is not selected by action",
        "the feed misses deletions",
        "a look-up does not read behind cutoffs",
        "an unknown person is removed",
        "a list of people has those of every team",
        "a count ignores the cutoffs of owners",
        "labels are lost",
    ] {
        let mut all = defects();
        let defect = all.find(|defect| defect.name == name);
        let defect = defect.expect("there is such a defect");
        let store: Arc<dyn KeyStore> = Arc::new(Broken::new((defect.hooks)()));
        let played = quietly(|| {
            block_on(play(7, 1_500, async || Arc::clone(&store)));
        });
        assert!(played.is_err(), "not caught: {name}");
    }
}

#[test]
fn every_defect_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = defects().map(|defect| defect.name).collect();
    assert_eq!(names.len(), defects().count());
}

/// With `every_defect_is_caught_by_the_behaviours_that_are_about_it`: it catches each defect that
/// names it.
#[test]
fn every_behaviour_catches_some_defect() {
    let named: BTreeSet<&str> = defects().flat_map(|it| it.caught_by).copied().collect();
    let mut idle = names();
    idle.retain(|name| !named.contains(name));
    assert!(idle.is_empty(), "behaviours that no store fails: {idle:#?}");
}
