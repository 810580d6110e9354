//! Two processes race on one database: whichever wins, no key outlives its owner.

use std::{io::BufRead as _, time::Duration};

use keyfob::{
    Access, KeyId, KeyStore, NewKey, Scopes,
    key::CredentialId,
    manage::{self, Authority, Rotation},
    name::{TeamId, UserId},
    store::{ActorFault, CommitError, Conflict, KeyQuery, Revision, StatusFilter, Target},
};
use keyfob_postgres::{Options, PostgresStore};

use crate::{
    process::{Process, say},
    server,
    work::{NOW, check, context, gate, keyring, live, opens, tenant, times, user},
};

/// One of the two: does what it is told, line by line, and says how it went.
pub(crate) async fn compete(url: &str) {
    let store = PostgresStore::connect(url).await.expect("it can connect");
    let keyring = keyring(&store).await;
    say("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("the test writes lines");
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match *words.as_slice() {
            ["create", who] => {
                let name = keyfob::name::KeyName::new(who).unwrap();
                let new = NewKey::new(tenant(), user(who), name);
                let created = keyring.create(&context(), new).await;
                created.map(|created| created.secret.expose().to_owned())
            }
            ["create-as", who, actor] => {
                let name = keyfob::name::KeyName::new(who).unwrap();
                let new = NewKey::new(tenant(), user("worker"), name);
                let actor = CredentialId::Key(KeyId::from_hex(actor.as_bytes()).unwrap());
                let authority = Authority::credential(actor, Scopes::none());
                let context = context().with_authority(authority);
                let created = keyring.create(&context, new).await;
                created.map(|created| created.info.revision.to_string())
            }
            ["remove", who] => {
                let who = UserId::new(who).unwrap();
                let removed = keyring.remove_member(&context(), team(), who).await;
                removed.map(|()| "removed".into())
            }
            ["cut", who] => {
                let target = Target::Owner(team(), user(who));
                let cut = keyring.revoke_all(&context(), target).await;
                cut.map(|()| "cut".into())
            }
            ["rotate", id, revision] => {
                let id = KeyId::from_hex(id.as_bytes()).unwrap();
                let seen = Revision::new(revision.parse().unwrap());
                let rotation = Rotation::new();
                let rotated = keyring
                    .rotate(&context(), &tenant(), id, rotation, Some(seen))
                    .await;
                rotated.map(|created| created.secret.expose().to_owned())
            }
            _ => panic!("what is {line}?"),
        };
        match answer {
            Ok(said) => say(&said),
            Err(manage::Error::Actor(ActorFault::Revoked)) => say("actor revoked"),
            Err(manage::Error::Conflict(conflict)) => say(refusal(&conflict)),
            Err(error) => panic!("{line}: {error}"),
        }
    }
}

fn refusal(conflict: &Conflict) -> &'static str {
    match conflict {
        Conflict::Removed(_) => "closed",
        Conflict::Stale => "stale",
        other => panic!("refused for another reason: {other}"),
    }
}

fn team() -> TeamId {
    tenant().team
}

/// Two processes, ready.
fn pair(url: &str) -> [Process; 2] {
    let pair = [(), ()].map(|()| Process::start("race", url));
    for process in &pair {
        assert_eq!(process.hear(), "ready");
    }
    pair
}

/// Tells both, one shortly after the other, and in odd rounds the other first.
fn race([one, two]: &mut [Process; 2], round: u32, first: &str, second: &str) -> [String; 2] {
    let pause = || std::thread::sleep(Duration::from_micros(server::random() % 2_000));
    if round.is_multiple_of(2) {
        one.tell(first);
        pause();
        two.tell(second);
    } else {
        two.tell(second);
        pause();
        one.tell(first);
    }
    [one.hear(), two.hear()]
}

fn rounds() -> u32 {
    times("KEYFOB_RACE_ROUNDS", 1_500) / 3
}

#[test]
fn no_key_outlives_an_owner_who_is_removed_meanwhile() {
    server::run(async {
        let store = server::store().await;
        let mut pair = pair(&store.database.url());
        let (mut refused, mut texts) = (0, Vec::new());
        for round in 0..rounds() {
            let (create, remove) = (format!("create u{round}"), format!("remove u{round}"));
            let [created, removed] = race(&mut pair, round, &create, &remove);
            assert_eq!(removed, "removed");
            match created.as_str() {
                "closed" => refused += 1,
                _ => texts.push(created),
            }
        }
        println!(
            "{} created before the removal, {refused} refused",
            texts.len()
        );
        assert!(refused > 0 && !texts.is_empty(), "they raced");
        let (_, feed) = check(&*store).await;
        assert_eq!(live(&feed).len(), 0, "by the feed");
        let gate = gate(&*store).await;
        let living = texts.iter().filter(|text| opens(&gate, text));
        assert_eq!(living.count(), 0, "by an index");
        let query = KeyQuery {
            status: Some(StatusFilter::Active),
            ..KeyQuery::team(team())
        };
        assert_eq!(store.keys(&query).await.unwrap().items.len(), 0, "listed");
        let everything = KeyQuery {
            limit: 1,
            ..KeyQuery::team(team())
        };
        assert_eq!(store.keys(&everything).await.unwrap().items.len(), 1);
    });
}

