//! Two processes race on one database: whichever wins, no key outlives its owner.

use std::{io::BufRead as _, time::Duration};

use keyfob::{KeyStore, store::CommitError};
use keyfob_conformance::race::{self, Answer, Side};
use keyfob_postgres::{Options, PostgresStore};

use crate::{
    process::{Process, say},
    server,
    work::{check, live, times, user},
};

/// One of the two processes: acts as its side in each round that it is told.
pub(crate) async fn compete(url: &str) {
    let store = PostgresStore::connect(url).await.expect("it can connect");
    say("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("the test writes lines");
        let words: Vec<&str> = line.split(' ').collect();
        let [side, number, round] = *words.as_slice() else {
            panic!("what is {line}?");
        };
        let side = Side::named(side).expect("the side has a name");
        let (number, round) = (number.parse().unwrap(), round.parse().unwrap());
        say(&race::said(&race::act(&store, side, number, round).await));
    }
}

/// Two processes on one database.
struct Pair([Process; 2]);

impl Pair {
    fn start(url: &str) -> Self {
        let pair = [(), ()].map(|()| Process::start("race", url));
        for process in &pair {
            assert_eq!(process.hear(), "ready");
        }
        Self(pair)
    }

    /// Tells both, one shortly after the other, and in odd rounds the second one first.
    fn round(&mut self, sides: [Side; 2], round: u64) -> [Answer; 2] {
        let Self([one, two]) = self;
        let pause = || std::thread::sleep(Duration::from_micros(server::random() % 2_000));
        let [first, second] = [0, 1].map(|n| format!("{} {n} {round}", sides[n].name()));
        if round.is_multiple_of(2) {
            one.tell(&first);
            pause();
            two.tell(&second);
        } else {
            two.tell(&second);
            pause();
            one.tell(&first);
        }
        [one.hear(), two.hear()].map(|line| race::heard(&line))
    }
}

fn rounds() -> u64 {
    u64::from(times("KEYFOB_RACE_ROUNDS", 1_500) / 4)
}

#[test]
fn no_key_outlives_an_owner_who_is_removed_meanwhile() {
    server::run(async {
        let store = server::store().await;
        let mut pair = Pair::start(&store.database.url());
        let sides = [Side::Create, Side::Remove];
        let outcome = race::removals(&*store, rounds(), async |n| pair.round(sides, n));
        println!("{:?}", outcome.await);
    });
}

#[test]
fn one_of_two_concurrent_rotations_wins() {
    server::run(async {
        let store = server::store().await;
        let mut pair = Pair::start(&store.database.url());
        let sides = [Side::Rotate, Side::Rotate];
        let outcome = race::rotations(&*store, rounds(), async |n| pair.round(sides, n));
        println!("{:?}", outcome.await);
    });
}

#[test]
fn a_cutoff_revokes_earlier_keys_and_no_later_ones() {
    server::run(async {
        let store = server::store().await;
        let mut pair = Pair::start(&store.database.url());
        let sides = [Side::Create, Side::RevokeAll];
        let outcome = race::revocations(&*store, rounds(), async |n| pair.round(sides, n));
        println!("{:?}", outcome.await);
    });
}

#[test]
fn no_change_comes_after_another_process_revoked_its_actor() {
    server::run(async {
        let store = server::store().await;
        let mut pair = Pair::start(&store.database.url());
        let sides = [Side::Act, Side::Revoke];
        let outcome = race::actors(&*store, rounds(), async |n| pair.round(sides, n));
        println!("{:?}", outcome.await);
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
fn broken_sql_leaves_a_live_key_and_is_detected() {
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
fn a_creation_paused_at_any_statement_leaves_no_live_key() {
    server::run(async {
        let store = server::store().await;
        let proxy = crate::proxy::Proxy::to(server::shared().port()).await;
        let url = proxy.url(&store.database.name);
        let through = Options::default().with_pool_size(2).connect(&url).await;
        let through = through.expect("it can connect over the proxy");
        let impatient = Options::default().with_lock_timeout(Duration::from_millis(200));
        let remover = store.database.connect(&impatient).await;
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
                keyfob::store::Change::Revoke {
                    target: crate::work::part_of(&owner),
                    block: true,
                },
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
                remover
                    .commit(&removal)
                    .await
                    .expect("no other commit is before it");
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
