//! What a verification returns for an accepted and for a refused credential.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use keyfob::{
    Access, Actor, Context, Denied, DenyReason, Expiry, IssuedKey, Keyring, MemoryStore, NewKey,
    Owner, Principal, Scopes, Tenant, Timestamp, Verifier, block_on,
    gateway::{Credential, PrincipalKind},
    key::{CredentialId, KeyFormat, PepperId, Peppers, SystemRandom},
    legacy::{LegacyPolicy, PresentedLegacy, read_subjects},
    manage::Rotation,
    name::{KeyName, NamespaceId, Scope, ServiceId, TeamId, UserId},
};

/// The public example credential of `OpenWhisk`.
const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
const HOUR: u64 = 3_600;

/// A store and its keyring.
struct Fixture {
    store: Arc<MemoryStore>,
    keyring: Keyring,
    peppers: Peppers,
}

impl Fixture {
    fn new(peppers: Peppers) -> Self {
        let store = Arc::new(MemoryStore::new());
        Self {
            keyring: open(&store, peppers.clone()),
            store,
            peppers,
        }
    }

    fn verifier(&self) -> Verifier {
        self.keyring.unbounded_verifier()
    }

    /// Returns a verifier over the same store with other peppers.
    fn verifier_with(&self, peppers: Peppers) -> Verifier {
        open(&self.store, peppers).unbounded_verifier()
    }

    fn create(&self, new: NewKey) -> IssuedKey {
        block_on(self.keyring.create(&admin(), new)).unwrap().secret
    }

    /// Imports the guest credential.
    fn import_guest(&self) {
        let (uuid, key) = GUEST.split_once(':').unwrap();
        let line = format!(
            r#"{{"subject":"guest","namespaces":[{{"name":"fn-a","uuid":"{uuid}","key":"{key}"}}]}}"#
        );
        let team = |_: &_| Some(tenant("fn-a").team);
        for record in read_subjects(&line, &admin(), &self.peppers, team).records {
            block_on(self.keyring.import_legacy(&admin(), record)).unwrap();
        }
    }

    /// Accepts legacy credentials for an hour.
    fn accept_legacy(&self) {
        let policy = LegacyPolicy::until(NOW.plus_seconds(HOUR));
        block_on(self.keyring.set_legacy_policy(&admin(), None, Some(policy))).unwrap();
    }
}

fn open(store: &Arc<MemoryStore>, peppers: Peppers) -> Keyring {
    let builder = Keyring::builder(Arc::clone(store), dof()).peppers(peppers);
    block_on(builder.open(NOW)).unwrap()
}

fn dof() -> KeyFormat {
    KeyFormat::new("dof").unwrap()
}

fn admin() -> Context {
    Context::new(Actor::user(UserId::new("admin").unwrap()), NOW)
}

fn tenant(namespace: &str) -> Tenant {
    let team = TeamId::new("acme").unwrap();
    Tenant::new(team, NamespaceId::new(namespace).unwrap())
}

fn alice() -> Owner {
    Owner::User(UserId::new("alice").unwrap())
}

fn new_key(owner: Owner) -> NewKey {
    let name = KeyName::new(owner.as_str()).unwrap();
    NewKey::new(tenant("fn-a"), owner, name)
}

fn pepper(id: u8) -> Peppers {
    let number = PepperId::new(id).unwrap();
    Peppers::none().with_current(number, &[id; 32]).unwrap()
}

fn refusal(verdict: Result<Principal<'_>, Denied>) -> (DenyReason, Option<CredentialId>) {
    let denied = verdict.unwrap_err();
    (denied.reason(), denied.credential())
}

