//! A store of one's own: every commit is a line of JSON in a file that only grows.
//!
//! [`StoreState`] judges and answers; the file makes it last. A commit is judged first, then
//! written and synchronised, then kept in memory, so that nothing is acknowledged that a crash
//! could take back. Usage is kept in memory only: losing some counts is no loss of safety.
//!
//! One process may have the file open at a time. Try it with `cargo run --example custom_store`;
//! `cargo test --example custom_store` runs the conformance suite over it.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    env,
    error::Error,
    fs, io,
    io::{Read, Write},
    path::Path,
    process,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use keyfob::{
    Access, Actor, Context, KeyId, KeyStore, Keyring, NewKey, Owner, Tenant, Timestamp, Verifier,
    audit::AuditEvent,
    block_on,
    gateway::{Index, Usage},
    key::{CredentialId, KeyFormat},
    legacy::{LegacyPolicy, LegacyRecord},
    manage::Policy,
    name::{KeyName, NamespaceId, TeamId, UserId},
    store::{
        AuditQuery, Changes, Commit, CommitError, KeyQuery, KeyRecord, LegacyQuery, NamespaceQuery,
        NamespaceRecord, Page, Revision, StoreError, StoreState,
    },
};

/// A store in one file.
struct FileStore {
    kept: Mutex<Kept>,
}

struct Kept {
    state: StoreState,
    file: fs::File,
    /// Whether a write failed: what the file ends with is unknown until it is opened anew.
    failed: bool,
}

impl FileStore {
    /// Opens a store, or makes an empty one. A last line that a crash tore is cut off: its
    /// commit was never acknowledged. Any other line that does not fit is an error.
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = fs::File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n');
        let whole = whole.map_or(0, |at| at + 1);
        file.set_len(whole as u64)?;
        file.sync_all()?;
        // A new file lasts once its folder knows it.
        #[cfg(unix)]
        fs::File::open(fs::canonicalize(path)?.parent().unwrap_or(path))?.sync_all()?;

        let mut state = StoreState::new();
        for line in text[..whole].split_inclusive(|byte| *byte == b'\n') {
            let commit: Commit = serde_json::from_slice(line)?;
            state.commit(&commit).map_err(io::Error::other)?;
        }
        Ok(Self {
            kept: Mutex::new(Kept {
                state,
                file,
                failed: false,
            }),
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Writes a line, and returns once it lasts.
    fn append(&mut self, commit: &Commit) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::definite("an earlier write failed; open anew"));
        }
        let mut line = serde_json::to_vec(commit).map_err(StoreError::definite)?;
        line.push(b'\n');
        self.failed = true;
        self.file.write_all(&line).map_err(StoreError::unknown)?;
        self.file.sync_data().map_err(StoreError::unknown)?;
        self.failed = false;
        Ok(())
    }
}

