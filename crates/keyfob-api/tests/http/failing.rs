//! A store that fails, or violates its contract, on demand.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
};

use keyfob::{
    KeyId, KeyStore, MemoryStore, Tenant, Timestamp,
    audit::{AuditEvent, TrailHead},
    gateway::{Usage, UsageBatch},
    key::{CredentialId, KeyFormat},
    legacy::{LegacyPolicy, LegacyRecord},
    manage::{Authority, Policy},
    store::{
        AuditQuery, Change, Changes, Commit, CommitError, KeyQuery, KeyRecord, LegacyQuery,
        LiveCount, NamespaceQuery, NamespaceRecord, Page, Revision, StoreError, Target, TargetPage,
        TargetQuery, UsageDay, UsageQuery, async_trait,
    },
};

/// How the store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fault {
    None,
    /// Every call fails, and changes nothing.
    Definite,
    /// A change is committed, and the response is lost.
    Unknown,
    /// The change feed cannot be read.
    Feed,
    /// A change is committed, and a later call fails: see [`Failing::fail_after_commit`].
    AfterCommit,
    /// Every call yields to other tasks first.
    Slow,
    /// The authority of a change is not checked.
    NoAuthority,
    /// The next change of a key is preceded by another change of it, by another process.
    Overtaken,
}

#[derive(Debug, Default)]
pub(crate) struct Switch(AtomicU8);

impl Switch {
    pub(crate) fn store(&self, fault: Fault) {
        self.0.store(fault as u8, Ordering::SeqCst);
    }

    fn is(&self, fault: Fault) -> bool {
        self.0.load(Ordering::SeqCst) == fault as u8
    }
}

pub(crate) struct Failing {
    inner: Arc<dyn KeyStore>,
    /// Whether the store says that other processes can change it.
    shared: AtomicBool,
    pub(crate) fault: Switch,
    /// How many calls succeed after a commit, and whether more than one fails then.
    later: Mutex<Later>,
    /// How often a page of keys was read.
    pub(crate) pages: AtomicU32,
    /// How often usage by day was read.
    pub(crate) usage_days: AtomicU32,
}

#[derive(Clone, Copy, Default)]
struct Later {
    committed: bool,
    succeed: u32,
    keeps_failing: bool,
}

impl Default for Failing {
    fn default() -> Self {
        Self::over(Arc::new(MemoryStore::new()))
    }
}

impl Failing {
    pub(crate) fn over(inner: Arc<dyn KeyStore>) -> Self {
        Self {
            shared: AtomicBool::new((*inner).is_shared()),
            inner,
            fault: Switch::default(),
            later: Mutex::default(),
            pages: AtomicU32::new(0),
            usage_days: AtomicU32::new(0),
        }
    }

    /// Lets this many calls succeed after the next commit; then one fails, or all.
    pub(crate) fn fail_after_commit(&self, succeed: u32, keeps_failing: bool) {
        *self.later.lock().unwrap() = Later {
            committed: false,
            succeed,
            keeps_failing,
        };
        self.fault.store(Fault::AfterCommit);
    }

    /// Whether the next call fails.
    fn fails_now(&self) -> bool {
        if self.fault.is(Fault::AfterCommit) {
            let mut later = self.later.lock().unwrap();
            if !later.committed {
                return false;
            }
            if later.succeed > 0 {
                later.succeed -= 1;
                return false;
            }
            self.fault.store(if later.keeps_failing {
                Fault::Definite
            } else {
                Fault::None
            });
            return true;
        }
        self.fault.is(Fault::Definite)
    }

    pub(crate) fn shared(self) -> Self {
        self.shared.store(true, Ordering::SeqCst);
        self
    }

