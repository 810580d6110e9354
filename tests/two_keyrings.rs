//! Two keyrings over one store: an answer says that a change is in force in the verifier of the
//! keyring that gives it, also if the other keyring made the change.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use keyfob::{
    Access, Context, DenyReason, KeyId, KeyStore, Keyring, MemoryStore, NewKey, Tenant, Timestamp,
    audit::{AuditEvent, TrailHead},
    block_on,
    gateway::{Usage, UsageBatch},
    key::{CredentialId, KeyFormat, Peppers},
    legacy::{LegacyId, LegacyPolicy, LegacyRecord, read_subjects},
    manage::{Error, Policy, Status},
    name::TeamId,
    store::{
        AuditQuery, Changes, Commit, CommitError, KeyQuery, KeyRecord, LegacyQuery, LiveCount,
        NamespaceQuery, NamespaceRecord, Page, Revision, StoreError, Target, TargetPage,
        TargetQuery, UsageDay, UsageQuery, async_trait,
    },
};

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

/// A store whose change feed cannot be read while it is `cut_off`; everything else works.
struct Feedless {
    store: Arc<dyn KeyStore>,
    cut_off: AtomicBool,
    /// What happens once, between reading a page of the feed and returning it.
    meanwhile: Mutex<Option<Meanwhile>>,
}

type Meanwhile = Box<dyn FnOnce(&dyn KeyStore) + Send>;

#[async_trait]
impl KeyStore for Feedless {
    async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        self.store.commit(commit).await
    }

    async fn key(&self, tenant: &Tenant, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.store.key(tenant, id).await
    }

    async fn keys(&self, query: &KeyQuery) -> Result<Page<KeyRecord>, StoreError> {
        self.store.keys(query).await
    }

    async fn legacy(&self, query: &LegacyQuery) -> Result<Page<LegacyRecord>, StoreError> {
        self.store.legacy(query).await
    }

    async fn namespaces(
        &self,
        query: &NamespaceQuery,
    ) -> Result<Page<NamespaceRecord>, StoreError> {
        self.store.namespaces(query).await
    }

    async fn targets(&self, query: &TargetQuery) -> Result<TargetPage, StoreError> {
        self.store.targets(query).await
    }

    async fn count_live(&self, target: &Target, at: Timestamp) -> Result<LiveCount, StoreError> {
        self.store.count_live(target, at).await
    }

    async fn policy(&self, tenant: Option<&Tenant>) -> Result<Policy, StoreError> {
        self.store.policy(tenant).await
    }

    async fn legacy_policy(&self, tenant: Option<&Tenant>) -> Result<LegacyPolicy, StoreError> {
        self.store.legacy_policy(tenant).await
    }

    async fn policies(&self, tenants: &[Tenant]) -> Result<Vec<Policy>, StoreError> {
        self.store.policies(tenants).await
    }

    async fn legacy_policies(&self, tenants: &[Tenant]) -> Result<Vec<LegacyPolicy>, StoreError> {
        self.store.legacy_policies(tenants).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<Page<AuditEvent>, StoreError> {
        self.store.audit(query).await
    }

    async fn head(&self) -> Result<TrailHead, StoreError> {
        self.store.head().await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        if self.cut_off.load(Ordering::SeqCst) {
            return Err(StoreError::definite("the feed cannot be read"));
        }
        let page = self.store.changes(after, limit).await;
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile(&*self.store);
        }
        page
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn key_format(&self) -> Result<Option<KeyFormat>, StoreError> {
        self.store.key_format().await
    }

    async fn record_key_format(&self, format: &KeyFormat) -> Result<KeyFormat, StoreError> {
        self.store.record_key_format(format).await
    }

    async fn record_usage(&self, batch: &UsageBatch, now: Timestamp) -> Result<(), StoreError> {
        self.store.record_usage(batch, now).await
    }

    async fn usage(&self, credentials: &[CredentialId]) -> Result<Vec<Usage>, StoreError> {
        self.store.usage(credentials).await
    }

    async fn usage_days(&self, query: &UsageQuery) -> Result<Vec<UsageDay>, StoreError> {
        self.store.usage_days(query).await
    }
}

