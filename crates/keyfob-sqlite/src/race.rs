//! Two processes race on one file. Both are this test program, started again.

use std::{fs, path::Path};

use keyfob::{
    Actor, Context, KeyId, KeyStore, Owner, Scopes, Tenant, Timestamp,
    audit::{Action, AuditEntry},
    block_on,
    key::KeyDigest,
    manage::{Authority, Labels, Status},
    name::{KeyName, NamespaceId, TeamId, UserId},
    store::{Change, Commit, KeyQuery, KeyRecord, Limits, Revision, StatusFilter, Target},
};
use keyfob_conformance::race::{self, Answer, Side};
use rusqlite::Connection;

use crate::{
    SqliteStore,
    open::Source,
    process::{Process, count, say, told},
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

pub(crate) fn home() -> Tenant {
    Tenant::new(
        TeamId::new("acme").unwrap(),
        NamespaceId::new("fn-1").unwrap(),
    )
}

fn person(n: u64) -> Owner {
    Owner::User(UserId::new(&format!("user {n}")).unwrap())
}

pub(crate) fn context() -> Context {
    Context::new(Actor::system(), Timestamp::from_unix(1_800_000_000))
}

pub(crate) fn new_record(of: u64) -> KeyRecord {
    let now = context().now;
    KeyRecord {
        id: KeyId::from_bytes(u128::from(of + 1).to_be_bytes()),
        tenant: home(),
        owner: person(of),
        name: KeyName::new("laptop").unwrap(),
        labels: Labels::new(),
        scopes: Scopes::All,
        digest: digest('0'),
        previous: None,
        created_at: now,
        created_by: Actor::system(),
        updated_at: now,
        issued_at: now,
        not_before: None,
        expires_at: None,
        status: Status::Active,
        created_revision: Revision::ZERO,
        revision: Revision::ZERO,
    }
}

pub(crate) fn digest(digit: char) -> KeyDigest {
    let digits: String = std::iter::repeat_n(digit, 64).collect();
    KeyDigest::from_text(&["sha256:", &digits].concat()).unwrap()
}

fn commit(change: Change) -> Commit {
    let event = AuditEntry::new(Action::KeyUpdated, &context());
    Commit {
        change,
        authority: Authority::System,
        event,
    }
}

fn creation(of: u64) -> Commit {
    commit(Change::CreateKey {
        record: new_record(of),
        limits: Limits::default(),
    })
}

fn cut(of: u64, block: bool) -> Commit {
    let target = Target::Owner(home().team, person(of));
    commit(Change::Revoke { target, block })
}

/// A store that must be detected: it reads before the transaction, and writes in it what was
/// decided by those answers.
struct HastyWriter(Connection);

impl HastyWriter {
    fn open(path: &Path) -> Self {
        let source = Source::prepare(path, false, std::time::Duration::from_secs(5));
        Self(source.unwrap().writer().unwrap())
    }

    fn keep(&self, commit: &Commit) -> Answer {
        let Self(connection) = self;
        let mut snapshot = snapshot(connection, commit).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        (snapshot.last_revision, snapshot.last_hash) = head(connection).unwrap();
        let decided = commit.decide(&snapshot);
        let kept = decided.map(|write_set| {
            write(connection, &write_set).unwrap();
            write_set.revision
        });
        connection.execute_batch("COMMIT").unwrap();
        kept.map_err(|conflict| conflict.to_string())
    }
}

/// What a process does in a round.
fn player(path: &Path, side: &str, number: u64) -> Box<dyn Fn(u64) -> Answer> {
    if side == "hasty create" {
        let writer = HastyWriter::open(path);
        return Box::new(move |round| writer.keep(&creation(round)));
    }
    let store = SqliteStore::open(path).unwrap();
    if side == "cut" {
        return Box::new(move |round| {
            let answer = block_on(store.commit(&cut(round, true)));
            answer.map_err(|error| error.to_string())
        });
    }
    let side = Side::named(side).unwrap();
    Box::new(move |round| block_on(race::act(&store, side, number, round)))
}

#[test]
#[ignore = "started by another test"]
fn process() {
    let number = told("PLAY_NUMBER").parse().unwrap();
    let player = player(Path::new(&told("PLAY_PATH")), &told("PLAY_SIDE"), number);
    say("ready");
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line).unwrap() > 0 {
        say(race::said(&player(line.trim().parse().unwrap())));
        line.clear();
    }
}

