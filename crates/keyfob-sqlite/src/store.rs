//! The store.

use std::{path::Path, sync::Arc};

use futures_channel::oneshot;
use keyfob::{
    KeyId, KeyStore, Tenant, Timestamp,
    audit::{AuditEvent, TrailHead},
    gateway::{Usage, UsageBatch},
    key::{CredentialId, KeyFormat},
    legacy::{LegacyPolicy, LegacyRecord},
    manage::Policy,
    store::{
        AuditQuery, Changes, Commit, CommitError, KeyQuery, KeyRecord, LegacyQuery, LiveCount,
        NamespaceQuery, NamespaceRecord, Page, Revision, StoreError, Target, TargetPage,
        TargetQuery, UsageDay, UsageQuery, async_trait,
    },
};

use crate::{
    BackupError, CheckError, OpenError, Options,
    backup::back_up,
    check::{check, quick_check},
    error::Gone,
    feed,
    notify::ChangeNotifier,
    open::Source,
    queries,
    readers::Readers,
    snapshot::{head, key_format},
    targets, usage,
    writer::Writer,
};

/// Keys, audit trail and change feed in one `SQLite` file.
///
/// Clones are handles to the same store. Several processes on one machine may have the file open.
/// The futures need no runtime and block no thread: the store's own threads do the work. A call
/// whose future is dropped may have been carried out or not.
///
/// Dropping the last clone waits for the calls that were begun and stops the threads.
#[derive(Clone, Debug)]
pub struct SqliteStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    writer: Writer,
    readers: Readers,
    notifier: ChangeNotifier,
    source: Source,
}

impl SqliteStore {
    /// Opens the store in this file, creates it if there is none, and migrates its schema.
    ///
    /// This reads and writes the file before it returns.
    ///
    /// # Errors
    ///
    /// - the file is not a key store -> [`OpenError::Foreign`]
    /// - a later version of this library wrote it -> [`OpenError::Newer`]
    /// - it cannot be read or written -> [`OpenError::Io`], [`OpenError::Database`]
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::options().open(path)
    }

    /// Options for opening a store.
    pub fn options() -> Options {
        Options::default()
    }

    pub(crate) fn open_with(path: &Path, options: &Options) -> Result<Self, OpenError> {
        let source = Source::prepare(path, options.create, options.busy_timeout)?;
        let reader = || source.reader().map_err(OpenError::database);
        let watcher = reader()?;
        source.note_log(&watcher)?;
        let connections = (0..options.readers).map(|_| reader());
        let readers = Readers::start(connections.collect::<Result<_, _>>()?)?;
        let notifier = ChangeNotifier::start(source.clone(), watcher, options.interval)?;
        let on_commit = Box::new(notifier.on_commit());
        Ok(Self(Arc::new(Inner {
            writer: Writer::start(source.writer()?, on_commit)?,
            readers,
            notifier,
            source,
        })))
    }

    /// Copies the store to a new file while other calls go on. The copy is a consistent snapshot,
    /// and a store that can be opened.
    ///
    /// An index that follows the store notices when the copy takes the store's place:
    /// [`IndexError::Regressed`](keyfob::gateway::IndexError::Regressed). Then open a new keyring.
    ///
    /// # Security
    ///
    /// Only its owner can read the file, as the store's. It holds no secrets, but digests and
    /// names.
    ///
    /// # Errors
    ///
    /// - the path exists -> [`BackupError::Taken`]
    /// - the copy cannot be written -> [`BackupError::Io`], [`BackupError::Database`]
    pub async fn backup(&self, to: &Path) -> Result<(), BackupError> {
        let (source, to) = (self.0.source.clone(), to.to_owned());
        aside("keyfob-sqlite-backup", move || {
            source.check_place().map_err(BackupError::database)?;
            let from = source.reader().map_err(BackupError::database)?;
            back_up(&from, &to)
        })
        .await
        .map_err(BackupError::database)?
    }

    /// Checks the whole file: its structure, indexes and references, every record, and the audit
    /// trail from its start to its end.
    ///
    /// # Errors
    ///
    /// - the file is damaged -> [`CheckError::Damaged`]
    /// - it cannot be read -> [`CheckError::Database`]
    pub async fn check(&self) -> Result<(), CheckError> {
        let source = self.0.source.clone();
        aside("keyfob-sqlite-check", move || {
            source.check_place().map_err(CheckError::database)?;
            let mut connection = source.reader().map_err(CheckError::database)?;
            let moment = connection.transaction().map_err(CheckError::database)?;
            check(&moment)
        })
        .await
        .map_err(CheckError::database)?
    }
}

impl SqliteStore {
    /// Checks the structure of the file, without reading the content of every record and without
    /// comparing indexes: as fast as the file can be read.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub async fn quick_check(&self) -> Result<(), CheckError> {
        let source = self.0.source.clone();
        aside("keyfob-sqlite-check", move || {
            source.check_place().map_err(CheckError::database)?;
            let connection = source.reader().map_err(CheckError::database)?;
            quick_check(&connection)
        })
        .await
        .map_err(CheckError::database)?
    }
}