impl KeyStore for FileStore {
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        let mut kept = self.kept();
        kept.state.decide(commit)?;
        kept.append(commit)?;
        Ok(kept.state.commit(commit)?)
    }

    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        Ok(self.kept().state.key(tenant, id))
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError> {
        Ok(self.kept().state.keys(query))
    }

    async fn namespaces(
        &self,
        query: &NamespaceQuery,
    ) -> Result<Page<NamespaceRecord>, StoreError> {
        Ok(self.kept().state.namespaces(query))
    }

    async fn legacy(&self, query: &LegacyQuery) -> Result<Page<LegacyRecord>, StoreError> {
        Ok(self.kept().state.legacy(query))
    }

    async fn policy(&self, tenant: &Tenant) -> Result<Policy, StoreError> {
        Ok(self.kept().state.policy(tenant))
    }

    async fn legacy_policy(&self, tenant: &Tenant) -> Result<LegacyPolicy, StoreError> {
        Ok(self.kept().state.legacy_policy(tenant))
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError> {
        Ok(self.kept().state.audit(query))
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        Ok(self.kept().state.changes(after, limit))
    }

    async fn record_usage(&self, batch: &[Usage]) -> Result<(), StoreError> {
        self.kept().state.record_usage(batch);
        Ok(())
    }

    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError> {
        Ok(self.kept().state.usage(credentials))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::temp_dir().join(format!("keyfob-{}.jsonl", process::id()));
    let format = KeyFormat::new("dof")?;
    let now = Timestamp::from(time::OffsetDateTime::now_utc());
    let alice = UserId::new("alice")?;
    let tenant = Tenant::new(TeamId::new("acme")?, NamespaceId::new("fn-7c2d")?);

    let keyring = Keyring::new(FileStore::open(&path)?, format);
    let new = NewKey::new(tenant, Owner::User(alice.clone()), KeyName::new("laptop")?);
    let (key, info) = block_on(keyring.create(&Context::new(Actor::user(alice), now), new))?;
    println!(
        "created {} at revision {}",
        format.key_id(info.id),
        info.revision
    );
    drop(keyring);

    let length = fs::metadata(&path)?.len();
    println!("{} holds {length} bytes, and no secret", path.display());

    let store = FileStore::open(&path)?;
    let index = Arc::new(Index::new());
    block_on(index.follow(&store))?;
    let verifier = Verifier::new(index, format);
    let header = format!("Bearer {}", key.expose());
    let principal = verifier.verify_header(header.as_bytes(), &Access::to("fn-7c2d"), now)?;
    let id = format.credential_id(principal.credential());
    println!("verified {id} after opening anew");
    fs::remove_file(&path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        ops::Deref,
        path::PathBuf,
        sync::atomic::{AtomicU64, Ordering},
        thread,
    };

    use super::*;

    /// A file of its own, which goes with this value.
    struct TemporaryFile(PathBuf);

    impl TemporaryFile {
        fn new() -> Self {
            static NEXT: AtomicU64 = AtomicU64::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("keyfob-test-{}-{number}.jsonl", process::id());
            Self(env::temp_dir().join(name))
        }

        fn open(&self) -> io::Result<FileStore> {
            FileStore::open(&self.0)
        }

        fn bytes(&self) -> Vec<u8> {
            fs::read(&self.0).unwrap()
        }

        fn create_key(&self, name: &str) {
            let tenant = Tenant::new(
                TeamId::new("acme").unwrap(),
                NamespaceId::new("fn-7c2d").unwrap(),
            );
            let owner = Owner::User(UserId::new("alice").unwrap());
            let new = NewKey::new(tenant, owner, KeyName::new(name).unwrap());
            let context = Context::new(Actor::system(), Timestamp::UNIX_EPOCH);
            let keyring = Keyring::new(self.open().unwrap(), KeyFormat::new("dof").unwrap());
            block_on(keyring.create(&context, new)).unwrap();
        }

        fn names(&self) -> Vec<String> {
            let query = KeyQuery::team(TeamId::new("acme").unwrap());
            let page = self.open().unwrap().kept().state.keys(&query);
            let names = page.items.iter().map(|record| record.name.to_string());
            names.collect()
        }
    }

    impl Drop for TemporaryFile {
        fn drop(&mut self) {
            fs::remove_file(&self.0).unwrap();
        }
    }

    /// An empty store in a temporary file. When it goes, the file must give the same store.
    struct TemporaryStore {
        store: FileStore,
        file: TemporaryFile,
    }

    impl TemporaryStore {
        fn new() -> Self {
            let file = TemporaryFile::new();
            let store = file.open().unwrap();
            Self { store, file }
        }
    }

    impl Deref for TemporaryStore {
        type Target = FileStore;

        fn deref(&self) -> &FileStore {
            &self.store
        }
    }

    impl Drop for TemporaryStore {
        fn drop(&mut self) {
            if !thread::panicking() {
                let reopened = self.file.open().unwrap();
                assert_eq!(everything(&reopened), everything(&self.store));
            }
        }
    }

    /// The whole feed and the last page of the trail, whose hash covers what is before.
    fn everything(store: &FileStore) -> String {
        let state = &store.kept().state;
        let changes = state.changes(Revision::ZERO, usize::MAX);
        let mut query = AuditQuery::every_team();
        loop {
            let page = state.audit(&query);
            match page.next {
                Some(next) => query.after = Some(next),
                None => return serde_json::to_string(&(changes, page.items)).unwrap(),
            }
        }
    }

    keyfob_conformance::suite!(TemporaryStore::new());

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
        let line = file.bytes();
        for bad in [&b"{}\n"[..], b"\0\n", &[&line[..], &line[..]].concat()] {
            fs::write(&file.0, bad).unwrap();
            assert!(file.open().is_err());
            assert_eq!(file.bytes(), bad, "nothing is cut off");
        }
    }

    #[test]
    fn a_refused_commit_writes_nothing() {
        let file = TemporaryFile::new();
        file.create_key("first");
        let before = file.bytes();
        let commit: Commit = serde_json::from_slice(&before).unwrap();
        assert!(block_on(file.open().unwrap().commit(&commit)).is_err());
        assert_eq!(file.bytes(), before);
    }

    #[test]
    fn no_commit_is_kept_after_a_failed_write() {
        let file = TemporaryFile::new();
        file.create_key("first");
        let mut commit: Commit = serde_json::from_slice(&file.bytes()).unwrap();
        if let keyfob::store::Change::CreateKey { record, .. } = &mut commit.change {
            record.id = KeyId::from_bytes([7; 16]);
            record.name = KeyName::new("second").unwrap();
        }
        let store = file.open().unwrap();
        // A handle that cannot be written to.
        store.kept().file = fs::File::open(&file.0).unwrap();
        for definite in [false, true] {
            let Err(CommitError::Store(error)) = block_on(store.commit(&commit)) else {
                panic!("a write to a handle for reading");
            };
            assert_eq!(error.is_definite(), definite);
        }
        assert_eq!(store.kept().state.revision(), Revision::new(1));
        assert_eq!(file.names(), ["first"]);
    }
}
