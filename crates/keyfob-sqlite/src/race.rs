//! Two processes race on one file. Both are this test program, started again.

use std::{fs, path::Path};

use keyfob::{
    Actor, Context, KeyId, KeyStore, Owner, Scopes, Tenant, Timestamp,
    audit::{Action, AuditEntry},
    block_on,
    key::{CredentialId, KeyDigest},
    manage::{Authority, Labels, Status},
    name::{KeyName, NamespaceId, TeamId, UserId},
    store::{
        ActorFault, Change, Commit, CommitError, Conflict, KeyQuery, KeyRecord, Limits, Revision,
        StatusFilter, Target,
    },
};
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

/// A rotation of the key as it was made, so that no second one can follow the first.
fn rotation(record: &KeyRecord) -> Commit {
    let mut rotated = record.clone();
    rotated.digest = digest('1');
    commit(Change::ReplaceKey {
        record: rotated,
        expected: record.created_revision,
        unique_name: false,
    })
}

/// The creation of a key by an actor with the key of this round. Its owner stays.
fn creation_by_actor(of: u64) -> Commit {
    let mut record = new_record(of);
    let actor = CredentialId::Key(record.id);
    record.id = KeyId::from_bytes(u128::from(of + 1_000_000).to_be_bytes());
    record.owner = Owner::User(UserId::new("worker").unwrap());
    let change = Change::CreateKey {
        record,
        limits: Limits::default(),
    };
    Commit {
        authority: Authority::credential(actor, Scopes::none()),
        ..commit(change)
    }
}

/// How a part keeps a commit: as the store does, or as it must not be done.
enum Keeper {
    Store(SqliteStore),
    /// Asks before the transaction, and writes in it what was judged by those answers.
    Hasty(Connection),
}

impl Keeper {
    fn open(path: &Path, kind: &str) -> Self {
        match kind {
            "hasty" => {
                let source = Source::prepare(path, false, std::time::Duration::from_secs(5));
                Self::Hasty(source.unwrap().writer().unwrap())
            }
            _ => Self::Store(SqliteStore::open(path).unwrap()),
        }
    }

    fn keep(&self, commit: &Commit) -> Result<Revision, Conflict> {
        match self {
            Self::Store(store) => match block_on(store.commit(commit)) {
                Ok(revision) => Ok(revision),
                Err(CommitError::Conflict(conflict)) => Err(conflict),
                Err(error) => panic!("{error:?}"),
            },
            Self::Hasty(connection) => {
                let mut snapshot = snapshot(connection, commit).unwrap();
                connection.execute_batch("BEGIN IMMEDIATE").unwrap();
                (snapshot.last_revision, snapshot.last_hash) = head(connection).unwrap();
                let judged = commit.decide(&snapshot);
                let kept = judged.map(|judged| {
                    write(connection, &judged).unwrap();
                    judged.revision
                });
                connection.execute_batch("COMMIT").unwrap();
                kept
            }
        }
    }

    fn record(&self, of: u64) -> KeyRecord {
        let Self::Store(store) = self else {
            unreachable!("who rotates is never hasty");
        };
        let query = KeyQuery {
            owner: Some(person(of)),
            ..KeyQuery::namespace(&home())
        };
        block_on(store.keys(&query)).unwrap().items.remove(0)
    }
}

/// What a part does in a round.
fn act(keeper: &Keeper, part: &str, round: u64) -> Result<Revision, Conflict> {
    match part {
        "create" => keeper.keep(&creation(round)),
        "create as actor" => keeper.keep(&creation_by_actor(round)),
        "remove" => keeper.keep(&cut(round, true)),
        "revoke all" => keeper.keep(&cut(round, false)),
        "rotate" => keeper.keep(&rotation(&keeper.record(round))),
        _ => panic!("{part} is no part"),
    }
}

#[test]
#[ignore = "started by another test"]
fn part() {
    let keeper = Keeper::open(Path::new(&told("PLAY_PATH")), &told("PLAY_KEEPER"));
    let part = told("PLAY_PART");
    say("ready");
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line).unwrap() > 0 {
        let round = line.trim().parse().unwrap();
        match act(&keeper, &part, round) {
            Ok(revision) => say(revision),
            Err(conflict) => say(conflict),
        }
        line.clear();
    }
}

/// A file with two processes at it.
struct Race {
    folder: std::path::PathBuf,
    parts: [Process; 2],
}