#[test]
fn a_principal_describes_the_caller() {
    let fixture = Fixture::new(Peppers::none());
    let (verifier, access) = (fixture.verifier(), Access::to("fn-a"));
    let verify = |text: &str| verifier.verify_text(text.as_bytes(), &access, NOW).unwrap();
    let both = ["read", "write"].map(|name| Scope::new(name).unwrap());
    let (read, write) = both.split_at(1);

    let key = fixture.create(new_key(alice()));
    let principal = verify(key.expose());
    assert_eq!(principal.credential(), CredentialId::Key(key.id()));
    assert_eq!(principal.key_id(), Some(key.id()));
    assert_eq!(principal.kind(), PrincipalKind::Personal);
    assert_eq!(principal.team(), &tenant("fn-a").team);
    assert_eq!(principal.namespace(), &tenant("fn-a").namespace);
    assert_eq!(principal.owner(), Some(alice()));
    assert_eq!(principal.legacy_subject(), None);
    assert_eq!(principal.scopes(), Scopes::All);
    assert!(principal.may(&both));
    assert_eq!(principal.expires_at(), None);
    assert_eq!(principal.to_actor().owner, Some(alice()));
    assert_eq!(
        principal.to_actor().credential,
        Some(principal.credential())
    );
    let printed = format!("{principal:?}");
    for part in [&key.id().to_string(), "acme", "fn-a", "alice", "All"] {
        assert!(printed.contains(part), "no {part} in {printed}");
    }

    let robot = Owner::Service(ServiceId::new("deploy").unwrap());
    let end = NOW.plus_seconds(HOUR);
    let scopes = Scopes::only(read.iter().cloned()).unwrap();
    let new = new_key(robot.clone()).with_expiry(Expiry::At(end));
    let key = fixture.create(new.with_scopes(scopes.clone()));
    let principal = verify(key.expose());
    assert_eq!(principal.kind(), PrincipalKind::Service);
    assert_eq!(principal.owner(), Some(robot.clone()));
    assert_eq!(principal.scopes(), scopes);
    assert!(principal.may(&[]) && principal.may(read));
    assert!(!principal.may(write) && !principal.may(&both));
    assert_eq!(principal.expires_at(), Some(end));

    fixture.accept_legacy();
    fixture.import_guest();
    let principal = verify(GUEST);
    let id = PresentedLegacy::parse(GUEST.as_bytes()).unwrap().id();
    assert_eq!(principal.credential(), CredentialId::Legacy(id));
    assert_eq!(principal.key_id(), None);
    assert_eq!(principal.kind(), PrincipalKind::Legacy);
    assert_eq!(principal.owner(), None);
    let subject = principal.legacy_subject();
    let subject = subject.as_ref().map(UserId::as_str);
    assert_eq!(subject, Some("guest"));
    assert!(principal.may(write));
    assert_eq!(principal.expires_at(), Some(NOW.plus_seconds(HOUR)));
    assert!(!principal.used_replaced_secret() && !principal.needs_rehash());
}

#[test]
fn a_verdict_depends_on_the_state_of_the_secret() {
    let fixture = Fixture::new(pepper(1));
    let old = fixture.create(new_key(alice()));
    let rotation = Rotation::new().with_grace(Duration::from_secs(HOUR));
    let (by, tenant) = (admin(), tenant("fn-a"));
    let rotated = fixture
        .keyring
        .rotate(&by, &tenant, old.id(), rotation, None);
    let new = block_on(rotated).unwrap().secret;

    let two = PepperId::new(2).unwrap();
    let both = pepper(1).with_current(two, &[2; 32]).unwrap();
    for (peppers, outdated) in [(pepper(1), false), (both, true)] {
        let verifier = fixture.verifier_with(peppers);
        let state = |key: &IssuedKey| {
            let text = key.expose().as_bytes();
            let principal = verifier.verify_text(text, &Access::to("fn-a"), NOW);
            let principal = principal.unwrap();
            (
                principal.used_replaced_secret(),
                principal.needs_rehash(),
                principal.expires_at(),
            )
        };
        let grace = Some(NOW.plus_seconds(HOUR));
        assert_eq!(state(&old), (true, false, grace));
        assert_eq!(state(&new), (false, outdated, None));
    }
}

