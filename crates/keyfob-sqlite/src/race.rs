//! Two processes race on one file. The parts are played by this test program, started again.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Duration,
};

use keyfob::{KeyStore, block_on, store::Commit};
use keyfob_conformance::race::{
    Answer, Outcome, Side, act, actors, creation, heard, removals, revocations, rotations, said,
};
use keyfob_testkit::process::{Process, count, lines, say, told};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::{
    SqliteStore,
    open::Source,
    snapshot::{head, snapshot},
    write::write,
};

/// How many rounds each race has; as many as `KEYFOB_RACE_ROUNDS` says.
fn rounds() -> u64 {
    let asked = std::env::var("KEYFOB_RACE_ROUNDS").ok();
    asked
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(3_400)
}

#[test]
#[ignore = "a part that another test starts"]
fn part() {
    let store = SqliteStore::open(told("PLAY_PATH")).unwrap();
    let side = Side::named(&told("PLAY_SIDE")).unwrap();
    let number = told("PLAY_NUMBER").parse().unwrap();
    say("ready");
    for line in lines() {
        let round = line.parse().unwrap();
        say(said(&block_on(act(&store, side, number, round))));
    }
}

/// Creates keys as it must not be done: reads before the transaction, and writes in it what was
/// decided by those answers.
#[test]
#[ignore = "a part that another test starts"]
fn part_that_reads_too_early() {
    let path = told("PLAY_PATH");
    let source = Source::prepare(Path::new(&path), false, Duration::from_secs(5)).unwrap();
    let connection = source.writer().unwrap();
    say("ready");
    for line in lines() {
        say(said(&commit_too_early(
            &connection,
            &creation(line.parse().unwrap()),
        )));
    }
}

fn commit_too_early(connection: &Connection, commit: &Commit) -> Answer {
    let mut snapshot = snapshot(connection, commit).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    let head = head(connection).unwrap();
    (snapshot.last_revision, snapshot.last_hash) = (head.revision, head.hash);
    let decided = commit.decide(&snapshot);
    let answer = decided.map(|write_set| {
        write(connection, &write_set).unwrap();
        write_set.revision
    });
    connection.execute_batch("COMMIT").unwrap();
    answer.map_err(|conflict| conflict.to_string())
}

/// A file with two processes at it.
struct Race {
    parts: [Process; 2],
    store: SqliteStore,
    _folder: TempDir,
}

impl Race {
    fn start(sides: [Side; 2]) -> Self {
        Self::start_by("race::part", sides)
    }

    fn start_by(first: &str, [one, two]: [Side; 2]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.db");
        let store = SqliteStore::open(&path).unwrap();
        let start = |part: &str, side: Side, number| {
            let words = [
                ("PLAY_PATH", path.to_str().unwrap()),
                ("PLAY_SIDE", side.name()),
                ("PLAY_NUMBER", number),
            ];
            let process = Process::start(part, &words);
            assert_eq!(process.heard().as_deref(), Some("ready"));
            process
        };
        Self {
            parts: [start(first, one, "0"), start("race::part", two, "1")],
            store,
            _folder: folder,
        }
    }

    /// Tells both, then hears both.
    fn round(&mut self, round: u64) -> [Answer; 2] {
        for part in &mut self.parts {
            part.tell(&round.to_string());
        }
        self.parts
            .each_ref()
            .map(|part| heard(&part.heard().unwrap()))
    }

    /// Runs the race; the file must be sound afterwards.
    fn run(mut self, play: impl AsyncFnOnce(&dyn KeyStore, &mut Self) -> Outcome) {
        let store = self.store.clone();
        let outcome = block_on(play(&store, &mut self));
        count(format_args!("{outcome:?}"));
        block_on(store.check()).unwrap();
    }
}

#[test]
fn no_key_outlives_an_owner_who_is_removed_by_another_process() {
    Race::start([Side::Create, Side::Remove])
        .run(async |store, race| removals(store, rounds(), async |n| race.round(n)).await);
}

/// The same race must catch a store that reads before its transaction, or it would prove nothing.
#[test]
fn a_store_that_asks_too_early_is_caught() {
    for attempt in 1..=20 {
        let mut race = Race::start_by(
            "race::part_that_reads_too_early",
            [Side::Create, Side::Remove],
        );
        let store = race.store.clone();
        let played = catch_unwind(AssertUnwindSafe(|| {
            block_on(removals(&store, 200, async |n| race.round(n)))
        }));
        let Err(panicked) = played else { continue };
        let message = panicked.downcast::<String>().unwrap();
        if !message.contains("never met") {
            count(format_args!("caught in run {attempt}: {message}"));
            return;
        }
    }
    panic!("no key outlived its owner in 4000 rounds");
}

#[test]
fn of_rotations_by_two_processes_one_wins() {
    Race::start([Side::Rotate, Side::Rotate])
        .run(async |store, race| rotations(store, rounds(), async |n| race.round(n)).await);
}

#[test]
fn revoke_all_revokes_what_came_before_it_and_nothing_else() {
    Race::start([Side::Create, Side::RevokeAll])
        .run(async |store, race| revocations(store, rounds(), async |n| race.round(n)).await);
}

#[test]
fn no_change_follows_the_revocation_of_its_actor() {
    Race::start([Side::Act, Side::Revoke])
        .run(async |store, race| actors(store, rounds(), async |n| race.round(n)).await);
}