/// Two keyrings over one store, the second of which may be cut off from the feed.
struct Pair {
    first: Keyring,
    second: Keyring,
    store: Arc<Feedless>,
    text: String,
    id: KeyId,
}

impl Pair {
    /// Both keyrings accept alice's key and the legacy credential.
    fn new() -> Self {
        let memory: Arc<dyn KeyStore> = Arc::new(MemoryStore::new());
        let store = Arc::new(Feedless {
            store: Arc::clone(&memory),
            cut_off: AtomicBool::new(false),
            meanwhile: Mutex::new(None),
        });
        let first = block_on(Keyring::open(memory, "dof")).unwrap();
        let context = Context::system(NOW);
        let new = NewKey::for_user("acme", "guest", "alice", "laptop").unwrap();
        let (secret, info) = block_on(first.create(&context, new)).unwrap().into_parts();
        let (uuid, key) = GUEST.split_once(':').unwrap();
        let line = format!(
            r#"{{"subject": "guest", "namespaces": [{{"name": "guest", "uuid": "{uuid}", "key": "{key}"}}]}}"#
        );
        let import = read_subjects(&line, &context, &Peppers::none(), |_| {
            TeamId::new("acme").ok()
        });
        for record in import.records {
            block_on(first.import_legacy(&context, record)).unwrap();
        }
        let policy = LegacyPolicy::until(NOW.plus_seconds(1_000));
        block_on(first.set_legacy_policy(&context, None, Some(policy))).unwrap();
        let second = block_on(Keyring::open(Arc::clone(&store), "dof")).unwrap();
        let pair = Self {
            first,
            second,
            store,
            text: secret.expose().to_owned(),
            id: info.id,
        };
        for text in [&pair.text, GUEST] {
            assert_eq!(pair.verdict_of_second(text), Ok(()));
        }
        pair
    }

    fn cut_off(&self, cut_off: bool) {
        self.store.cut_off.store(cut_off, Ordering::SeqCst);
    }

    /// The verdict of the second keyring's verifier, however old its index is.
    fn verdict_of_second(&self, text: &str) -> Result<(), DenyReason> {
        let verifier = self.second.unbounded_verifier();
        let verdict = verifier.verify_text(text.as_bytes(), &Access::to("guest"), NOW);
        verdict.map(drop).map_err(|denied| denied.reason())
    }

    fn change(&self, keyring: &Keyring, change: Change) -> Result<(), Error> {
        let (context, tenant) = (Context::system(NOW), tenant());
        match change {
            Change::Revoke => block_on(keyring.revoke(&context, &tenant, self.id, None)).map(drop),
            Change::Disable => {
                block_on(keyring.disable(&context, &tenant, self.id, None)).map(drop)
            }
            Change::RevokeLegacy => {
                let (uuid, _) = GUEST.split_once(':').unwrap();
                let id = LegacyId::parse(uuid.as_bytes()).unwrap();
                block_on(keyring.revoke_legacy(&context, &tenant, id))
            }
        }
    }

    fn status(&self) -> Status {
        let record = block_on(self.store.key(&tenant(), self.id)).unwrap();
        record.unwrap().status
    }
}

fn tenant() -> Tenant {
    Tenant::parse("acme", "guest").unwrap()
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Revoke,
    Disable,
    RevokeLegacy,
}

impl Change {
    const ALL: [Self; 3] = [Self::Revoke, Self::Disable, Self::RevokeLegacy];

    /// The credential that it is about, and its verdict afterwards.
    fn expected(self, pair: &Pair) -> (String, Result<(), DenyReason>) {
        match self {
            Self::Revoke => (pair.text.clone(), Err(DenyReason::Revoked)),
            Self::Disable => (pair.text.clone(), Err(DenyReason::Disabled)),
            Self::RevokeLegacy => (GUEST.to_owned(), Err(DenyReason::Revoked)),
        }
    }
}