impl Race {
    fn start(
        name: &str,
        keeper: &str,
        parts: [&str; 2],
        prepare: impl FnOnce(&SqliteStore),
    ) -> Self {
        let folder = format!("keyfob-race-{name}-{keeper}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir(&folder).unwrap();
        let path = folder.join("keys.db");
        prepare(&SqliteStore::open(&path).unwrap());
        let parts = parts.map(|part| {
            let words = [
                ("PLAY_PATH", path.to_str().unwrap()),
                ("PLAY_KEEPER", keeper),
                ("PLAY_PART", part),
            ];
            let mut process = Process::start("race::part", &words);
            assert_eq!(process.heard().as_deref(), Some("ready"));
            process
        });
        Self { folder, parts }
    }

    /// One round: both are told, then both are heard. A revision if it was kept.
    fn round(&mut self, round: u64) -> [Result<u64, String>; 2] {
        for part in &mut self.parts {
            part.tell(&round.to_string());
        }
        let heard = self.parts.each_mut().map(|part| part.heard().unwrap());
        heard.map(|said| said.parse().map_err(|_| said))
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::open(self.folder.join("keys.db")).unwrap()
    }
}

impl Drop for Race {
    fn drop(&mut self) {
        for part in &mut self.parts {
            part.kill();
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

/// Creates keys of people who are removed at that moment; gives how many creations came before
/// the removal, how many after it, and who is left with a key.
fn create_against_removal(keeper: &str, rounds: u64) -> (u64, u64, Vec<Owner>) {
    let mut race = Race::start("removal", keeper, ["create", "remove"], |_| {});
    let (mut before, mut after) = (0, 0);
    for round in 0..rounds {
        match race.round(round) {
            [Ok(created), Ok(removed)] if created < removed => before += 1,
            [Ok(_) | Err(_), Ok(_)] => after += 1,
            said => panic!("round {round}: {said:?}"),
        }
    }
    (before, after, survivors(&race.store()))
}

#[test]
fn no_key_outlives_an_owner_who_is_removed_by_another_process() {
    let (before, after, survivors) = create_against_removal("store", rounds());
    count(format_args!(
        "{before} keys came before their owner's removal, {after} after it"
    ));
    assert!(survivors.is_empty(), "{survivors:?}");
    assert!(before > 0 && after > 0, "{before} before, {after} after");
}

/// The same race must catch a store that asks before its transaction, or it would prove nothing.
#[test]
fn a_writer_that_reads_before_its_transaction_is_detected() {
    for attempt in 1..=20 {
        let (_, _, survivors) = create_against_removal("hasty", 200);
        if !survivors.is_empty() {
            count(format_args!(
                "{} survivors in run {attempt} of 200 rounds",
                survivors.len()
            ));
            return;
        }
        assert!(attempt < 20, "no key survived in 4000 rounds");
    }
}

#[test]
fn one_of_two_concurrent_rotations_wins() {
    let rounds = rounds();
    let mut race = Race::start("rotation", "store", ["rotate", "rotate"], |store| {
        for round in 0..rounds {
            block_on(store.commit(&creation(round))).unwrap();
        }
    });
    let mut winners = [0, 0];
    for round in 0..rounds {
        let stale = |said: &Result<u64, String>| *said == Err(Conflict::Stale.to_string());
        match &race.round(round) {
            [Ok(_), other] if stale(other) => winners[0] += 1,
            [other, Ok(_)] if stale(other) => winners[1] += 1,
            said => panic!("round {round}: {said:?}"),
        }
    }
    count(format_args!("{rounds} rotations, won by {winners:?}"));
    assert!(!winners.contains(&0), "they never met: {winners:?}");
    let store = race.store();
    block_on(store.check()).unwrap();
}

#[test]
fn no_change_comes_after_another_process_revoked_its_actor() {
    let rounds = rounds();
    let parts = ["create as actor", "revoke all"];
    let mut race = Race::start("authority", "store", parts, |store| {
        for round in 0..rounds {
            block_on(store.commit(&creation(round))).unwrap();
        }
    });
    let revoked = Conflict::Actor(ActorFault::Revoked).to_string();
    let (mut before, mut after) = (0, 0);
    for round in 0..rounds {
        match race.round(round) {
            [Ok(created), Ok(cut)] if created < cut => before += 1,
            [Err(refusal), Ok(_)] if refusal == revoked => after += 1,
            said => panic!("round {round}: {said:?}"),
        }
    }
    count(format_args!(
        "{before} keys came before the revocation of their actor, {after} were refused"
    ));
    assert!(before > 0 && after > 0, "{before} before, {after} after");
    block_on(race.store().check()).unwrap();
}

#[test]
fn revoke_all_revokes_what_came_before_it_and_nothing_else() {
    let rounds = rounds();
    let mut race = Race::start("revocation", "store", ["create", "revoke all"], |_| {});
    let mut expected = Vec::new();
    for round in 0..rounds {
        match race.round(round) {
            [Ok(created), Ok(cut)] if created < cut => {}
            [Ok(_), Ok(_)] => expected.push(person(round)),
            said => panic!("round {round}: {said:?}"),
        }
    }
    let store = race.store();
    let mut found = survivors(&store);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let met = expected.len() as u64;
    count(format_args!("{met} of {rounds} keys came after the cut"));
    assert!(
        0 < met && met < rounds,
        "{met} of {rounds} came after the cut"
    );
    block_on(store.check()).unwrap();
    for record in block_on(store.keys(&KeyQuery::namespace(&home())))
        .unwrap()
        .items
    {
        let is_expected = expected.contains(&record.owner);
        assert_eq!(record.status == Status::Active, is_expected);
    }
}
