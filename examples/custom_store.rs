//! A store in a file of your own: `cargo run --example custom_store`.
//!
//! [`JournaledStore`] checks every change and answers every question from memory; the program
//! only says where entries go. Here each entry is a line of JSON in a file that only grows. It is
//! synchronized to the disk before the change is acknowledged, so no crash can take it back.
//!
//! One process may have the file open at a time. `cargo test --example custom_store` runs the
//! conformance suite over the store, and reopens it after each behaviour.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    env,
    error::Error,
    fs::{self, File},
    io::{Read, Write},
    path::Path,
    process,
};

use keyfob::{
    Access, Context, Keyring, NewKey, block_on, now,
    store::{Journal, JournalEntry, JournaledStore},
};

type Failure = Box<dyn Error + Send + Sync>;

/// A file with an entry in each line.
struct JsonLines(File);

impl Journal for JsonLines {
    fn append(&mut self, entry: &JournalEntry<'_>) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.0.write_all(&line)?;
        Ok(self.0.sync_data()?)
    }
}

/// Opens the store in a file, or creates an empty one.
///
/// A last line without its end is cut off: the crash that tore it came before the entry was
/// acknowledged. Any other line that cannot be read is an error.
fn open(path: &Path) -> Result<JournaledStore<JsonLines>, Failure> {
    let mut options = File::options();
    let mut file = options.read(true).append(true).create(true).open(path)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let line_end = text.iter().rposition(|byte| *byte == b'\n');
    text.truncate(line_end.map_or(0, |at| at + 1));
    file.set_len(text.len() as u64)?;
    file.sync_all()?;
    // A new file survives a crash once its folder is synchronized too.
    #[cfg(unix)]
    File::open(fs::canonicalize(path)?.parent().unwrap_or(path))?.sync_all()?;
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let entries: Result<Vec<_>, _> = lines.map(serde_json::from_slice).collect();
    Ok(JournaledStore::replay(JsonLines(file), entries?)?)
}