/// Does long work on a new thread.
async fn aside<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Box<dyn std::error::Error + Send + Sync>> {
    let (answer, answered) = oneshot::channel();
    std::thread::Builder::new().name(name.into()).spawn(|| {
        // The future may have been dropped.
        let _ = answer.send(work());
    })?;
    Ok(answered.await.map_err(|_| Gone)?)
}

#[async_trait]
impl KeyStore for SqliteStore {
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        // A commit to a file that was moved or deleted would be lost.
        self.0.source.check_place().map_err(StoreError::definite)?;
        let kept = self.0.writer.commit(commit.clone()).await?;
        // It may have been moved in the meantime.
        self.0.source.check_place().map_err(StoreError::unknown)?;
        Ok(kept)
    }

    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let tenant = tenant.clone();
        let read = move |connection: &_| queries::key(connection, &tenant, id);
        self.0.readers.read(read).await
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError> {
        let query = query.clone();
        let read = move |connection: &_| queries::keys(connection, &query);
        self.0.readers.read(read).await
    }

    async fn legacy(&self, query: &LegacyQuery) -> Result<Page<LegacyRecord>, StoreError> {
        let query = query.clone();
        let read = move |connection: &_| queries::legacy(connection, &query);
        self.0.readers.read(read).await
    }

    async fn namespaces(
        &self,
        query: &NamespaceQuery,
    ) -> Result<Page<NamespaceRecord>, StoreError> {
        let query = query.clone();
        let read = move |connection: &_| queries::namespaces(connection, &query);
        self.0.readers.read(read).await
    }

    async fn targets(&self, query: &TargetQuery) -> Result<TargetPage, StoreError> {
        let query = query.clone();
        let read = move |connection: &_| targets::targets(connection, &query);
        self.0.readers.read(read).await
    }

    async fn count_live(&self, target: &Target, at: Timestamp) -> Result<LiveCount, StoreError> {
        let target = target.clone();
        let read = move |connection: &_| targets::count_live(connection, &target, at);
        self.0.readers.read(read).await
    }

    async fn policy(&self, tenant: Option<&Tenant>) -> Result<Policy, StoreError> {
        let tenant = tenant.cloned();
        let read = move |connection: &_| queries::policy(connection, tenant.as_ref());
        self.0.readers.read(read).await
    }

    async fn legacy_policy(&self, tenant: Option<&Tenant>) -> Result<LegacyPolicy, StoreError> {
        let tenant = tenant.cloned();
        let read = move |connection: &_| queries::legacy_policy(connection, tenant.as_ref());
        self.0.readers.read(read).await
    }

    async fn policies(&self, tenants: &[Tenant]) -> Result<Vec<Policy>, StoreError> {
        let tenants = tenants.to_vec();
        let read = move |connection: &_| queries::policies(connection, &tenants);
        self.0.readers.read(read).await
    }

    async fn legacy_policies(&self, tenants: &[Tenant]) -> Result<Vec<LegacyPolicy>, StoreError> {
        let tenants = tenants.to_vec();
        let read = move |connection: &_| queries::legacy_policies(connection, &tenants);
        self.0.readers.read(read).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError> {
        let query = query.clone();
        let read = move |connection: &_| queries::audit(connection, &query);
        self.0.readers.read(read).await
    }

    async fn head(&self) -> Result<TrailHead, StoreError> {
        self.0.readers.read(head).await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.0.source.check_place().map_err(StoreError::definite)?;
        let read = move |connection: &_| feed::changes(connection, after, limit);
        self.0.readers.read(read).await
    }

    /// A commit of this process ends the wait at once, one of another process after the
    /// [interval](Options::with_interval).
    async fn wait_for_change(&self, after: Revision) -> Result<bool, StoreError> {
        loop {
            // First listen, then read: a commit in between is not missed.
            let changed = self.0.notifier.listen();
            self.0.source.check_place().map_err(StoreError::definite)?;
            let head = self.0.readers.read(head).await?;
            if head.revision != after {
                return Ok(true);
            }
            changed.await;
        }
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn key_format(&self) -> Result<Option<KeyFormat>, StoreError> {
        self.0.readers.read(key_format).await
    }

    async fn record_key_format(&self, format: &KeyFormat) -> Result<KeyFormat, StoreError> {
        self.0.source.check_place().map_err(StoreError::definite)?;
        self.0.writer.record_key_format(*format).await
    }

    async fn record_usage(&self, batch: &UsageBatch, now: Timestamp) -> Result<(), StoreError> {
        self.0.source.check_place().map_err(StoreError::definite)?;
        self.0.writer.record_usage(batch.clone(), now).await
    }

    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError> {
        let credentials = credentials.to_vec();
        let read = move |connection: &_| usage::usage(connection, &credentials);
        self.0.readers.read(read).await
    }

    async fn usage_days(&self, query: &UsageQuery) -> Result<Vec<UsageDay>, StoreError> {
        let query = query.clone();
        let read = move |connection: &_| usage::usage_days(connection, &query);
        self.0.readers.read(read).await
    }
}
