//! Two processes race on one database: whichever wins, no key outlives its owner.

use std::time::Duration;

use keyfob::{KeyStore, store::CommitError};
use keyfob_conformance::race::{
    Answer, Outcome, Side, act, actors, heard, removals, revocations, rotations, said,
};
use keyfob_postgres::{Options, PostgresStore};
use keyfob_testkit::process::{Process, lines, say, told};

use crate::{
    pooling, process, server,
    work::{check, live, times, user},
};

/// One of the two: acts in each round that it is told.
pub(crate) async fn compete(url: &str) {
    let store = PostgresStore::connect(url).await.expect("it can connect");
    let side = Side::named(&told("KEYFOB_SIDE")).expect("the side has a name");
    let number = told("KEYFOB_NUMBER").parse().expect("it is a number");
    say("ready");
    for line in lines() {
        let round = line.parse().expect("it is a round");
        say(said(&act(&store, side, number, round).await));
    }
}

/// Two processes on one database.
struct Race([Process; 2]);

impl Race {
    fn start(url: &str, [one, two]: [Side; 2]) -> Self {
        let start = |side: Side, number| {
            let words = [("KEYFOB_SIDE", side.name()), ("KEYFOB_NUMBER", number)];
            process::start_with("race", url, &words)
        };
        Self([start(one, "0"), start(two, "1")])
    }

    /// Tells both, one shortly after the other, and in odd rounds the other first.
    fn round(&mut self, round: u64) -> [Answer; 2] {
        let [one, two] = &mut self.0;
        let pause = || std::thread::sleep(Duration::from_micros(server::random() % 2_000));
        let line = round.to_string();
        if round.is_multiple_of(2) {
            one.tell(&line);
            pause();
            two.tell(&line);
        } else {
            two.tell(&line);
            pause();
            one.tell(&line);
        }
        [one, two].map(|side| heard(&side.heard().expect("it answers")))
    }
}

fn rounds() -> u64 {
    u64::from(times("KEYFOB_RACE_ROUNDS", 1_500) / 3)
}

/// Runs a race on a database of its own.
fn race(sides: [Side; 2], play: impl AsyncFnOnce(&dyn KeyStore, &mut Race) -> Outcome) {
    server::run(async {
        let store = server::store().await;
        let url = store.database.url();
        race_over(&store, &url, sides, play).await;
    });
}

async fn race_over(
    store: &PostgresStore,
    url: &str,
    sides: [Side; 2],
    play: impl AsyncFnOnce(&dyn KeyStore, &mut Race) -> Outcome,
) {
    let mut race = Race::start(url, sides);
    let outcome = play(store, &mut race).await;
    println!("{outcome:?}");
    check(store).await;
}

#[test]
fn no_key_outlives_its_owner_behind_a_pooler() {
    keyfob_testkit::pgbouncer::run(async {
        let store = server::store().await;
        let url = pooling::url(&store.database);
        let sides = [Side::Create, Side::Remove];
        let play = async |store: &dyn KeyStore, race: &mut Race| {
            removals(store, rounds(), async |n| race.round(n)).await
        };
        race_over(&store, &url, sides, play).await;
    });
}

#[test]
fn no_key_outlives_an_owner_who_is_removed_meanwhile() {
    race([Side::Create, Side::Remove], async |store, race| {
        removals(store, rounds(), async |n| race.round(n)).await
    });
}

#[test]
fn of_two_rotations_one_wins() {
    race([Side::Rotate, Side::Rotate], async |store, race| {
        rotations(store, rounds(), async |n| race.round(n)).await
    });
}

#[test]
fn a_cutoff_revokes_what_was_created_before_it_and_nothing_after() {
    race([Side::Create, Side::RevokeAll], async |store, race| {
        revocations(store, rounds(), async |n| race.round(n)).await
    });
}

#[test]
fn no_change_follows_the_revocation_of_its_actor() {
    race([Side::Act, Side::Revoke], async |store, race| {
        actors(store, rounds(), async |n| race.round(n)).await
    });
}

/// How a program might keep a key for a member, in two steps with a stop between, and what the
/// removal of the member does. The tables are as simple as can be.
struct Form {
    name: &'static str,
    before: &'static [&'static str],
    after: &'static [&'static str],
    removal: &'static [&'static str],
}

const FORMS: [Form; 4] = [
    Form {
        name: "INSERT … WHERE EXISTS",
        before: &[INSERT_WHERE_EXISTS],
        after: &[],
        removal: &[LEAVE, REVOKE],
    },
    Form {
        name: "INSERT … SELECT … FOR KEY SHARE",
        before: &[
            "INSERT INTO c_keys SELECT name, true FROM c_members WHERE name = 'alice' \
                   AND active FOR KEY SHARE",
        ],
        after: &[],
        removal: &[LEAVE, REVOKE],
    },
    Form {
        name: "look first, then insert",
        before: &["SELECT 1 FROM c_members WHERE name = 'alice' AND active"],
        after: &["INSERT INTO c_keys VALUES ('alice', true)"],
        removal: &[LEAVE, REVOKE],
    },
    Form {
        name: "the lock of the log first",
        before: &[LOCK_FIRST, INSERT_WHERE_EXISTS],
        after: &[],
        removal: &[LOCK_FIRST, LEAVE, REVOKE],
    },
];