fn main() -> Result<(), Failure> {
    let path = env::temp_dir().join(format!("keyfob-{}.jsonl", process::id()));
    let keyring = block_on(Keyring::open(open(&path)?, "dof"))?;
    let new = NewKey::for_user("acme", "fn-7c2d", "alice", "laptop")?;
    let (key, info) = block_on(keyring.create(&Context::system(now()), new))?.into_parts();
    println!("created {}", keyring.format().key_id(info.id));
    drop(keyring);

    let length = fs::metadata(&path)?.len();
    println!("{} has {length} bytes, and no secret", path.display());

    let keyring = block_on(Keyring::open(open(&path)?, "dof"))?;
    let (header, access) = (key.bearer(), Access::to("fn-7c2d"));
    let verifier = keyring.verifier();
    let principal = verifier.verify_header(header.as_bytes(), &access, now())?;
    println!("verified {principal} after opening the file again");
    fs::remove_file(&path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        ops::Deref,
        path::PathBuf,
        sync::atomic::{AtomicU64, Ordering},
    };

    use keyfob::{
        KeyId, KeyStore, Timestamp,
        key::KeyFormat,
        name::{KeyName, TeamId},
        store::{Change, Commit, CommitError, KeyQuery, Revision},
    };

    use super::*;

    /// A file that is removed with this value.
    struct TemporaryFile(PathBuf);

    impl TemporaryFile {
        fn new() -> Self {
            static NEXT: AtomicU64 = AtomicU64::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("keyfob-test-{}-{number}.jsonl", process::id());
            Self(env::temp_dir().join(name))
        }

        fn open(&self) -> Result<JournaledStore<JsonLines>, Failure> {
            open(&self.0)
        }

        fn bytes(&self) -> Vec<u8> {
            fs::read(&self.0).unwrap()
        }

        /// Where the last line begins.
        fn last_line(&self) -> usize {
            let bytes = self.bytes();
            let mut before = bytes[..bytes.len() - 1].iter();
            before.rposition(|byte| *byte == b'\n').unwrap() + 1
        }

        fn last_commit(&self) -> Commit {
            let line = &self.bytes()[self.last_line()..];
            match serde_json::from_slice(line).unwrap() {
                JournalEntry::Commit(commit) => commit.into_owned(),
                other => panic!("not a commit: {other:?}"),
            }
        }

        fn create_key(&self, name: &str) {
            let new = NewKey::for_user("acme", "fn-7c2d", "alice", name).unwrap();
            let context = Context::system(Timestamp::UNIX_EPOCH);
            let keyring = block_on(Keyring::open(self.open().unwrap(), "dof")).unwrap();
            block_on(keyring.create(&context, new)).unwrap();
        }

        fn names(&self) -> Vec<String> {
            let query = KeyQuery::team(TeamId::new("acme").unwrap());
            let page = block_on(self.open().unwrap().keys(&query)).unwrap();
            let names = page.items.iter().map(|record| record.name.to_string());
            names.collect()
        }
    }

    impl Drop for TemporaryFile {
        fn drop(&mut self) {
            fs::remove_file(&self.0).unwrap();
        }
    }

    /// A store in a temporary file.
    struct TemporaryStore {
        store: JournaledStore<JsonLines>,
        file: TemporaryFile,
    }

    impl TemporaryStore {
        fn new() -> Self {
            Self::open(TemporaryFile::new())
        }

        fn open(file: TemporaryFile) -> Self {
            let store = file.open().unwrap();
            Self { store, file }
        }

        /// Closes the file, and opens it again.
        fn reopened(self) -> Self {
            let Self { store, file } = self;
            drop(store);
            Self::open(file)
        }
    }

    impl Deref for TemporaryStore {
        type Target = JournaledStore<JsonLines>;

        fn deref(&self) -> &Self::Target {
            &self.store
        }
    }

    keyfob_conformance::suite!(
        store = TemporaryStore::new(),
        reopen = |store| store.reopened()
    );

    #[test]
    fn a_torn_last_line_is_cut_off_and_the_rest_stays() {
        let file = TemporaryFile::new();
        file.create_key("first");
        let one = file.bytes();
        file.create_key("second");
        let two = file.bytes();
        for torn in one.len()..two.len() {
            fs::write(&file.0, &two[..torn]).unwrap();
            assert_eq!(file.names(), ["first"], "torn at {torn}");
            assert_eq!(file.bytes(), one);
        }
        file.create_key("third");
        assert_eq!(file.names(), ["first", "third"]);
    }

    #[test]
    fn a_line_that_does_not_fit_is_an_error() {
        let file = TemporaryFile::new();
        file.create_key("first");
        let whole = file.bytes();
        let line = &whole[file.last_line()..];
        for bad in [&b"{}\n"[..], b"\0\n", &[&whole[..], line].concat()] {
            fs::write(&file.0, bad).unwrap();
            assert!(file.open().is_err());
            assert_eq!(file.bytes(), bad, "nothing is cut off");
        }
    }

    #[test]
    fn a_refused_commit_writes_nothing() {
        let file = TemporaryFile::new();
        file.create_key("first");
        let (before, commit) = (file.bytes(), file.last_commit());
        assert!(block_on(file.open().unwrap().commit(&commit)).is_err());
        assert_eq!(file.bytes(), before);
    }

    #[test]
    fn nothing_is_kept_after_a_failed_write() {
        let file = TemporaryFile::new();
        file.create_key("first");
        let mut commit = file.last_commit();
        if let Change::CreateKey { record, .. } = &mut commit.change {
            record.id = KeyId::from_bytes([7; 16]);
            record.name = KeyName::new("second").unwrap();
        }
        let lines = file.bytes();
        let entries = lines.split_inclusive(|byte| *byte == b'\n');
        let entries = entries.map(|line| serde_json::from_slice(line).unwrap());
        // A handle that cannot be written to.
        let handle = JsonLines(File::open(&file.0).unwrap());
        let store = JournaledStore::replay(handle, entries).unwrap();
        for definite in [false, true] {
            let Err(CommitError::Store(error)) = block_on(store.commit(&commit)) else {
                panic!("a write to a handle for reading");
            };
            assert_eq!(error.is_definite(), definite);
        }
        let changes = block_on(store.changes(Revision::ZERO, 10)).unwrap();
        assert_eq!(changes.last_revision(), Revision::new(1));
        assert_eq!(file.names(), ["first"]);
    }

    #[test]
    fn the_format_of_the_keys_is_kept_and_no_other_is_accepted() {
        let file = TemporaryFile::new();
        block_on(Keyring::open(file.open().unwrap(), "dof")).unwrap();
        let format = block_on(file.open().unwrap().key_format()).unwrap();
        assert_eq!(format, Some(KeyFormat::new("dof").unwrap()));
        let before = file.bytes();
        block_on(Keyring::open(file.open().unwrap(), "acme")).unwrap_err();
        block_on(Keyring::open(file.open().unwrap(), "dof")).unwrap();
        assert_eq!(file.bytes(), before, "one line is enough");
    }
}
