//! Disks that are full, too small or at fault.
#![cfg(target_os = "linux")]

mod play;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use keyfob::{
    KeyId, KeyStore, block_on,
    gateway::{UsageBatch, UsageDelta},
    key::{CredentialId, SystemRandom},
    manage,
    store::{CommitError, Item, Revision, StoreError},
};
use keyfob_sqlite::SqliteStore;
use play::{Process, count, create, home, keyring, now, say, system, told};
use tempfile::TempDir;

/// A folder in memory where the system has one: what fails on purpose need not wait for a disk.
fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// The keys that a store has, which must be sound.
fn kept(store: &SqliteStore) -> BTreeSet<String> {
    block_on(store.check()).unwrap();
    let changes = block_on(store.changes(Revision::ZERO, usize::MAX)).unwrap();
    let keys = changes
        .entries
        .iter()
        .filter_map(|entry| match &entry.item {
            Item::Key(record) => Some(record.id.to_string()),
            _ => None,
        });
    keys.collect()
}

fn store_error(error: manage::Error) -> StoreError {
    match error {
        manage::Error::Store(error) => error,
        error => panic!("{error:?}"),
    }
}

/// A small file system in memory, if the process may mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "keyfob"])
            .arg(at)
            .output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        is_mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.unwrap().success() || std::thread::panicking());
    }
}

#[test]
fn a_full_disk_loses_nothing_and_the_store_goes_on_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk")) else {
        count("no disk could be mounted; a limit on files stands in for it in another test");
        return;
    };
    let path = disk.0.join("keys.db");
    let ballast = disk.0.join("ballast");
    fs::write(&ballast, vec![0; 256 * 1024]).unwrap();
    let keyring = keyring(&path);
    let mut acknowledged = BTreeSet::new();
    for round in 0..3 {
        let mut refused = 0;
        for n in 0..100_000 {
            let owner = format!("alice {round} {}", n / 900);
            match create(&keyring, &owner, &format!("{round} {n}")) {
                Ok((_, info)) => {
                    acknowledged.insert(info.id.to_string());
                }
                Err(error) => {
                    let error = store_error(error);
                    assert!(error.is_definite(), "{error:?}");
                    refused += 1;
                }
            }
            if refused == 20 {
                break;
            }
        }
        assert_eq!(refused, 20, "the disk was never full");
        // What was acknowledged is there, and nothing else.
        assert_eq!(kept(keyring.store()), acknowledged);
        if round == 0 {
            fs::remove_file(&ballast).unwrap();
        } else {
            // To end keys needs room as well; what was deleted makes some.
            let grown = Command::new("mount")
                .args(["-o", &format!("remount,size={}m", 2 + 2 * round)])
                .arg(&disk.0)
                .status();
            assert!(grown.unwrap().success());
        }
        let (_, info) = create(&keyring, "alice", &format!("room {round}")).unwrap();
        acknowledged.insert(info.id.to_string());
    }
    drop(keyring);
    assert_eq!(kept(&SqliteStore::open(&path).unwrap()), acknowledged);
    drop(disk);
}

#[test]
fn a_limit_on_files_loses_nothing_and_the_store_goes_on_without_it() {
    let folder = in_memory();
    let path = folder.path().join("keys.db");
    drop(SqliteStore::open(&path).unwrap());
    let words = [("PLAY_PATH", path.to_str().unwrap())];
    // In blocks of 512 or 1024 bytes, as the shell has it; the signal is left aside, so that the
    // write fails instead.
    let shell = ["-c", "trap '' XFSZ; ulimit -f 6000; exec \"$0\" \"$@\""];
    let process = Process::start_by("sh", &shell, "process_with_little_space", &words);
    let mut acknowledged = BTreeSet::new();
    let mut refused = 0;
    while let Some(line) = process.heard() {
        match line.split_once(' ') {
            Some(("kept", id)) => {
                acknowledged.insert(id.to_owned());
            }
            Some(("refused", certainty)) => {
                assert_eq!(certainty, "for certain");
                refused += 1;
            }
            said => panic!("{said:?}"),
        }
    }
    assert!(process.end());
    assert_eq!(refused, 20);
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    let keyring = keyring(&path);
    assert_eq!(kept(keyring.store()), acknowledged);
    create(&keyring, "alice", "room").unwrap();
}

#[test]
#[ignore = "started by another test"]
fn process_with_little_space() {
    let keyring = keyring(Path::new(&told("PLAY_PATH")));
    let mut refused = 0;
    for n in 0..100_000 {
        let owner = format!("alice {}", n / 900);
        match create(&keyring, &owner, &format!("{n}")) {
            Ok((_, info)) => say(format_args!("kept {}", info.id)),
            Err(error) => {
                let error = store_error(error);
                let certain = error.is_definite();
                say(format_args!(
                    "refused {}",
                    if certain { "for certain" } else { "perhaps" }
                ));
                refused += 1;
                if refused == 20 {
                    return;
                }
            }
        }
    }
}