const INSERT_WHERE_EXISTS: &str = "INSERT INTO c_keys SELECT 'alice', true \
    WHERE EXISTS (SELECT 1 FROM c_members WHERE name = 'alice' AND active)";
const LEAVE: &str = "UPDATE c_members SET active = false WHERE name = 'alice'";
const REVOKE: &str = "UPDATE c_keys SET live = false WHERE owner = 'alice'";
const LOCK_FIRST: &str = "SELECT revision FROM keyfob.log WHERE one = 1 FOR UPDATE";

/// How many live keys are left of a member who was removed while a key was made.
async fn survivors(database: &server::Database, form: &Form) -> i64 {
    let (maker, remover) = (database.client().await, database.client().await);
    maker
        .batch_execute(
            "DROP TABLE IF EXISTS c_keys; DROP TABLE IF EXISTS c_members; \
             CREATE TABLE c_members (name text PRIMARY KEY, active boolean NOT NULL); \
             CREATE TABLE c_keys (owner text NOT NULL REFERENCES c_members, live boolean NOT NULL); \
             INSERT INTO c_members VALUES ('alice', true)",
        )
        .await
        .unwrap();
    maker.batch_execute("BEGIN").await.unwrap();
    for step in form.before {
        maker.batch_execute(step).await.unwrap();
    }
    // The maker stands still; the removal goes as far as it can.
    let steps: Vec<&'static str> = form.removal.to_vec();
    let mut removing = tokio::spawn(async move {
        remover.batch_execute("BEGIN").await.unwrap();
        for step in steps {
            remover.batch_execute(step).await.unwrap();
        }
        remover.batch_execute("COMMIT").await.unwrap();
    });
    let waits = tokio::time::timeout(Duration::from_millis(300), &mut removing).await;
    for step in form.after {
        maker.batch_execute(step).await.unwrap();
    }
    maker.batch_execute("COMMIT").await.unwrap();
    if waits.is_err() {
        removing.await.unwrap();
    }
    let row = maker
        .query_one("SELECT count(*) FROM c_keys WHERE live", &[])
        .await
        .unwrap();
    row.get(0)
}

/// The test of survivors sees those that the well-known wrong forms leave, and none with ours.
#[test]
fn wrong_forms_leave_a_key_behind_and_are_caught() {
    server::run(async {
        let store = server::store().await;
        let mut left = Vec::new();
        for form in &FORMS {
            let survivors = survivors(&store.database, form).await;
            println!("{}: {survivors}", form.name);
            left.push(survivors);
        }
        assert_eq!(left, [1, 1, 1, 0]);
    });
}

/// A creation of the real store, stopped before each statement that it sends in turn, while the
/// owner is removed.
#[test]
fn a_creation_that_is_stopped_at_any_step_leaves_no_key() {
    server::run(async {
        let store = server::store().await;
        let proxy = keyfob_testkit::proxy::Proxy::to(server::shared().port()).await;
        let url = proxy.url(&store.database.name);
        let through = Options::default().with_pool_size(2).connect(&url).await;
        let through = through.expect("it can connect over the proxy");
        let impatient = Options::default().with_lock_timeout(Duration::from_millis(200));
        let remover = server::connect(&store.database, &impatient).await;
        crate::work::create(&through, crate::work::key(&user("warm-up"), "one"))
            .await
            .unwrap();
        let (mut blocked, mut passed) = (0, 0);
        for n in 1.. {
            let owner = user(&format!("owner-{n}"));
            let stop = proxy.stop_before(n);
            let (creator, of) = (through.clone(), owner.clone());
            let creating = tokio::spawn(async move {
                let record = crate::work::key(&of, "laptop");
                crate::work::create(&creator, record).await
            });
            let stopped = stop.reached().await;
            let removal = crate::work::commit(
                crate::work::removal(crate::work::part_of(&owner)),
                keyfob::audit::Action::Removed,
            );
            let answer = remover.commit(&removal).await;
            match &answer {
                Ok(_) => passed += 1,
                Err(CommitError::Store(error)) => {
                    assert!(error.is_definite(), "{error}");
                    blocked += 1;
                }
                Err(other) => panic!("{other}"),
            }
            stop.go_on();
            let created = creating.await.unwrap();
            if answer.is_err() {
                // The creation had the lock; now it is done.
                created.expect("it was first");
                remover.commit(&removal).await.expect("nobody is before it");
            }
            if !stopped {
                break;
            }
        }
        println!("the removal waited at {blocked} steps and went first at {passed}");
        assert!(blocked > 1 && passed > 1, "there are steps of both kinds");
        let (_, feed) = check(&*store).await;
        let living = live(&feed);
        assert_eq!(living.len(), 1, "only the first, whose owner stayed");
    });
}