#[test]
fn a_legacy_credential_needs_its_whole_text() {
    let wrong_key = GUEST.replacen("123z", "124z", 1);
    let wrong_case = GUEST.replacen("23bc", "23BC", 1);
    let unknown = GUEST.replacen("23bc", "23bd", 1);
    for peppers in [Peppers::none(), pepper(1)] {
        let fixture = Fixture::new(peppers);
        fixture.accept_legacy();
        fixture.import_guest();
        let (verifier, access) = (fixture.verifier(), Access::to("fn-a"));
        let verify = |text: &str| verifier.verify_text(text.as_bytes(), &access, NOW);
        assert!(verify(GUEST).is_ok());
        for (text, reason) in [
            (&wrong_key, DenyReason::WrongSecret),
            (&wrong_case, DenyReason::WrongSecret),
            (&unknown, DenyReason::UnknownKey),
        ] {
            assert_eq!(refusal(verify(text)), (reason, None), "{text}");
        }
    }

    let fixture = Fixture::new(pepper(1));
    fixture.accept_legacy();
    fixture.import_guest();
    let verifier = fixture.verifier_with(pepper(2));
    let verdict = verifier.verify_text(GUEST.as_bytes(), &Access::to("fn-a"), NOW);
    assert_eq!(refusal(verdict), (DenyReason::PepperMissing, None));
}

#[test]
fn every_verification_method_returns_the_same_verdict() {
    let fixture = Fixture::new(Peppers::none());
    fixture.accept_legacy();
    fixture.import_guest();
    let key = fixture.create(new_key(alice()));
    let unissued = IssuedKey::generate(&dof(), &SystemRandom).unwrap();
    let verifier = fixture.verifier();
    for (text, namespace, reason) in [
        (key.expose(), "fn-a", None),
        (key.expose(), "fn-b", Some(DenyReason::WrongNamespace)),
        (unissued.expose(), "fn-a", Some(DenyReason::UnknownKey)),
        (GUEST, "fn-a", None),
        (GUEST, "fn-b", Some(DenyReason::WrongNamespace)),
    ] {
        let access = Access::to(namespace);
        let credential = Credential::parse(&dof(), text.as_bytes()).unwrap();
        let id = Some(credential.id()).filter(|_| reason != Some(DenyReason::UnknownKey));
        let basic = format!("Basic {}", STANDARD.encode(text));
        let bearer = format!("Bearer {text}");
        // A legacy credential is not accepted as bearer token.
        let bearer = if text == GUEST { &basic } else { &bearer };
        for verdict in [
            verifier.verify(&credential, &access, NOW),
            verifier.verify_text(text.as_bytes(), &access, NOW),
            verifier.verify_header(basic.as_bytes(), &access, NOW),
            verifier.verify_header(bearer.as_bytes(), &access, NOW),
            verifier.verify_headers([basic.as_bytes()], &access, NOW),
        ] {
            let told = match &verdict {
                Ok(principal) => (None, Some(principal.credential())),
                Err(denied) => (Some(denied.reason()), denied.credential()),
            };
            assert_eq!(told, (reason, id));
        }
    }

    let (access, header) = (Access::to("fn-a"), format!("Bearer {}", key.expose()));
    let one = header.as_bytes();
    let twice = verifier.verify_headers([one, one], &access, NOW);
    assert_eq!(refusal(twice), (DenyReason::RepeatedHeader, None));
    let missing = verifier.verify_headers([], &access, NOW);
    assert_eq!(refusal(missing), (DenyReason::NoCredential, None));
    for garbage in ["", "Bearer x", "Basic x", "Basic eDp5", "Token x"] {
        let verdict = verifier.verify_header(garbage.as_bytes(), &access, NOW);
        assert_eq!(refusal(verdict), (DenyReason::Malformed, None));
    }
}

#[test]
fn imported_credentials_follow_the_existing_policy() {
    let decide = |fixture: &Fixture| {
        let verifier = fixture.verifier();
        let verdict = verifier.verify_text(GUEST.as_bytes(), &Access::to("fn-a"), NOW);
        verdict.map(drop).map_err(|denied| denied.reason())
    };
    let fixture = Fixture::new(Peppers::none());
    fixture.import_guest();
    assert_eq!(decide(&fixture), Err(DenyReason::LegacyOff));
    fixture.accept_legacy();
    assert_eq!(decide(&fixture), Ok(()));

    let fixture = Fixture::new(Peppers::none());
    fixture.accept_legacy();
    fixture.import_guest();
    assert_eq!(decide(&fixture), Ok(()));
}