/// Every call to the system that changes a file fails once, in turn.
#[test]
fn after_each_failed_disk_write_the_error_tells_the_outcome() {
    let folder = in_memory();
    let library = folder.path().join("faults.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/play/faults.c");
    let compiled = Command::new(std::env::var("CC").unwrap_or("cc".into()))
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .status();
    assert!(compiled.unwrap().success(), "SQLite is compiled by it too");

    let mut tally = [0, 0, 0];
    for errno in ["5", "28"] {
        for nth in 1.. {
            let path = folder.path().join(format!("{errno} {nth}.db"));
            let fired = path.with_extension("fired");
            let nth_text = nth.to_string();
            let words = [
                ("PLAY_PATH", path.to_str().unwrap()),
                ("LD_PRELOAD", library.to_str().unwrap()),
                ("FAULT_AT", &nth_text),
                ("FAULT_ERRNO", errno),
                ("FAULT_FIRED", fired.to_str().unwrap()),
            ];
            let process = Process::start("process_with_faults", &words);
            let mut lines = Vec::new();
            while let Some(line) = process.heard() {
                lines.push(line);
            }
            assert!(process.end(), "fault {nth} of {errno}: {lines:?}");
            let outcome = judge(&path, &lines);
            for (sum, count) in tally.iter_mut().zip(outcome) {
                *sum += count;
            }
            if !fired.exists() {
                assert!(nth > 100, "{nth} calls were all");
                break;
            }
            assert!(nth < 1000, "it never comes to an end");
        }
    }
    let [definite, lost, kept] = tally;
    count(format_args!(
        "{definite} definite failures, {lost} unknown ones that were lost, {kept} that were kept"
    ));
    assert!(definite > 0 && lost + kept > 0, "{tally:?}");
}

/// Compares what was said with what is in the file: how many failures were definite, how many
/// unknown and lost, how many unknown and kept.
fn judge(path: &Path, lines: &[String]) -> [u32; 3] {
    let store = SqliteStore::open(path).unwrap();
    let found = kept(&store);
    let [mut definite, mut lost, mut kept] = [0; 3];
    for line in lines {
        match line.split_once(' ') {
            Some(("kept", id)) => assert!(found.contains(id), "{id} is lost: {lines:?}"),
            Some(("definite", id)) => {
                assert!(!found.contains(id), "{id} is kept: {lines:?}");
                definite += 1;
            }
            Some(("unknown", id)) if found.contains(id) => kept += 1,
            Some(("unknown", _)) => lost += 1,
            _ => {}
        }
    }
    [definite, lost, kept]
}

#[test]
#[ignore = "started by another test"]
fn process_with_faults() {
    let path = told("PLAY_PATH");
    let store = loop {
        match SqliteStore::open(&path) {
            Ok(store) => break store,
            // Once: what was begun is finished by the next.
            Err(_) => say("again"),
        }
    };
    for n in 1..=6_u8 {
        let commit = creation(n);
        let id = KeyId::from_bytes([n; 16]);
        match block_on(store.commit(&commit)) {
            Ok(_) => say(format_args!("kept {id}")),
            Err(CommitError::Store(error)) if error.is_definite() => {
                say(format_args!("definite {id}"));
            }
            Err(CommitError::Store(_)) => say(format_args!("unknown {id}")),
            Err(error) => panic!("{error:?}"),
        }
        let usage = vec![UsageDelta::accepted(CredentialId::Key(id), now())];
        let batch = UsageBatch::single(usage, now(), &SystemRandom).unwrap();
        if block_on(store.record_usage(&batch, now())).is_err() {
            say("again");
        }
        // Reading goes on.
        block_on(store.key(&home(), id)).unwrap();
    }
}

fn creation(n: u8) -> keyfob::store::Commit {
    use keyfob::{
        Owner, Scopes,
        audit::{Action, AuditEntry},
        key::KeyDigest,
        manage::{Authority, Labels, Status},
        name::KeyName,
        store::{Change, Commit, KeyRecord, Limits},
    };
    let context = system();
    let digits = "0".repeat(64);
    let record = KeyRecord {
        id: KeyId::from_bytes([n; 16]),
        tenant: home(),
        owner: Owner::User(play::user("alice")),
        name: KeyName::new(&format!("{n}")).unwrap(),
        labels: Labels::new(),
        scopes: Scopes::All,
        digest: KeyDigest::from_text(&format!("sha256:{digits}")).unwrap(),
        previous: None,
        created_at: now(),
        created_by: context.actor.clone(),
        updated_at: now(),
        issued_at: now(),
        not_before: None,
        expires_at: None,
        status: Status::Active,
        created_revision: Revision::ZERO,
        revision: Revision::ZERO,
    };
    Commit {
        authority: Authority::System,
        event: AuditEntry::new(Action::KeyCreated, &context),
        change: Change::CreateKey {
            record,
            limits: Limits::default(),
        },
    }
}