#[test]
fn a_change_that_another_keyring_made_is_in_force_when_it_is_confirmed() {
    for change in Change::ALL {
        let pair = Pair::new();
        let (text, expected) = change.expected(&pair);
        pair.change(&pair.first, change).unwrap();
        // The second keyring has not read it yet.
        assert_eq!(pair.verdict_of_second(&text), Ok(()), "{change:?}");
        pair.change(&pair.second, change).unwrap();
        assert_eq!(pair.verdict_of_second(&text), expected, "{change:?}");
        let events = block_on(pair.first.audit(&AuditQuery::every_team())).unwrap();
        assert_eq!(events.items.len(), 4, "{change:?}: one event of the change");
    }
}

#[test]
fn a_change_that_cannot_be_read_is_not_confirmed() {
    for change in Change::ALL {
        let pair = Pair::new();
        let (text, expected) = change.expected(&pair);
        pair.change(&pair.first, change).unwrap();
        pair.cut_off(true);
        let error = pair.change(&pair.second, change).unwrap_err();
        assert!(matches!(error, Error::NotSynced(_)), "{change:?}: {error}");
        assert_eq!(error.status(), 503);
        assert_eq!(pair.verdict_of_second(&text), Ok(()), "{change:?}");
        pair.cut_off(false);
        pair.change(&pair.second, change).unwrap();
        assert_eq!(pair.verdict_of_second(&text), expected, "{change:?}");
    }
}

#[test]
fn a_change_that_cannot_be_read_after_its_commit_is_kept() {
    for change in Change::ALL {
        let pair = Pair::new();
        let (text, expected) = change.expected(&pair);
        pair.cut_off(true);
        let error = pair.change(&pair.second, change).unwrap_err();
        let is_applied = matches!(error, Error::AppliedNotSynced(_));
        assert!(is_applied, "{change:?}: {error}");
        assert_eq!(error.status(), 503);
        match change {
            Change::Revoke => assert!(matches!(pair.status(), Status::Revoked(_))),
            Change::Disable => assert_eq!(pair.status(), Status::Disabled),
            Change::RevokeLegacy => {
                let query = LegacyQuery::every_team();
                let page = block_on(pair.store.legacy(&query)).unwrap();
                assert!(page.items[0].revoked.is_some());
            }
        }
        assert_eq!(pair.verdict_of_second(&text), Ok(()), "{change:?}");
        // A repeated call says the same until the store can be read.
        let error = pair.change(&pair.second, change).unwrap_err();
        assert!(matches!(error, Error::NotSynced(_)), "{change:?}: {error}");
        pair.cut_off(false);
        pair.change(&pair.second, change).unwrap();
        assert_eq!(pair.verdict_of_second(&text), expected, "{change:?}");
    }
}

/// A replica ends its process when the feed does not advance, so that must not be reported in
/// error.
#[test]
fn a_page_that_another_task_overtook_is_read_again() {
    let Pair {
        first,
        second,
        store,
        ..
    } = Pair::new();
    let (index, context) = (Arc::clone(second.index()), Context::system(NOW));
    let reached = index.as_of();
    *store.meanwhile.lock().unwrap() = Some(Box::new(move |store| {
        let new = NewKey::for_user("acme", "guest", "bob", "phone").unwrap();
        block_on(first.create(&context, new)).unwrap();
        // A slow task reads a page that the index has, and learns of the new revision.
        let page = block_on(store.changes(Revision::ZERO, 1)).unwrap();
        assert!(page.more && page.last_revision() > reached);
        index.apply(&page, NOW).unwrap();
        assert_eq!(index.as_of(), reached);
    }));
    let synced = block_on(second.sync(NOW)).unwrap();
    assert_eq!(synced, reached.next());
}
