//! Every statement of every call fails once, before and after COMMIT too, and nothing is half.

use std::{cell::Cell, error::Error, fs, path::PathBuf};

use futures_channel::oneshot;
use keyfob::{
    Actor, Context, KeyId, Owner,
    audit::{Action, AuditEntry},
    gateway::{UsageBatch, UsageDelta, UsageOutcome},
    key::{CredentialId, SystemRandom},
    legacy::{LegacyId, LegacyPolicy, LegacyRecord},
    manage::{Authority, Policy},
    name::{ServiceId, TeamId, UserId},
    store::{
        AuditQuery, Change, Commit, CommitError, Conflict, KeyQuery, LegacyQuery, Limits,
        NamespaceQuery, Revision, StatusFilter, StoreError, Target, UsageOf, UsageQuery,
    },
};
use rusqlite::{Connection, ffi};

use crate::{
    check::check,
    feed,
    fixture::{context, digest, home, new_record},
    open::Source,
    queries,
    readers::read_at_once,
    usage,
    writer::{Task, WriteLoop},
};

thread_local! {
    /// How many statements of this thread pass before one fails.
    static COUNTDOWN: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Fails if it is this statement's turn.
pub(crate) fn pass() -> rusqlite::Result<()> {
    COUNTDOWN.with(|countdown| match countdown.get() {
        Some(0) => {
            countdown.set(None);
            let fault = ffi::Error::new(ffi::SQLITE_IOERR_FSYNC);
            Err(rusqlite::Error::SqliteFailure(fault, None))
        }
        Some(left) => {
            countdown.set(Some(left - 1));
            Ok(())
        }
        None => Ok(()),
    })
}

/// Does something while the `nth` statement fails, counted from zero; whether it did fail.
fn failing<T>(nth: u32, act: impl FnOnce() -> T) -> (T, bool) {
    COUNTDOWN.set(Some(nth));
    let done = act();
    let fired = COUNTDOWN.take().is_none();
    (done, fired)
}

/// A writer without its thread, in a folder that goes with it.
pub(crate) struct Bench {
    pub(crate) writer: WriteLoop,
    pub(crate) folder: PathBuf,
}

impl Bench {
    pub(crate) fn new(name: &str) -> Self {
        let folder = format!("keyfob-faults-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir(&folder).unwrap();
        let timeout = std::time::Duration::from_secs(5);
        let source = Source::prepare(&folder.join("keys.db"), true, timeout).unwrap();
        let writer = WriteLoop {
            connection: source.writer().unwrap(),
            on_commit: Box::new(|| {}),
        };
        Self { writer, folder }
    }

    fn keep_all(&mut self, commits: Vec<Commit>) -> Vec<Result<Revision, CommitError>> {
        let (tasks, answers): (Vec<_>, Vec<_>) = commits
            .into_iter()
            .map(|commit| {
                let (answer, answered) = oneshot::channel();
                (Task::Commit(Box::new(commit), answer), answered)
            })
            .unzip();
        self.writer.do_all(tasks);
        let answers = answers.into_iter();
        answers
            .map(|mut a| a.try_recv().unwrap().unwrap())
            .collect()
    }

    pub(crate) fn keep(&mut self, commit: &Commit) -> Result<Revision, CommitError> {
        self.keep_all(vec![commit.clone()]).remove(0)
    }

    pub(crate) fn merge(&mut self, batch: UsageBatch) -> Result<(), StoreError> {
        let (answer, mut answered) = oneshot::channel();
        self.writer
            .do_all(vec![Task::Usage(batch, context().now, answer)]);
        answered.try_recv().unwrap().unwrap()
    }

    fn whole(&self) -> String {
        whole(&self.writer.connection)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// Everything that can be told of a store.
pub(crate) fn whole(connection: &Connection) -> String {
    check(connection).unwrap();
    let changes = feed::changes(connection, Revision::ZERO, usize::MAX).unwrap();
    let trail = queries::audit(connection, &AuditQuery::every_team()).unwrap();
    let usage = usage::usage(connection, &credentials()).unwrap();
    let days = usage::usage_days(connection, &days()).unwrap();
    serde_json::to_string(&(changes, trail.items, usage, days)).unwrap()
}

/// The usage of everything, on the day of the tests.
fn days() -> UsageQuery {
    let home = home();
    let day = context().now.as_unix().div_euclid(86_400);
    let of = credentials().map(UsageOf::Credential);
    let all = [UsageOf::Namespace(home.namespace), UsageOf::Team(home.team)];
    UsageQuery {
        of: of.into_iter().chain(all).collect(),
        first: day,
        last: day,
    }
}

pub(crate) fn credentials() -> [CredentialId; 2] {
    [
        CredentialId::Key(new_record(1).id),
        CredentialId::Legacy(LegacyId::from_bytes([7; 16])),
    ]
}

pub(crate) fn commit(change: Change) -> Commit {
    let admin = Actor::user(UserId::new("admin").unwrap());
    let mut event = AuditEntry::new(Action::KeyUpdated, &Context::new(admin, context().now));
    event.team = Some(home().team);
    event.credential = Some(credentials()[0]);
    Commit {
        change,
        authority: Authority::System,
        event,
    }
}

/// One commit of each kind, in an order in which each can be kept.
pub(crate) fn commits() -> Vec<Commit> {
    let owner = Owner::Service(ServiceId::new("robot").unwrap());
    let target = Target::Owner(home().team, owner);
    let limits = Limits {
        unique_name: true,
        keys_per_owner: Some(3),
    };
    let mut replaced = new_record(1);
    replaced.digest = digest('2');
    let mut namesake = new_record(2);
    namesake.name = keyfob::name::KeyName::new("another").unwrap();
    let legacy = LegacyRecord {
        id: LegacyId::from_bytes([7; 16]),
        tenant: home(),
        subject: UserId::new("guest").unwrap(),
        digest: digest('3'),
        blocked: false,
        imported_at: context().now,
        imported_by: Actor::system(),
        revoked: None,
        created_revision: Revision::ZERO,
        revision: Revision::ZERO,
    };
    let tenant = Some(home());
    let mut elsewhere = home();
    elsewhere.namespace = keyfob::name::NamespaceId::new("fn-2").unwrap();
    let changes = vec![
        Change::CreateKey {
            record: new_record(1),
            limits,
        },
        Change::CreateKey {
            record: namesake,
            limits,
        },
        Change::ReplaceKey {
            record: replaced,
            expected: Revision::new(1),
            unique_name: true,
        },
        Change::Revoke {
            target: target.clone(),
            block: true,
            in_advance: true,
        },
        Change::Restore { target },
        Change::ImportLegacy {
            record: legacy.clone(),
        },
        Change::ReplaceLegacy {
            record: legacy,
            expected: Revision::new(6),
        },
        Change::SetPolicy {
            tenant: tenant.clone(),
            policy: Some(Policy::default()),
        },
        Change::SetLegacyPolicy {
            tenant: None,
            policy: Some(LegacyPolicy::Off),
        },
        Change::CreateNamespace {
            new: elsewhere.into(),
        },
        Change::DeleteKey {
            tenant: home(),
            id: new_record(2).id,
            expected: None,
        },
    ];
    changes.into_iter().map(commit).collect()
}

#[test]
fn after_each_failed_statement_a_commit_is_kept_or_not_as_its_error_says() {
    let mut bench = Bench::new("commits");
    let (mut definite, mut kept_unknown, mut lost_unknown) = (0, 0, 0);
    for commit in commits() {
        for nth in 0.. {
            let before = bench.whole();
            let (answer, fired) = failing(nth, || bench.keep(&commit));
            match answer {
                Ok(_) => {
                    assert!(!fired, "a fault was passed over: {commit:?}");
                    break;
                }
                Err(CommitError::Store(error)) => {
                    assert!(fired, "{error:?}");
                    let told = error.source().and_then(Error::source);
                    assert!(told.is_some_and(<dyn Error>::is::<rusqlite::Error>));
                    let is_kept = bench.whole() != before;
                    match (error.is_definite(), is_kept) {
                        (true, false) => definite += 1,
                        (false, true) => kept_unknown += 1,
                        (false, false) => lost_unknown += 1,
                        (true, true) => panic!("it was kept: {error:?}: {commit:?}"),
                    }
                    if is_kept {
                        break;
                    }
                }
                Err(error) => panic!("{error:?}: {commit:?}"),
            }
            assert!(nth < 100, "it never comes to an end");
        }
    }
    let kinds = commits().len();
    assert!(definite > 5 * kinds, "{definite}");
    // The last of them may be lost before COMMIT, and its answer after it.
    assert_eq!((lost_unknown, kept_unknown), (kinds, kinds));
}

#[test]
fn a_fault_after_commit_is_no_reason_to_keep_it_twice() {
    let mut bench = Bench::new("twice");
    let commit = commits().remove(0);
    let mut kept = None;
    for nth in 0..100 {
        let (answer, _) = failing(nth, || bench.keep(&commit));
        if let Err(CommitError::Conflict(conflict)) = answer {
            kept = Some(conflict);
            break;
        }
    }
    assert_eq!(kept, Some(Conflict::IdTaken), "the second try is told");
    let changes = feed::changes(&bench.writer.connection, Revision::ZERO, 9).unwrap();
    assert_eq!(changes.last_revision(), Revision::new(1));
}

#[test]
fn a_failed_commit_of_a_batch_fails_alone() {
    for nth in 0..200 {
        let mut bench = Bench::new(&format!("company-{nth}"));
        let create = |n| {
            commit(Change::CreateKey {
                record: new_record(n),
                limits: Limits::default(),
            })
        };
        let company = vec![create(1), create(2), create(1), create(3)];
        let (answers, fired) = failing(nth, || bench.keep_all(company));
        let changes = feed::changes(&bench.writer.connection, Revision::ZERO, 9).unwrap();
        check(&bench.writer.connection).unwrap();
        let failed = |answer: &&Result<_, _>| matches!(answer, Err(CommitError::Store(_)));
        let kept = answers.iter().filter(|answer| answer.is_ok()).count() as u64;
        let refused = answers
            .iter()
            .filter(|answer| matches!(answer, Err(CommitError::Conflict(Conflict::IdTaken))));
        match answers.iter().filter(failed).count() {
            // The fault passed, and each was tried again by itself.
            0 => {
                assert_eq!((kept, refused.count()), (3, 1), "{answers:?}");
                assert_eq!(changes.last_revision(), Revision::new(3));
            }
            // At BEGIN or COMMIT all are told the same.
            4 => assert!(
                [0, 3].contains(&changes.last_revision().get()),
                "{answers:?}"
            ),
            _ => panic!("some were told of others' faults: {answers:?}"),
        }
        if !fired {
            assert!(nth > 20, "few statements were run: {nth}");
            return;
        }
    }
    panic!("it never comes to an end");
}

#[test]
fn after_each_failed_statement_usage_is_merged_once_or_not_at_all() {
    let mut bench = Bench::new("usage");
    for commit in commits() {
        bench.keep(&commit).unwrap();
    }
    let now = context().now;
    let mut usage = credentials()
        .map(|id| UsageDelta::accepted(id, now))
        .to_vec();
    usage.push(UsageDelta::refused(credentials()[0], UsageOutcome::Expired));
    let batch = UsageBatch::single(usage, now, &SystemRandom).unwrap();
    for nth in 0..100 {
        let before = bench.whole();
        let (answer, fired) = failing(nth, || bench.merge(batch.clone()));
        if let Err(error) = &answer {
            assert!(fired);
            assert!(!error.is_definite() || bench.whole() == before, "{error:?}");
        }
        if !fired {
            answer.unwrap();
            let kept = usage::usage(&bench.writer.connection, &credentials()).unwrap();
            // Also where the answer was lost.
            assert!(kept.iter().all(|usage| usage.accepted == 1), "{kept:?}");
            let kept = usage::usage_days(&bench.writer.connection, &days()).unwrap();
            let counts = kept.iter().map(|day| day.hours.iter().sum());
            // Of two credentials, and of all keys and legacy credentials of a namespace and a team.
            assert_eq!(counts.collect::<Vec<u64>>(), [1; 9], "{kept:?}");
            return;
        }
    }
    panic!("it never comes to an end");
}

/// Reads with every statement failing in turn; gives how many there are.
fn read_failing<T: serde::Serialize>(
    connection: &mut Connection,
    read: impl Fn(&Connection) -> rusqlite::Result<T>,
) -> u32 {
    let expected = read_at_once(connection, &read).unwrap();
    let expected = serde_json::to_string(&expected).unwrap();
    for nth in 0..1000 {
        let (answer, fired) = failing(nth, || read_at_once(connection, &read));
        match answer {
            Err(error) => assert!(fired && error.is_definite(), "{error:?}"),
            Ok(found) => {
                assert!(!fired, "a fault was passed over");
                assert_eq!(serde_json::to_string(&found).unwrap(), expected);
                return nth;
            }
        }
    }
    panic!("it never comes to an end");
}

#[test]
fn after_each_failed_statement_no_answer_is_partial() {
    let mut bench = Bench::new("reads");
    for commit in commits() {
        bench.keep(&commit).unwrap();
    }
    let connection = &mut bench.writer.connection;
    let team = || TeamId::new("acme").unwrap();
    let keys = KeyQuery {
        status: Some(StatusFilter::Active),
        owner: Some(new_record(1).owner),
        ..KeyQuery::namespace(&home())
    };
    let audit = AuditQuery {
        since: Some(context().now),
        ..AuditQuery::team(team())
    };
    let id: KeyId = new_record(1).id;
    let counts = [
        read_failing(connection, |c| queries::key(c, &home(), id)),
        read_failing(connection, |c| Ok(queries::keys(c, &keys)?.items)),
        read_failing(connection, |c| {
            Ok(queries::legacy(c, &LegacyQuery::team(team()))?.items)
        }),
        read_failing(connection, |c| {
            Ok(queries::namespaces(c, &NamespaceQuery::team(team()))?.items)
        }),
        read_failing(connection, |c| queries::policy(c, Some(&home()))),
        read_failing(connection, |c| queries::legacy_policy(c, Some(&home()))),
        read_failing(connection, |c| Ok(queries::audit(c, &audit)?.items)),
        read_failing(connection, |c| feed::changes(c, Revision::ZERO, 100)),
        read_failing(connection, |c| usage::usage(c, &credentials())),
        read_failing(connection, |c| usage::usage_days(c, &days())),
    ];
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert!(counts.iter().sum::<u32>() > 20, "{counts:?}");
}