/// A file with two processes at it.
struct Race {
    folder: std::path::PathBuf,
    processes: [Process; 2],
}

impl Race {
    fn start(name: &str, sides: [&str; 2]) -> Self {
        let folder = format!("keyfob-race-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir(&folder).unwrap();
        let path = folder.join("keys.db");
        drop(SqliteStore::open(&path).unwrap());
        let mut numbers = ["0", "1"].into_iter();
        let processes = sides.map(|side| {
            let words = [
                ("PLAY_PATH", path.to_str().unwrap()),
                ("PLAY_SIDE", side),
                ("PLAY_NUMBER", numbers.next().unwrap()),
            ];
            let mut process = Process::start("race::process", &words);
            assert_eq!(process.heard().as_deref(), Some("ready"));
            process
        });
        Self { folder, processes }
    }

    fn between(name: &str, sides: [Side; 2]) -> Self {
        Self::start(name, sides.map(Side::name))
    }

    /// One round: both are told, then both are heard.
    fn round(&mut self, round: u64) -> [Answer; 2] {
        for process in &mut self.processes {
            process.tell(&round.to_string());
        }
        let heard = self
            .processes
            .each_mut()
            .map(|process| process.heard().unwrap());
        heard.map(|line| race::heard(&line))
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::open(self.folder.join("keys.db")).unwrap()
    }
}

impl Drop for Race {
    fn drop(&mut self) {
        for process in &mut self.processes {
            process.kill();
        }
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// Who still has a key that works.
fn survivors(store: &SqliteStore) -> Vec<Owner> {
    let mut query = KeyQuery {
        status: Some(StatusFilter::Active),
        limit: KeyQuery::LIMIT_MAX,
        ..KeyQuery::namespace(&home())
    };
    let mut survivors = Vec::new();
    loop {
        let page = block_on(store.keys(&query)).unwrap();
        survivors.extend(page.items.into_iter().map(|record| record.owner));
        query.after = page.next;
        if query.after.is_none() {
            return survivors;
        }
    }
}

#[test]
fn no_key_outlives_an_owner_who_is_removed_by_another_process() {
    let mut race = Race::between("removal", [Side::Create, Side::Remove]);
    let store = race.store();
    let outcome = race::removals(&store, rounds(), async |n| race.round(n));
    count(format_args!("{:?}", block_on(outcome)));
    block_on(store.check()).unwrap();
}

/// The same race must detect a store that reads before its transaction, or it would prove nothing.
#[test]
fn a_writer_that_reads_before_its_transaction_is_detected() {
    for attempt in 1..=20 {
        let mut race = Race::start("hasty", ["hasty create", "cut"]);
        for round in 0..200 {
            let _ = race.round(round);
        }
        let survivors = survivors(&race.store());
        if !survivors.is_empty() {
            count(format_args!(
                "{} survivors in run {attempt}",
                survivors.len()
            ));
            return;
        }
    }
    panic!("no key survived in 4000 rounds");
}

#[test]
fn one_of_two_concurrent_rotations_wins() {
    let mut race = Race::between("rotation", [Side::Rotate, Side::Rotate]);
    let store = race.store();
    let outcome = race::rotations(&store, rounds(), async |n| race.round(n));
    count(format_args!("{:?}", block_on(outcome)));
    block_on(store.check()).unwrap();
}

#[test]
fn revoke_all_revokes_what_came_before_it_and_nothing_else() {
    let mut race = Race::between("revocation", [Side::Create, Side::RevokeAll]);
    let store = race.store();
    let outcome = race::revocations(&store, rounds(), async |n| race.round(n));
    count(format_args!("{:?}", block_on(outcome)));
    block_on(store.check()).unwrap();
}

#[test]
fn no_change_comes_after_another_process_revoked_its_actor() {
    let mut race = Race::between("authority", [Side::Act, Side::Revoke]);
    let store = race.store();
    let outcome = race::actors(&store, rounds(), async |n| race.round(n));
    count(format_args!("{:?}", block_on(outcome)));
    block_on(store.check()).unwrap();
}
