//! How much work a page is, counted in the steps of SQLite's virtual machine.

use keyfob::{
    Owner, Timestamp,
    audit::Action,
    manage::{Revocation, RevocationCause, Status},
    name::{KeyName, ServiceId},
    store::{AuditQuery, Change, KeyQuery, KeyRecord, Limits, SearchText, StatusFilter, Target},
};
use rusqlite::{Connection, StatementStatus};

use crate::{
    faults::commit,
    fixture::{context, home, new_record},
    migrate::migrate,
    queries,
    sql::{ALL, COUNT},
    write::keep,
};

/// A team's `keys` oldest keys are revoked by themselves, as many by a cutoff of their owner, and as
/// many are not revoked.
fn database(keys: u64) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    migrate(&connection).unwrap();
    connection.set_prepared_statement_cache_capacity(COUNT);
    connection.execute_batch("BEGIN").unwrap();
    let done = |change| keep(&connection, &commit(change)).unwrap().unwrap();
    let create = |record| {
        done(Change::CreateKey {
            record,
            limits: Limits {
                unique_name: false,
                keys_per_owner: None,
            },
        })
    };
    let service = |name: &str| Owner::Service(ServiceId::new(name).unwrap());
    let key = |n: u64, owner: &str| KeyRecord {
        name: KeyName::new(&format!("key {n}")).unwrap(),
        owner: service(owner),
        expires_at: Some(Timestamp::from_unix(
            2_000_000_000 + i64::try_from(n).unwrap(),
        )),
        ..new_record(n)
    };
    for n in 0..keys {
        let record = key(n, "first");
        let expected = create(record.clone());
        let revocation = Revocation {
            at: context().now,
            by: context().actor,
            cause: RevocationCause::Key,
            reason: None,
        };
        done(Change::ReplaceKey {
            record: KeyRecord {
                status: Status::Revoked(revocation),
                created_revision: expected,
                revision: expected,
                ..record
            },
            expected,
            unique_name: false,
        });
    }
    for n in keys..2 * keys {
        create(key(n, "second"));
    }
    done(Change::Revoke {
        target: Target::Owner(home().team, service("second")),
        block: false,
        in_advance: false,
    });
    for n in 2 * keys..3 * keys {
        create(key(n, "third"));
    }
    connection.execute_batch("COMMIT").unwrap();
    connection
}

/// The steps of all statements of a query.
fn steps<T>(connection: &Connection, run: impl Fn(&Connection) -> T) -> i64 {
    let each = |connection: &Connection| -> i64 {
        let statements = ALL.iter().map(|(_, statement)| {
            let statement = statement.on(connection).unwrap();
            i64::from(statement.reset_status(StatementStatus::VmStep))
        });
        statements.sum()
    };
    each(connection);
    run(connection);
    each(connection)
}

type Run = Box<dyn Fn(&Connection) -> usize>;

/// What pages of the panel ask for.
fn pages(keys: u64) -> Vec<(&'static str, Run)> {
    let of_keys = |query: KeyQuery| -> Run {
        Box::new(move |connection| queries::keys(connection, &query).unwrap().items.len())
    };
    let of_trail = |query: AuditQuery| -> Run {
        Box::new(move |connection| queries::audit(connection, &query).unwrap().items.len())
    };
    let team = || KeyQuery::team(home().team).limit(50);
    let unrevoked = || team().with_status(StatusFilter::Unrevoked).newest_first();
    let owner = |name| Owner::Service(ServiceId::new(name).unwrap());
    let trail = || AuditQuery::team(home().team).newest_first().limit(50);
    let middle = Timestamp::from_unix(2_000_000_000 + i64::try_from(2 * keys).unwrap());
    let text = SearchText::new("KEY").unwrap();
    vec![
        ("a team's newest keys", of_keys(unrevoked())),
        (
            "a namespace's newest keys",
            of_keys(KeyQuery::namespace(&home()).limit(50).newest_first()),
        ),
        (
            "an owner's keys that are not revoked",
            of_keys(
                team()
                    .with_owner(owner("third"))
                    .with_status(StatusFilter::Unrevoked),
            ),
        ),
        (
            "an owner's keys, which a cutoff revoked",
            of_keys(
                team()
                    .with_owner(owner("second"))
                    .with_status(StatusFilter::Unrevoked),
            ),
        ),
        (
            "keys of one name",
            of_keys(team().with_name(KeyName::new("key 3").unwrap())),
        ),
        (
            "keys by their identifiers",
            of_keys(team().with_ids((0..50).map(|n| new_record(n).id).collect())),
        ),
        (
            "a text that many have",
            of_keys(unrevoked().with_containing(text)),
        ),
        (
            "keys that expire soon",
            of_keys(
                team()
                    .with_expires(middle..Timestamp::MAX)
                    .with_status(StatusFilter::Unrevoked),
            ),
        ),
        ("the newest events", of_trail(trail())),
        (
            "events of an action",
            of_trail(trail().with_action(Action::AllRevoked)),
        ),
        ("leaks", of_trail(trail().leaks_only())),
        (
            "events of a key",
            of_trail(trail().with_credential(keyfob::key::CredentialId::Key(new_record(7).id))),
        ),
    ]
}

#[test]
fn a_page_is_as_much_work_however_many_keys_there_are() {
    let sizes = [500, 1_000];
    let databases = sizes.map(database);
    let work = |at: usize| -> Vec<(&str, usize, i64)> {
        let pages = pages(sizes[at]).into_iter();
        let pages = pages.map(|(name, run)| {
            let found = run(&databases[at]);
            (name, found, steps(&databases[at], run))
        });
        pages.collect()
    };
    let (few, many) = (work(0), work(1));
    assert_eq!(few, many);
    assert!(few.iter().all(|(_, _, steps)| *steps > 0), "{few:?}");
    let pages = few.iter().filter(|(_, found, _)| *found == 50);
    assert_eq!(pages.count(), 7, "{few:?}");
}

#[test]
fn work_that_grows_with_the_keys_is_noticed() {
    let all = |connection: &Connection| {
        let query = KeyQuery::team(home().team).with_status(StatusFilter::Disabled);
        queries::keys(connection, &query).unwrap();
    };
    let [few, many] = [100, 200].map(|keys| steps(&database(keys), all));
    assert!(many > few, "{few} and {many}");
}
