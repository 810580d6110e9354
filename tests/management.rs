//! Empty namespaces, the tenant of a credential, and the purge of keys that expired or were revoked
//! long ago.

use keyfob::{
    Actor, Context, Expiry, KeyId, Keyring, MemoryStore, NewKey, Owner, Tenant, Timestamp, Ttl,
    audit::Action,
    block_on,
    key::{CredentialId, Peppers},
    legacy::{LegacyId, read_subjects},
    manage::{self, Policy},
    name::{KeyName, NamespaceId, TeamId, UserId},
    store::{AuditQuery, Conflict, KeyQuery, NamespaceQuery},
};

const START: Timestamp = Timestamp::from_unix(1_800_000_000);
const DAY: u64 = 86_400;

fn keyring() -> Keyring {
    block_on(Keyring::open(MemoryStore::new(), "dof")).unwrap()
}

fn team(name: &str) -> TeamId {
    TeamId::new(name).unwrap()
}

fn tenant(team: &str, namespace: &str) -> Tenant {
    Tenant::new(self::team(team), NamespaceId::new(namespace).unwrap())
}

fn after(days: u64) -> Context {
    Context::new(Actor::system(), START.plus_seconds(days * DAY))
}

/// Creates alice's key with this name at `START`.
fn create(keyring: &Keyring, tenant: &Tenant, name: &str, expiry: Expiry) -> KeyId {
    let owner = Owner::User(UserId::new("alice").unwrap());
    let new = NewKey::new(tenant.clone(), owner, KeyName::new(name).unwrap());
    let created = block_on(keyring.create(&after(0), new.with_expiry(expiry)));
    created.unwrap().info.id
}

fn names(keyring: &Keyring, team: &str) -> Vec<String> {
    let page = block_on(keyring.list(&KeyQuery::team(self::team(team)))).unwrap();
    page.items
        .iter()
        .map(|info| info.name.to_string())
        .collect()
}

#[test]
fn a_namespace_can_be_created_before_its_first_key() {
    let keyring = keyring();
    let (home, theirs) = (tenant("acme", "fn-a"), tenant("globex", "fn-a"));
    block_on(keyring.create_namespace(&after(0), home.clone())).unwrap();

    let again = block_on(keyring.create_namespace(&after(0), home.clone()));
    assert!(matches!(
        again,
        Err(manage::Error::Conflict(Conflict::IdTaken))
    ));
    let foreign = block_on(keyring.create_namespace(&after(0), theirs));
    assert!(matches!(
        foreign,
        Err(manage::Error::Conflict(Conflict::ForeignNamespace))
    ));

    let list = |team: &str| {
        let query = NamespaceQuery::team(self::team(team));
        block_on(keyring.namespaces(&query)).unwrap().items
    };
    let records = list("acme");
    assert_eq!(records.len(), 1);
    assert_eq!((&records[0].tenant, records[0].created_at), (&home, START));
    assert_eq!(list("globex"), []);

    let trail = |team: &str| {
        let query = AuditQuery::team(self::team(team));
        block_on(keyring.audit(&query)).unwrap().items
    };
    let events = trail("acme");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].entry.action, Action::NamespaceCreated);
    assert_eq!(events[0].entry.namespace, Some(home.namespace));
    assert_eq!(trail("globex"), []);
}

#[test]
fn the_tenant_of_a_credential_is_known_after_its_deletion() {
    let keyring = keyring();
    let (home, theirs) = (tenant("acme", "fn-a"), tenant("globex", "fn-b"));
    let key = create(&keyring, &home, "laptop", Expiry::Never);
    let other = create(&keyring, &theirs, "laptop", Expiry::Never);
    let uuid = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502";
    let secret = "x".repeat(64);
    let line = format!(
        r#"{{"subject":"guest","namespaces":[{{"name":"fn-a","uuid":"{uuid}","key":"{secret}"}}]}}"#
    );
    let import = read_subjects(&line, &after(0), &Peppers::none(), |_| Some(team("acme")));
    for record in import.records {
        block_on(keyring.import_legacy(&after(0), record)).unwrap();
    }
    let place = |credential| block_on(keyring.tenant_of(credential)).unwrap();
    let legacy = CredentialId::Legacy(LegacyId::parse(uuid.as_bytes()).unwrap());
    assert_eq!(place(CredentialId::Key(other)), Some(theirs));
    assert_eq!(place(legacy), Some(home.clone()));
    block_on(keyring.delete(&after(1), &home, key, None)).unwrap();
    assert_eq!(place(CredentialId::Key(key)), Some(home));

    let unknown = KeyId::from_bytes([7; 16]);
    assert_eq!(place(CredentialId::Key(unknown)), None);
    let unknown = LegacyId::from_bytes([7; 16]);
    assert_eq!(place(CredentialId::Legacy(unknown)), None);
}

#[test]
fn a_purge_deletes_keys_that_expired_or_were_revoked_earlier_and_keeps_their_audit_events() {
    let keyring = keyring();
    let home = tenant("acme", "fn-a");
    let within = |days| Expiry::In(Ttl::days(days).unwrap());
    let expired = create(&keyring, &home, "expired", within(10));
    let revoked = create(&keyring, &home, "revoked", Expiry::Never);
    create(&keyring, &home, "late", within(30));
    create(&keyring, &home, "live", Expiry::Never);
    create(&keyring, &tenant("globex", "fn-b"), "theirs", within(1));
    let one_day_at_most = Policy {
        max_ttl: Some(Ttl::days(1).unwrap()),
        ..Policy::default()
    };
    block_on(keyring.set_policy(&after(0), None, Some(one_day_at_most))).unwrap();
    block_on(keyring.revoke(&after(9), &home, revoked, None)).unwrap();

    let purge = |days| {
        let before = START.plus_seconds(days * DAY);
        block_on(keyring.purge(&after(100), &team("acme"), before)).unwrap()
    };
    // The purge excludes keys that expired exactly at its limit.
    assert_eq!(purge(9), 0);
    assert_eq!(purge(10), 1);
    assert_eq!(names(&keyring, "acme"), ["expired", "late", "live"]);
    assert_eq!(purge(11), 1);
    assert_eq!(purge(11), 0);
    assert_eq!(names(&keyring, "acme"), ["late", "live"]);
    assert_eq!(names(&keyring, "globex"), ["theirs"]);

    for id in [expired, revoked] {
        let trail = block_on(keyring.audit(&AuditQuery {
            credential: Some(CredentialId::Key(id)),
            ..AuditQuery::team(team("acme"))
        }))
        .unwrap();
        let actions: Vec<Action> = trail.items.iter().map(|e| e.entry.action).collect();
        assert_eq!(actions.first(), Some(&Action::KeyCreated));
        assert_eq!(actions.last(), Some(&Action::KeyDeleted));
    }
    assert!(block_on(keyring.verify_audit(None)).is_ok());
}

#[test]
fn a_purge_deletes_keys_that_a_cutoff_revoked() {
    let keyring = keyring();
    let home = tenant("acme", "fn-a");
    for n in 0..3 {
        create(&keyring, &home, &format!("{n}"), Expiry::Never);
    }
    block_on(keyring.remove_member(&after(1), "acme", "alice")).unwrap();
    let purge = |before| block_on(keyring.purge(&after(9), &team("acme"), before)).unwrap();
    assert_eq!(purge(START.plus_seconds(DAY)), 0);
    assert_eq!(purge(START.plus_seconds(DAY + 1)), 3);
    assert_eq!(names(&keyring, "acme"), [""; 0]);
}