#[test]
fn no_change_comes_after_another_process_revoked_its_actor() {
    server::run(async {
        let store = server::store().await;
        let mut pair = pair(&store.database.url());
        let (mut before, mut refused) = (Vec::new(), 0);
        for round in 0..rounds() {
            let owner = user(&format!("u{round}"));
            let actor = crate::work::create(&*store, crate::work::key(&owner, "actor"));
            let actor = actor.await.unwrap();
            let create = format!("create-as u{round} {}", actor.id);
            let [created, cut] = race(&mut pair, round, &create, &format!("cut u{round}"));
            assert_eq!(cut, "cut");
            match created.as_str() {
                "actor revoked" => refused += 1,
                revision => before.push((owner, revision.parse::<u64>().unwrap())),
            }
        }
        println!("{} before the revocation, {refused} refused", before.len());
        assert!(refused > 0 && !before.is_empty(), "they raced");
        let (_, feed) = check(&*store).await;
        for (owner, created) in before {
            let cut = cut_of(&feed, &owner).get();
            assert!(created < cut, "{owner}: {created} came after {cut}");
        }
    });
}

#[test]
fn one_of_two_concurrent_rotations_wins() {
    server::run(async {
        let store = server::store().await;
        let mut pair = pair(&store.database.url());
        let keyring = keyring(&store).await;
        let name = keyfob::name::KeyName::new("laptop").unwrap();
        let new = NewKey::new(tenant(), user("alice"), name);
        let (mut text, mut info) = {
            let created = keyring.create(&context(), new).await.unwrap();
            let (key, info) = created.into_parts();
            (key.expose().to_owned(), info)
        };
        let mut wins = [0, 0];
        for round in 0..rounds() {
            let rotate = format!("rotate {} {}", info.id, info.revision);
            let mut answers = race(&mut pair, round, &rotate, &rotate).into_iter();
            let (one, two) = (answers.next().unwrap(), answers.next().unwrap());
            let won = match (one.as_str(), two.as_str()) {
                (_, "stale") if one != "stale" => {
                    wins[0] += 1;
                    one
                }
                ("stale", _) if two != "stale" => {
                    wins[1] += 1;
                    two
                }
                _ => panic!("both or neither won"),
            };
            let seen = info.revision;
            info = keyring.get(&tenant(), info.id).await.unwrap();
            assert_eq!(info.revision, seen.next(), "one change a round");
            if round.is_multiple_of(100) {
                let gate = gate(&*store).await;
                assert!(opens(&gate, &won) && !opens(&gate, &text));
            }
            text = won;
        }
        println!("rotations won: {wins:?}");
        assert!(wins[0] > 0 && wins[1] > 0, "they raced");
        check(&*store).await;
    });
}

#[test]
fn a_cutoff_revokes_earlier_keys_and_no_later_ones() {
    server::run(async {
        let store = server::store().await;
        let mut pair = pair(&store.database.url());
        let mut texts = Vec::new();
        for round in 0..rounds() {
            let (create, cut) = (format!("create u{round}"), format!("cut u{round}"));
            let [text, answer] = race(&mut pair, round, &create, &cut);
            assert_eq!(answer, "cut");
            texts.push(text);
        }
        let (_, feed) = check(&*store).await;
        let living = live(&feed);
        println!(
            "{} of {} keys came after the cut",
            living.len(),
            texts.len()
        );
        assert!(
            !living.is_empty() && living.len() < texts.len(),
            "they raced"
        );
        let gate = gate(&*store).await;
        let opening = texts.iter().filter(|text| opens(&gate, text)).count();
        assert_eq!(opening, living.len());
        // A key lives if and only if it was created after the cut of its owner.
        for record in &living {
            let cut = cut_of(&feed, &record.owner);
            assert!(
                record.created_revision > cut,
                "{:?}: {} {cut}",
                record.owner,
                record.created_revision
            );
        }
        let access = Access::to("fn-1");
        assert!(gate.verify_text(b"nothing", &access, NOW).is_err());
    });
}

fn cut_of(feed: &[keyfob::store::Entry], owner: &keyfob::Owner) -> Revision {
    let target = Target::Owner(team(), owner.clone());
    let mut cuts = feed.iter().rev().filter_map(|entry| match &entry.item {
        keyfob::store::Item::Cutoff(cutoff) if cutoff.target == target => Some(cutoff.up_to),
        _ => None,
    });
    cuts.next().expect("every owner was cut")
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