    /// Changes the key of a commit before the commit.
    async fn overtake(&self, commit: &Commit) -> Result<(), CommitError> {
        let (tenant, id) = match &commit.change {
            Change::ReplaceKey { record, .. } => (&record.tenant, record.id),
            Change::DeleteKey { tenant, id, .. } => (tenant, *id),
            _ => return Ok(()),
        };
        self.fault.store(Fault::None);
        let record = self.inner.key(tenant, id).await?.expect("the key exists");
        let change = Change::ReplaceKey {
            expected: record.revision,
            unique_name: false,
            record,
        };
        let authority = Authority::System;
        let overtaking = Commit {
            change,
            authority,
            event: commit.event.clone(),
        };
        self.inner.commit(&overtaking).await.map(drop)
    }

    async fn reading(&self) -> Result<&dyn KeyStore, StoreError> {
        if self.fault.is(Fault::Slow) {
            tokio::task::yield_now().await;
        }
        if self.fails_now() {
            Err(StoreError::definite("as it was told"))
        } else {
            Ok(&*self.inner)
        }
    }
}

#[async_trait]
impl KeyStore for Failing {
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        let mut commit = commit.clone();
        if self.fault.is(Fault::NoAuthority) {
            commit.authority = Authority::System;
        }
        if self.fault.is(Fault::Overtaken) {
            self.overtake(&commit).await?;
        }
        let revision = self.reading().await?.commit(&commit).await?;
        if self.fault.is(Fault::Unknown) {
            return Err(StoreError::unknown("as it was told").into());
        }
        self.later.lock().unwrap().committed = true;
        Ok(revision)
    }

    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.reading().await?.key(tenant, id).await
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError> {
        self.pages.fetch_add(1, Ordering::SeqCst);
        self.reading().await?.keys(query).await
    }

    async fn legacy(&self, query: &LegacyQuery) -> Result<Page<LegacyRecord>, StoreError> {
        self.reading().await?.legacy(query).await
    }

    async fn namespaces(
        &self,
        query: &NamespaceQuery,
    ) -> Result<Page<NamespaceRecord>, StoreError> {
        self.reading().await?.namespaces(query).await
    }

    async fn targets(&self, query: &TargetQuery) -> Result<TargetPage, StoreError> {
        self.reading().await?.targets(query).await
    }

    async fn count_live(&self, target: &Target, at: Timestamp) -> Result<LiveCount, StoreError> {
        self.reading().await?.count_live(target, at).await
    }

    async fn policy(&self, tenant: Option<&Tenant>) -> Result<Policy, StoreError> {
        self.reading().await?.policy(tenant).await
    }

    async fn legacy_policy(&self, tenant: Option<&Tenant>) -> Result<LegacyPolicy, StoreError> {
        self.reading().await?.legacy_policy(tenant).await
    }

    async fn policies(&self, tenants: &[Tenant]) -> Result<Vec<Policy>, StoreError> {
        self.reading().await?.policies(tenants).await
    }

    async fn legacy_policies(&self, tenants: &[Tenant]) -> Result<Vec<LegacyPolicy>, StoreError> {
        self.reading().await?.legacy_policies(tenants).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError> {
        self.reading().await?.audit(query).await
    }

    async fn head(&self) -> Result<TrailHead, StoreError> {
        self.reading().await?.head().await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        if self.fault.is(Fault::Feed) {
            return Err(StoreError::definite("as it was told"));
        }
        self.reading().await?.changes(after, limit).await
    }

    fn is_shared(&self) -> bool {
        self.shared.load(Ordering::SeqCst)
    }

    async fn key_format(&self) -> Result<Option<KeyFormat>, StoreError> {
        self.reading().await?.key_format().await
    }

    async fn record_key_format(&self, format: &KeyFormat) -> Result<KeyFormat, StoreError> {
        self.reading().await?.record_key_format(format).await
    }

    async fn record_usage(&self, batch: &UsageBatch, now: Timestamp) -> Result<(), StoreError> {
        self.reading().await?.record_usage(batch, now).await
    }

    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError> {
        self.reading().await?.usage(credentials).await
    }

    async fn usage_days(&self, query: &UsageQuery) -> Result<Vec<UsageDay>, StoreError> {
        self.usage_days.fetch_add(1, Ordering::SeqCst);
        self.reading().await?.usage_days(query).await
    }
}
