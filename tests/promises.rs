//! The promises of the design, each tested from the header to the decision.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use keyfob::{
    Access, Actor, Context, DenyReason, Expiry, IssuedKey, KeyInfo, Keyring, MemoryStore, NewKey,
    Owner, Scopes, Tenant, Timestamp, Ttl, Verifier, block_on,
    gateway::{Index, PrincipalKind, UsageRecorder},
    key::{KeyFormat, PepperId, Peppers, PresentedKey, SystemRandom},
    legacy::{Imported, LegacyPolicy, PresentedLegacy, read_subjects},
    manage::{self, KeyUpdate, Policy, Rotation},
    name::{KeyName, NamespaceId, Scope, ServiceId, TeamId, UserId},
    store::{Changes, Conflict, KeyQuery, LegacyQuery, Target},
};

/// The public example credential of `OpenWhisk`.
const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
const START: Timestamp = Timestamp::from_unix(1_800_000_000);
const HOUR: u64 = 3_600;

/// A keyring and a verifier that share an index.
struct Fixture {
    keyring: Keyring,
    verifier: Verifier,
}

impl Fixture {
    fn new() -> Self {
        Self::with_peppers(Peppers::none())
    }

    fn with_peppers(peppers: Peppers) -> Self {
        let keyring = open(Arc::new(MemoryStore::new()), peppers);
        Self {
            verifier: keyring.unbounded_verifier(),
            keyring,
        }
    }

    fn create(&self, new: NewKey) -> IssuedKey {
        block_on(self.keyring.create(&at(START), new))
            .unwrap()
            .secret
    }

    fn decide(&self, key: &str, now: Timestamp) -> Result<(), DenyReason> {
        let verdict = self
            .verifier
            .verify_text(key.as_bytes(), &Access::to("fn-a"), now);
        verdict.map(drop).map_err(|denied| denied.reason())
    }

    fn import_guest(&self, policy: LegacyPolicy) {
        let (uuid, key) = GUEST.split_once(':').unwrap();
        let line = format!(
            r#"{{"subject":"guest","namespaces":[{{"name":"fn-a","uuid":"{uuid}","key":"{key}"}}]}}"#
        );
        let import = read_subjects(&line, &at(START), &Peppers::none(), |_| Some(team()));
        assert_eq!((import.records.len(), import.problems.len()), (1, 0));
        for record in import.records {
            block_on(self.keyring.import_legacy(&at(START), record)).unwrap();
        }
        self.set_legacy(policy);
    }

    fn set_legacy(&self, policy: LegacyPolicy) {
        block_on(
            self.keyring
                .set_legacy_policy(&at(START), None, Some(policy)),
        )
        .unwrap();
    }
}

/// Opens a keyring over a store with these peppers, as another process would.
fn open(store: Arc<MemoryStore>, peppers: Peppers) -> Keyring {
    let builder = Keyring::builder(store, dof()).peppers(peppers);
    block_on(builder.open(START)).unwrap()
}

fn dof() -> KeyFormat {
    KeyFormat::new("dof").unwrap()
}

fn team() -> TeamId {
    TeamId::new("acme").unwrap()
}

fn tenant(namespace: &str) -> Tenant {
    Tenant::new(team(), NamespaceId::new(namespace).unwrap())
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn at(now: Timestamp) -> Context {
    Context::new(Actor::user(user("admin")), now)
}

/// Returns a new key for this user in `fn-a`.
fn key_of(name: &str) -> NewKey {
    let owner = Owner::User(user(name));
    NewKey::new(
        tenant("fn-a"),
        owner,
        KeyName::new(&format!("{name}'s")).unwrap(),
    )
}

/// Returns a new key for this user in another namespace.
fn key_in(tenant: Tenant, name: &str) -> NewKey {
    let mut new = key_of(name);
    new.tenant = tenant;
    new
}

/// Returns a new key for this user in `fn-a`, with this name.
fn named(person: &str, name: KeyName) -> NewKey {
    let mut new = key_of(person);
    new.name = name;
    new
}

fn basic(text: &str) -> String {
    format!("Basic {}", STANDARD.encode(text))
}

#[test]
fn any_change_to_the_text_of_a_key_is_refused() {
    let fixture = Fixture::new();
    let key = fixture.create(key_of("alice"));
    let text = key.expose().as_bytes();
    let accepted = |bytes: &[u8]| {
        fixture
            .verifier
            .verify_text(bytes, &Access::to("fn-a"), START)
            .is_ok()
    };
    assert!(accepted(text));
    for at in 0..text.len() {
        let mut changed = text.to_vec();
        for byte in (0..=255).filter(|byte| *byte != text[at]) {
            changed[at] = byte;
            assert!(!accepted(&changed), "byte {byte:#x} at {at}");
        }
        let mut shorter = text.to_vec();
        let byte = shorter.remove(at);
        assert!(!accepted(&shorter), "without byte {at}");
        shorter.insert(at, byte);
        shorter.insert(at, byte);
        assert!(!accepted(&shorter), "byte {at} twice");
        assert!(!accepted(&text[..at]), "truncated at {at}");
    }
    for byte in 0..=255 {
        for place in 0..=text.len() {
            let mut longer = text.to_vec();
            longer.insert(place, byte);
            assert!(!accepted(&longer), "byte {byte:#x} inserted at {place}");
        }
    }
}

#[test]
fn any_change_to_a_basic_header_but_the_case_of_its_scheme_is_refused() {
    let fixture = Fixture::new();
    let header = basic(fixture.create(key_of("alice")).expose()).into_bytes();
    for at in 0..header.len() {
        let mut changed = header.clone();
        for byte in (0..=255u8).filter(|byte| *byte != header[at]) {
            changed[at] = byte;
            let scheme = at < 5 && byte.eq_ignore_ascii_case(&header[at]);
            let verdict = fixture
                .verifier
                .verify_header(&changed, &Access::to("fn-a"), START);
            assert_eq!(verdict.is_ok(), scheme, "byte {byte:#x} at {at}");
        }
    }
}

#[test]
fn a_request_with_two_authorization_fields_is_refused() {
    let fixture = Fixture::new();
    let (alice, bob) = (
        fixture.create(key_of("alice")).bearer(),
        basic(fixture.create(key_of("bob")).expose()),
    );
    let [alice, bob] = [alice.as_bytes(), bob.as_bytes()];
    let verify = |fields: &[&[u8]]| {
        let fields = fields.iter().copied();
        let verdict = fixture
            .verifier
            .verify_headers(fields, &Access::to("fn-a"), START);
        verdict.map(drop).map_err(|denied| denied.reason())
    };
    assert_eq!((verify(&[alice]), verify(&[bob])), (Ok(()), Ok(())));
    for fields in [
        &[alice, bob][..],
        &[bob, alice],
        &[alice, alice],
        &[alice, b"", b""],
        &[b"", alice],
        &[b"Bearer x", bob],
        &[bob, b"Bearer x"],
        &[alice, bob, alice],
    ] {
        assert_eq!(verify(fields), Err(DenyReason::RepeatedHeader));
    }
}

#[test]
fn a_wrong_secret_and_an_unknown_key_are_refused() {
    let fixture = Fixture::new();
    let (one, two) = (
        fixture.create(key_of("alice")),
        fixture.create(key_of("bob")),
    );
    let swapped = format!("{}:{}", dof().key_id(one.id()), two.expose_secret());
    assert_eq!(
        fixture.decide(&swapped, START),
        Err(DenyReason::WrongSecret)
    );
    let unissued = IssuedKey::generate(&dof(), &SystemRandom).unwrap();
    assert_eq!(
        fixture.decide(unissued.expose(), START),
        Err(DenyReason::UnknownKey)
    );
    let last = if one.expose().ends_with('A') {
        "B"
    } else {
        "A"
    };
    let mistyped = format!("{}{last}", &one.expose()[..82]);
    assert_eq!(fixture.decide(&mistyped, START), Err(DenyReason::Mistyped));
}

#[test]
fn a_key_gives_access_to_its_own_namespace_only() {
    let fixture = Fixture::new();
    let spaces: Vec<String> = (0..20).map(|n| format!("fn-{n}")).collect();
    let keys: Vec<IssuedKey> = spaces
        .iter()
        .map(|space| fixture.create(key_in(tenant(space), "alice")))
        .collect();
    for (own, key) in spaces.iter().zip(&keys) {
        for space in &spaces {
            let verdict =
                fixture
                    .verifier
                    .verify_text(key.expose().as_bytes(), &Access::to(space), START);
            match verdict {
                Ok(principal) => {
                    assert_eq!(
                        (principal.namespace().as_str(), own),
                        (space.as_str(), space)
                    );
                }
                Err(denied) => {
                    assert_ne!(own, space);
                    assert_eq!(
                        (denied.status(), denied.reason()),
                        (403, DenyReason::WrongNamespace)
                    );
                }
            }
        }
        let verdict = fixture.verifier.verify_text(
            key.expose().as_bytes(),
            &Access::to_own_namespace(),
            START,
        );
        assert_eq!(verdict.unwrap().namespace().as_str(), own);
    }
}

#[test]
fn a_key_cannot_be_managed_through_another_tenant() {
    let fixture = Fixture::new();
    let key = fixture.create(key_of("alice"));
    let foreign = [
        tenant("fn-b"),
        Tenant::new(
            TeamId::new("rival").unwrap(),
            NamespaceId::new("fn-a").unwrap(),
        ),
    ];
    for tenant in foreign {
        let (ring, context, id) = (&fixture.keyring, at(START), key.id());
        let outcomes = [
            block_on(ring.get(&tenant, id)).map(drop),
            block_on(ring.update(&context, &tenant, id, KeyUpdate::default(), None)).map(drop),
            block_on(ring.disable(&context, &tenant, id, None)).map(drop),
            block_on(ring.revoke(&context, &tenant, id, None)).map(drop),
            block_on(ring.rotate(&context, &tenant, id, Rotation::default(), None)).map(drop),
            block_on(ring.delete(&context, &tenant, id, None)),
        ];
        for outcome in outcomes {
            assert!(matches!(outcome, Err(manage::Error::NotFound)));
        }
    }
    assert_eq!(fixture.decide(key.expose(), START), Ok(()));
}

#[test]
fn a_namespace_belongs_to_one_team() {
    let fixture = Fixture::new();
    fixture.create(key_of("alice"));
    let rival = Tenant::new(
        TeamId::new("rival").unwrap(),
        NamespaceId::new("fn-a").unwrap(),
    );
    let new = key_in(rival.clone(), "mallory");
    for outcome in [
        block_on(fixture.keyring.create(&at(START), new)).map(drop),
        block_on(fixture.keyring.remove_namespace(&at(START), &rival)).map(drop),
        block_on(fixture.keyring.set_policy(&at(START), Some(&rival), None)),
    ] {
        assert!(matches!(
            outcome,
            Err(manage::Error::Conflict(Conflict::ForeignNamespace))
        ));
    }
}

#[test]
fn expiry_is_exact_to_the_second() {
    let fixture = Fixture::new();
    let end = START.plus_seconds(2 * HOUR);
    let key = fixture.create(key_of("alice").with_expiry(Expiry::At(end)));
    assert_eq!(
        fixture.decide(key.expose(), Timestamp::from_unix(end.as_unix() - 1)),
        Ok(())
    );
    assert_eq!(fixture.decide(key.expose(), end), Err(DenyReason::Expired));
}

#[test]
fn an_expired_key_stays_expired_when_the_clock_is_set_back() {
    let fixture = Fixture::new();
    let end = START.plus_seconds(2 * HOUR);
    let key = fixture.create(key_of("alice").with_expiry(Expiry::At(end)));
    assert_eq!(fixture.decide(key.expose(), end), Err(DenyReason::Expired));
    assert_eq!(
        fixture.decide(key.expose(), START),
        Err(DenyReason::Expired)
    );
}

#[test]
fn a_key_is_refused_before_its_not_before_time() {
    let fixture = Fixture::new();
    let begin = START.plus_seconds(HOUR);
    let key = fixture.create(key_of("alice").with_not_before(begin));
    let before = Timestamp::from_unix(begin.as_unix() - 1);
    assert_eq!(
        fixture.decide(key.expose(), before),
        Err(DenyReason::NotYetValid)
    );
    assert_eq!(fixture.decide(key.expose(), begin), Ok(()));
}

#[test]
fn a_changed_maximum_ttl_applies_to_existing_keys() {
    let fixture = Fixture::new();
    let key = fixture.create(key_of("alice"));
    let other = fixture.create(key_in(tenant("fn-b"), "alice"));
    let set = |max_ttl| {
        let policy = Policy {
            max_ttl,
            ..Policy::default()
        };
        block_on(
            fixture
                .keyring
                .set_policy(&at(START), Some(&tenant("fn-a")), Some(policy)),
        )
        .unwrap();
    };
    set(Some(Ttl::hours(3).unwrap()));
    let end = START.plus_seconds(3 * HOUR);
    assert_eq!(
        fixture.decide(key.expose(), Timestamp::from_unix(end.as_unix() - 1)),
        Ok(())
    );
    assert_eq!(fixture.decide(key.expose(), end), Err(DenyReason::Expired));
    let verdict = fixture
        .verifier
        .verify_text(other.expose().as_bytes(), &Access::to("fn-b"), end);
    assert!(verdict.is_ok(), "a policy does not affect other namespaces");
    set(None);
    assert_eq!(fixture.decide(key.expose(), end), Ok(()));
}

#[test]
fn creation_enforces_the_policy() {
    let fixture = Fixture::new();
    let policy = Policy {
        min_ttl: Ttl::hours(2).unwrap(),
        max_ttl: Some(Ttl::days(7).unwrap()),
        expiry_required: true,
        keys_per_owner: Some(2),
        ..Policy::default()
    };
    block_on(fixture.keyring.set_policy(&at(START), None, Some(policy))).unwrap();
    let create = |name: &str, expiry| {
        let new = named("alice", KeyName::new(name).unwrap());
        let outcome = block_on(fixture.keyring.create(&at(START), new.with_expiry(expiry)));
        outcome.map(drop).map_err(|error| error.to_string())
    };
    let refused = |text: &str| Err(text.to_owned());
    assert_eq!(
        create("a", Expiry::Never),
        refused("expires_in: the policy requires an expiry")
    );
    assert_eq!(
        create("a", Expiry::In(Ttl::hours(1).unwrap())),
        refused("expires_in: shorter than the policy's minimum of 2h")
    );
    assert_eq!(
        create("a", Expiry::In(Ttl::days(8).unwrap())),
        refused("expires_in: longer than the policy's maximum of 7d")
    );
    assert_eq!(
        create("a", Expiry::At(START)),
        refused("expires_at: the time is in the past")
    );
    assert_eq!(
        create("a", Expiry::At(START.plus_seconds(1))),
        refused("expires_in: shorter than the policy's minimum of 2h")
    );
    assert_eq!(create("a", Expiry::In(Ttl::days(7).unwrap())), Ok(()));
    assert_eq!(
        create("a", Expiry::In(Ttl::days(7).unwrap())),
        refused("name: the owner has a key of this name in the namespace")
    );
    assert_eq!(create("b", Expiry::In(Ttl::hours(2).unwrap())), Ok(()));
    assert_eq!(
        create("c", Expiry::In(Ttl::hours(2).unwrap())),
        refused(
            "the owner has as many keys in the namespace as the policy allows; revoke one, or raise \
             keys_per_owner in the policy"
        )
    );
}

#[test]
fn rotation_never_extends_the_expiry_of_the_old_secret() {
    let fixture = Fixture::new();
    let end = START.plus_seconds(2 * HOUR);
    let old = fixture.create(key_of("alice").with_expiry(Expiry::At(end)));
    let rotate = |grace_seconds, renew| {
        let now = at(START.plus_seconds(HOUR));
        let mut rotation = Rotation::new().with_grace(Duration::from_secs(grace_seconds));
        rotation.renew = renew;
        block_on(
            fixture
                .keyring
                .rotate(&now, &tenant("fn-a"), old.id(), rotation, None),
        )
        .unwrap()
    };
    let rotated = rotate(10 * HOUR, Some(Expiry::In(Ttl::days(30).unwrap())));
    let (new, info) = rotated.into_parts();
    assert_eq!(info.previous_until, Some(end));
    let before = Timestamp::from_unix(end.as_unix() - 1);
    assert_eq!(fixture.decide(old.expose(), before), Ok(()));
    assert_eq!(fixture.decide(new.expose(), before), Ok(()));
    assert_eq!(fixture.decide(old.expose(), end), Err(DenyReason::Replaced));
    assert_eq!(fixture.decide(new.expose(), end), Ok(()));
}

#[test]
fn a_lowered_maximum_ttl_applies_to_a_replaced_secret() {
    let fixture = Fixture::new();
    let old = fixture.create(key_of("alice"));
    let rotation = Rotation::new().with_grace(Duration::from_secs(20 * HOUR));
    let middle = START.plus_seconds(10 * HOUR);
    let (context, home) = (at(middle), tenant("fn-a"));
    let rotated = fixture
        .keyring
        .rotate(&context, &home, old.id(), rotation, None);
    let new = block_on(rotated).unwrap().secret;
    assert_eq!(fixture.decide(old.expose(), middle), Ok(()));
    let policy = Policy {
        max_ttl: Some(Ttl::hours(12).unwrap()),
        ..Policy::default()
    };
    block_on(fixture.keyring.set_policy(&at(middle), None, Some(policy))).unwrap();
    let end = START.plus_seconds(12 * HOUR);
    let before = Timestamp::from_unix(end.as_unix() - 1);
    assert_eq!(fixture.decide(old.expose(), before), Ok(()));
    assert_eq!(fixture.decide(old.expose(), end), Err(DenyReason::Replaced));
    assert_eq!(fixture.decide(new.expose(), end), Ok(()));
}

#[test]
fn a_policy_is_not_visible_to_another_team() {
    let fixture = Fixture::new();
    block_on(fixture.keyring.create_namespace(&at(START), tenant("fn-a"))).unwrap();
    let policy = Policy {
        max_ttl: Some(Ttl::days(17).unwrap()),
        ..Policy::default()
    };
    block_on(
        fixture
            .keyring
            .set_policy(&at(START), Some(&tenant("fn-a")), Some(policy)),
    )
    .unwrap();
    let rival = Tenant::new(
        TeamId::new("rival").unwrap(),
        NamespaceId::new("fn-a").unwrap(),
    );
    assert_eq!(
        block_on(fixture.keyring.policy(Some(&rival))).unwrap(),
        Policy::default()
    );
    let new = key_in(rival, "mallory").with_expiry(Expiry::In(Ttl::days(90).unwrap()));
    assert!(matches!(
        block_on(fixture.keyring.create(&at(START), new)),
        Err(manage::Error::Conflict(Conflict::ForeignNamespace))
    ));
}

#[test]
fn an_index_is_ready_only_after_the_end_of_the_feed() {
    let fixture = Fixture::new();
    fixture.create(key_of("alice"));
    let store = fixture.keyring.store();
    let (context, team, bob) = (at(START), team(), user("bob"));
    let target = Target::Owner(team.clone(), Owner::User(bob.clone()));
    block_on(fixture.keyring.remove_in_advance(&context, target)).unwrap();
    fixture.create(key_of("carol"));
    block_on(fixture.keyring.restore_member(&context, &team, &bob)).unwrap();
    let index = Index::new(dof(), Peppers::none());
    let mut last = keyfob::store::Revision::ZERO;
    for expected in [(0, false), (0, false), (4, true)] {
        let part = block_on(store.changes(last, 1)).unwrap();
        last = part.next_after;
        index.apply(&part, START).unwrap();
        assert_eq!((index.as_of().get(), index.is_ready()), expected);
    }
}

#[test]
fn a_second_rotation_revokes_the_first_secret() {
    let fixture = Fixture::new();
    let first = fixture.create(key_of("alice"));
    let rotate = |grace_seconds| {
        let rotation = Rotation::new().with_grace(Duration::from_secs(grace_seconds));
        let outcome = block_on(fixture.keyring.rotate(
            &at(START),
            &tenant("fn-a"),
            first.id(),
            rotation,
            None,
        ));
        outcome.unwrap().secret
    };
    let second = rotate(HOUR);
    let third = rotate(HOUR);
    assert_eq!(
        fixture.decide(first.expose(), START),
        Err(DenyReason::WrongSecret)
    );
    assert_eq!(fixture.decide(second.expose(), START), Ok(()));
    assert_eq!(fixture.decide(third.expose(), START), Ok(()));
    let fourth = rotate(0);
    assert_eq!(
        fixture.decide(third.expose(), START),
        Err(DenyReason::WrongSecret)
    );
    assert_eq!(fixture.decide(fourth.expose(), START), Ok(()));
}

#[test]
fn exactly_one_of_several_concurrent_rotations_succeeds() {
    let fixture = Fixture::new();
    let key = fixture.create(key_of("alice"));
    let revision = block_on(fixture.keyring.get(&tenant("fn-a"), key.id()))
        .unwrap()
        .revision;
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    let rotation = Rotation::default();
                    let tenant = tenant("fn-a");
                    block_on(fixture.keyring.rotate(
                        &at(START),
                        &tenant,
                        key.id(),
                        rotation,
                        Some(revision),
                    ))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 15));
    for outcome in lost {
        assert!(matches!(
            outcome,
            Err(manage::Error::Conflict(Conflict::Stale))
        ));
    }
    let winner = won.into_iter().next().unwrap().unwrap().secret;
    assert_eq!(fixture.decide(winner.expose(), START), Ok(()));
}

#[test]
fn removing_a_member_revokes_their_keys_in_the_team() {
    let fixture = Fixture::new();
    let (alices, bobs) = (
        fixture.create(key_of("alice")),
        fixture.create(key_of("bob")),
    );
    let elsewhere = fixture.create(key_in(Tenant::parse("rival", "fn-r").unwrap(), "bob"));
    let service = fixture.create(NewKey::for_service("acme", "fn-a", "bob", "service").unwrap());
    let (context, acme, bob) = (at(START), team(), user("bob"));
    let remove = || block_on(fixture.keyring.remove_member(&context, &acme, &bob)).unwrap();
    let ended = remove().unwrap();
    assert_eq!((ended.keys, ended.created_for_others), (1, 0));
    assert_eq!(
        fixture.decide(bobs.expose(), START),
        Err(DenyReason::Revoked)
    );
    for key in [&alices, &service] {
        assert_eq!(fixture.decide(key.expose(), START), Ok(()));
    }
    let access = Access::to("fn-r");
    let verdict = fixture
        .verifier
        .verify_text(elsewhere.expose().as_bytes(), &access, START);
    assert!(verdict.is_ok(), "keys in another team still work");

    let create = || block_on(fixture.keyring.create(&at(START), key_of("bob")));
    assert!(matches!(
        create(),
        Err(manage::Error::Conflict(Conflict::Removed(_)))
    ));
    block_on(
        fixture
            .keyring
            .restore_member(&at(START), team(), user("bob")),
    )
    .unwrap();
    assert_eq!(
        fixture.decide(bobs.expose(), START),
        Err(DenyReason::Revoked)
    );
    let again = create().unwrap().secret;
    assert_eq!(fixture.decide(again.expose(), START), Ok(()));
    remove();
    assert_eq!(
        fixture.decide(again.expose(), START),
        Err(DenyReason::Revoked)
    );
}

#[test]
fn a_mistyped_name_revokes_nothing() {
    let fixture = Fixture::new();
    let key = fixture.create(key_of("alice"));
    fixture.import_guest(LegacyPolicy::until(START.plus_seconds(HOUR)));
    let owner = |name| Target::Owner(team(), Owner::User(user(name)));
    let place = Tenant::parse("acme", "fn-b").unwrap();
    let typos = [
        owner("alcie"),
        owner("Alice"),
        owner("user:alice"),
        Target::Owner(TeamId::new("amce").unwrap(), Owner::User(user("alice"))),
        Target::Owner(team(), Owner::Service(ServiceId::new("alice").unwrap())),
        Target::Team(TeamId::new("amce").unwrap()),
        Target::Namespace(place.clone()),
    ];
    let before = block_on(fixture.keyring.sync(START)).unwrap();
    for target in typos {
        for outcome in [
            block_on(fixture.keyring.remove(&at(START), target.clone())),
            block_on(fixture.keyring.revoke_all(&at(START), target.clone())),
        ] {
            let error = outcome.unwrap_err();
            let unknown = Conflict::UnknownTarget(target.clone());
            assert!(matches!(&error, manage::Error::Conflict(found) if *found == unknown));
            assert_eq!(error.status(), 404);
        }
    }
    for outcome in [
        block_on(fixture.keyring.set_policy(&at(START), Some(&place), None)),
        block_on(fixture.keyring.set_legacy_policy(
            &at(START),
            Some(&place),
            Some(LegacyPolicy::Off),
        )),
    ] {
        assert_eq!(outcome.unwrap_err().status(), 404);
    }
    assert_eq!(block_on(fixture.keyring.sync(START)).unwrap(), before);
    for text in [key.expose(), GUEST] {
        assert_eq!(fixture.decide(text, START), Ok(()));
    }
    // Somebody who never had a key is removed if that is asked for.
    block_on(
        fixture
            .keyring
            .remove_in_advance(&at(START), owner("mallory")),
    )
    .unwrap();
    assert!(block_on(fixture.keyring.create(&at(START), key_of("mallory"))).is_err());
}

#[test]
fn a_removal_says_how_many_credentials_it_ended() {
    let fixture = Fixture::new();
    let creator = Context::new(Actor::user(user("alice")), START);
    for name in ["one", "two"] {
        fixture.create(named("alice", KeyName::new(name).unwrap()));
    }
    let robot = NewKey::for_service("acme", "fn-b", "robot", "deploy").unwrap();
    block_on(fixture.keyring.create(&creator, robot)).unwrap();
    fixture.import_guest(LegacyPolicy::until(START.plus_seconds(HOUR)));
    let alice = Target::Owner(team(), Owner::User(user("alice")));
    let ended = block_on(fixture.keyring.remove(&at(START), alice.clone()))
        .unwrap()
        .unwrap();
    assert_eq!(
        (ended.keys, ended.legacy, ended.created_for_others),
        (2, 0, 1)
    );
    let ended = block_on(fixture.keyring.remove(&at(START), alice))
        .unwrap()
        .unwrap();
    assert_eq!(
        (ended.keys, ended.legacy, ended.created_for_others),
        (0, 0, 1)
    );
    let ended = block_on(fixture.keyring.remove_team(&at(START), team()))
        .unwrap()
        .unwrap();
    assert_eq!((ended.keys, ended.legacy), (1, 1));
}

#[test]
fn removing_a_namespace_or_a_team_revokes_its_keys() {
    for target in [Target::Namespace(tenant("fn-a")), Target::Team(team())] {
        let fixture = Fixture::new();
        let key = fixture.create(key_of("alice"));
        fixture.import_guest(LegacyPolicy::until(START.plus_seconds(HOUR)));
        assert_eq!(fixture.decide(GUEST, START), Ok(()));
        match &target {
            Target::Namespace(tenant) => {
                block_on(fixture.keyring.remove_namespace(&at(START), tenant)).unwrap();
            }
            _ => {
                block_on(fixture.keyring.remove_team(&at(START), &team())).unwrap();
            }
        }
        for text in [key.expose(), GUEST] {
            assert_eq!(fixture.decide(text, START), Err(DenyReason::Revoked));
        }
        assert!(block_on(fixture.keyring.create(&at(START), key_of("alice"))).is_err());
    }
}

#[test]
fn new_keys_can_be_created_after_all_keys_of_a_target_were_revoked() {
    let fixture = Fixture::new();
    let leaked = fixture.create(key_of("alice"));
    let target = Target::Owner(team(), Owner::User(user("alice")));
    block_on(fixture.keyring.revoke_all(&at(START), target)).unwrap();
    assert_eq!(
        fixture.decide(leaked.expose(), START),
        Err(DenyReason::Revoked)
    );
    let fresh = fixture.create(key_of("alice"));
    assert_eq!(fixture.decide(fresh.expose(), START), Ok(()));
}

#[test]
fn removing_a_member_writes_one_entry_however_many_keys_exist() {
    let fixture = Fixture::new();
    for n in 0..500 {
        fixture.create(named("bob", KeyName::new(&format!("key {n}")).unwrap()));
    }
    let store = fixture.keyring.store();
    let before = block_on(store.changes(keyfob::store::Revision::ZERO, 10_000))
        .unwrap()
        .next_after;
    block_on(
        fixture
            .keyring
            .remove_member(&at(START), team(), user("bob")),
    )
    .unwrap();
    let changes: Changes = block_on(store.changes(before, 10_000)).unwrap();
    assert_eq!(
        changes.entries.len(),
        1,
        "one cutoff is written, and no key"
    );
}

#[test]
fn revocation_is_permanent() {
    let fixture = Fixture::new();
    let key = fixture.create(key_of("alice"));
    let (ring, tenant, id) = (&fixture.keyring, tenant("fn-a"), key.id());
    let stale = block_on(ring.store().changes(keyfob::store::Revision::ZERO, 100)).unwrap();
    let first: KeyInfo = block_on(ring.revoke(&at(START), &tenant, id, None)).unwrap();
    let again = block_on(ring.revoke(&at(START.plus_seconds(5)), &tenant, id, None)).unwrap();
    assert_eq!(again, first, "the first revocation stands");
    let later = at(START);
    assert!(block_on(ring.enable(&later, &tenant, id, None)).is_err());
    assert!(block_on(ring.rotate(&later, &tenant, id, Rotation::default(), None)).is_err());
    assert!(block_on(ring.update(&later, &tenant, id, KeyUpdate::default(), None)).is_err());

    let index = Arc::new(Index::new(dof(), Peppers::none()));
    block_on(index.follow(ring.store(), START)).unwrap();
    index.apply(&stale, START).unwrap();
    let verifier = index.verifier(None);
    let verdict = verifier.verify_text(key.expose().as_bytes(), &Access::to("fn-a"), START);
    assert_eq!(
        verdict.unwrap_err().reason(),
        DenyReason::Revoked,
        "an old page of the feed does not undo a revocation"
    );
}

#[test]
fn a_disabled_key_can_be_enabled_and_a_deleted_key_is_unknown() {
    let fixture = Fixture::new();
    let key = fixture.create(key_of("alice"));
    let (tenant, id) = (tenant("fn-a"), key.id());
    block_on(fixture.keyring.disable(&at(START), &tenant, id, None)).unwrap();
    assert_eq!(
        fixture.decide(key.expose(), START),
        Err(DenyReason::Disabled)
    );
    block_on(fixture.keyring.enable(&at(START), &tenant, id, None)).unwrap();
    assert_eq!(fixture.decide(key.expose(), START), Ok(()));
    block_on(fixture.keyring.delete(&at(START), &tenant, id, None)).unwrap();
    assert_eq!(
        fixture.decide(key.expose(), START),
        Err(DenyReason::UnknownKey)
    );
    let left = block_on(fixture.keyring.list(&KeyQuery::namespace(&tenant))).unwrap();
    assert!(left.items.is_empty());
}

#[test]
fn an_expiry_can_be_moved_earlier_but_not_later() {
    let fixture = Fixture::new();
    let key = fixture.create(key_of("alice").with_expiry(Expiry::In(Ttl::hours(10).unwrap())));
    let update = |hours: u64| {
        let update = KeyUpdate::default().with_expires_at(START.plus_seconds(hours * HOUR));
        block_on(
            fixture
                .keyring
                .update(&at(START), &tenant("fn-a"), key.id(), update, None),
        )
    };
    assert!(update(11).is_err());
    update(3).unwrap();
    assert!(update(4).is_err());
    let end = START.plus_seconds(3 * HOUR);
    assert_eq!(fixture.decide(key.expose(), end), Err(DenyReason::Expired));
}

#[test]
fn a_call_needs_every_required_scope() {
    let fixture = Fixture::new();
    let [read, write] = ["read", "write"].map(|name| Scope::new(name).unwrap());
    let key = fixture.create(key_of("alice").with_scopes(Scopes::only([read.clone()]).unwrap()));
    let decide = |scopes: &[Scope]| {
        let access = Access::to("fn-a").requiring(scopes);
        let verdict = fixture
            .verifier
            .verify_text(key.expose().as_bytes(), &access, START);
        verdict
            .map(drop)
            .map_err(|denied| (denied.status(), denied.reason()))
    };
    assert_eq!(decide(&[]), Ok(()));
    assert_eq!(decide(std::slice::from_ref(&read)), Ok(()));
    assert_eq!(decide(&[read, write]), Err((403, DenyReason::MissingScope)));
}

#[test]
fn legacy_credentials_are_refused_in_a_brownout_and_from_the_sunset_on() {
    let fixture = Fixture::new();
    let sunset = START.plus_seconds(10 * HOUR);
    fixture.import_guest(LegacyPolicy::Off);
    assert_eq!(fixture.decide(GUEST, START), Err(DenyReason::LegacyOff));

    let rehearsed = LegacyPolicy::until(sunset)
        .with_brownout(START.plus_seconds(HOUR), START.plus_seconds(2 * HOUR))
        .unwrap();
    fixture.set_legacy(rehearsed);
    assert_eq!(fixture.decide(GUEST, START), Ok(()));
    assert_eq!(
        fixture.decide(GUEST, START.plus_seconds(HOUR)),
        Err(DenyReason::LegacyOff)
    );
    assert_eq!(fixture.decide(GUEST, START.plus_seconds(2 * HOUR)), Ok(()));
    let before = Timestamp::from_unix(sunset.as_unix() - 1);
    assert_eq!(fixture.decide(GUEST, before), Ok(()));
    assert_eq!(fixture.decide(GUEST, sunset), Err(DenyReason::LegacyOff));
    fixture.set_legacy(LegacyPolicy::until(sunset.plus_seconds(HOUR)));
    assert_eq!(
        fixture.decide(GUEST, sunset),
        Ok(()),
        "the sunset can be moved again"
    );

    let access = Access::to("fn-a");
    let principal = fixture
        .verifier
        .verify_header(basic(GUEST).as_bytes(), &access, sunset);
    let principal = principal.unwrap();
    assert_eq!(principal.kind(), PrincipalKind::Legacy);
    assert_eq!(principal.owner(), None);
    assert_eq!(
        principal.legacy_subject().as_ref().map(UserId::as_str),
        Some("guest")
    );
}

#[test]
fn legacy_credentials_can_be_turned_off_for_one_namespace() {
    let fixture = Fixture::new();
    fixture.import_guest(LegacyPolicy::until(START.plus_seconds(HOUR)));
    let set = |policy| {
        block_on(
            fixture
                .keyring
                .set_legacy_policy(&at(START), Some(&tenant("fn-a")), policy),
        )
        .unwrap();
    };
    set(Some(LegacyPolicy::Off));
    assert_eq!(fixture.decide(GUEST, START), Err(DenyReason::LegacyOff));
    set(None);
    assert_eq!(fixture.decide(GUEST, START), Ok(()));
}

#[test]
fn a_legacy_credential_is_refused_if_it_was_revoked_or_imported_as_blocked() {
    let fixture = Fixture::new();
    fixture.import_guest(LegacyPolicy::until(START.plus_seconds(HOUR)));
    let id = PresentedLegacy::parse(GUEST.as_bytes()).unwrap().id();
    let elsewhere = block_on(
        fixture
            .keyring
            .revoke_legacy(&at(START), &tenant("fn-b"), id),
    );
    assert!(matches!(elsewhere, Err(manage::Error::NotFound)));
    for _ in 0..2 {
        block_on(
            fixture
                .keyring
                .revoke_legacy(&at(START), &tenant("fn-a"), id),
        )
        .unwrap();
        assert_eq!(fixture.decide(GUEST, START), Err(DenyReason::Revoked));
    }

    let fixture = Fixture::new();
    let (uuid, key) = GUEST.split_once(':').unwrap();
    let line = format!(
        r#"{{"subject":"g","blocked":true,"namespaces":[{{"name":"fn-a","uuid":"{uuid}","key":"{key}"}}]}}"#
    );
    for record in read_subjects(&line, &at(START), &Peppers::none(), |_| Some(team())).records {
        block_on(fixture.keyring.import_legacy(&at(START), record)).unwrap();
    }
    fixture.set_legacy(LegacyPolicy::until(START.plus_seconds(HOUR)));
    assert_eq!(fixture.decide(GUEST, START), Err(DenyReason::Disabled));
}

#[test]
fn a_later_import_blocks_a_legacy_credential_and_changes_nothing_else() {
    let fixture = Fixture::new();
    fixture.import_guest(LegacyPolicy::until(START.plus_seconds(HOUR)));
    let import = |subject: &str, key: &str, blocked: bool| {
        let (uuid, _) = GUEST.split_once(':').unwrap();
        let line = format!(
            r#"{{"subject":"{subject}","blocked":{blocked},"namespaces":[{{"name":"fn-a","uuid":"{uuid}","key":"{key}"}}]}}"#
        );
        let import = read_subjects(&line, &at(START), &Peppers::none(), |_| Some(team()));
        let record = import.records.into_iter().next().unwrap();
        block_on(fixture.keyring.import_legacy(&at(START), record))
    };
    let (_, key) = GUEST.split_once(':').unwrap();
    assert_eq!(import("other", key, false).unwrap(), Imported::Kept);
    assert_eq!(fixture.decide(GUEST, START), Ok(()));
    let other = import("g", &"k".repeat(64), true);
    assert!(matches!(
        other,
        Err(manage::Error::Conflict(Conflict::IdTaken))
    ));
    assert_eq!(fixture.decide(GUEST, START), Ok(()));
    assert_eq!(import("g", key, true).unwrap(), Imported::Blocked);
    assert_eq!(fixture.decide(GUEST, START), Err(DenyReason::Disabled));
    for blocked in [true, false] {
        assert_eq!(import("g", key, blocked).unwrap(), Imported::Kept);
        assert_eq!(fixture.decide(GUEST, START), Err(DenyReason::Disabled));
    }
}

#[test]
fn peppers_can_be_rotated_without_new_secrets() {
    let [one, two] = [1, 2].map(|id| PepperId::new(id).unwrap());
    let old = Peppers::none().with_current(one, &[1; 32]).unwrap();
    let both = old.clone().with_current(two, &[2; 32]).unwrap();
    let new = Peppers::none().with_current(two, &[2; 32]).unwrap();

    // The keys are created without a pepper, with pepper 1, and with pepper 2, over the same store.
    let store = Arc::new(MemoryStore::new());
    let ring = |peppers: &Peppers| open(Arc::clone(&store), peppers.clone());
    let keys: Vec<IssuedKey> = [(&Peppers::none(), "a"), (&old, "b"), (&both, "c")]
        .into_iter()
        .map(|(peppers, name)| {
            block_on(ring(peppers).create(&at(START), key_of(name)))
                .unwrap()
                .secret
        })
        .collect();
    let decide = |peppers: &Peppers, key: &IssuedKey| {
        let verifier = ring(peppers).verifier();
        let verdict = verifier.verify_text(key.expose().as_bytes(), &Access::to("fn-a"), START);
        verdict.map(|principal| principal.needs_rehash()).ok()
    };
    let verdicts = |peppers| {
        keys.iter()
            .map(|key| decide(peppers, key))
            .collect::<Vec<_>>()
    };
    assert_eq!(verdicts(&both), [Some(true), Some(true), Some(false)]);
    assert_eq!(verdicts(&new), [Some(true), None, Some(false)]);

    // A missing pepper is a server fault, not a fault of the caller.
    let verifier = ring(&new).verifier();
    let denied = verifier
        .verify_text(keys[1].expose().as_bytes(), &Access::to("fn-a"), START)
        .unwrap_err();
    assert_eq!(
        (denied.status(), denied.reason()),
        (503, DenyReason::PepperMissing)
    );

    // A rotation between pepper changes leaves a key's two secrets under different peppers.
    let rotation = Rotation::new().with_grace(Duration::from_secs(HOUR));
    let rotated =
        block_on(ring(&both).rotate(&at(START), &tenant("fn-a"), keys[1].id(), rotation, None))
            .unwrap()
            .secret;
    assert_eq!(decide(&both, &rotated), Some(false));
    assert_eq!(decide(&both, &keys[1]), Some(false));
    assert_eq!(decide(&new, &keys[1]), None);

    let rehash = |key: &IssuedKey| {
        let text = key.expose().to_owned();
        let presented = PresentedKey::parse(&dof(), text.as_bytes()).unwrap();
        block_on(ring(&both).rehash(&at(START), &tenant("fn-a"), &presented))
            .map(|info| info.revision)
    };
    let first = rehash(&keys[0]).unwrap();
    assert_eq!(
        rehash(&keys[0]).unwrap(),
        first,
        "a second rehash changes nothing"
    );
    assert!(
        rehash(&keys[1]).is_err(),
        "a replaced secret is not the current one"
    );
    assert_eq!(decide(&new, &keys[0]), Some(false));
}

#[test]
fn last_use_is_recorded_in_batches() {
    let fixture = Fixture::new();
    let usage = Arc::new(UsageRecorder::new(100));
    let verifier = fixture.verifier.clone().with_usage(Arc::clone(&usage));
    let key = fixture.create(key_of("alice"));
    fixture.import_guest(LegacyPolicy::until(START.plus_seconds(HOUR)));
    let call = |text: &str, namespace: &str, seconds: u64| {
        let access = Access::to(namespace);
        let _ = verifier.verify_text(text.as_bytes(), &access, START.plus_seconds(seconds));
    };
    call(key.expose(), "fn-a", 0);
    call(key.expose(), "fn-a", 30);
    call(key.expose(), "elsewhere", 120);
    call("garbage", "fn-a", 130);
    call(GUEST, "fn-a", 140);
    assert_eq!(
        block_on(fixture.keyring.flush_usage(&usage, START)).unwrap(),
        0
    );

    let id = keyfob::key::CredentialId::Key(key.id());
    let known = block_on(fixture.keyring.usage(&[id])).unwrap();
    assert_eq!(
        known[0].last_used,
        Some(START),
        "a refused call is not a use"
    );
    assert_eq!((known[0].accepted, known[0].refused), (2, 1));
    let all = block_on(fixture.keyring.legacy_use(&tenant("fn-a"))).unwrap();
    assert_eq!((all.credentials, all.accepted), (1, 1));
    let none = block_on(fixture.keyring.legacy_use(&tenant("fn-b"))).unwrap();
    assert_eq!((none.credentials, none.accepted), (0, 0));
    let report = block_on(fixture.keyring.legacy_report(&LegacyQuery::every_team())).unwrap();
    assert_eq!(report.items[0].record.tenant, tenant("fn-a"));
    assert_eq!(
        report.items[0].usage.as_ref().map(|usage| usage.accepted),
        Some(1)
    );
}

#[test]
fn every_call_is_refused_before_the_index_is_ready() {
    let store = Arc::new(MemoryStore::new());
    let ring = open(Arc::clone(&store), Peppers::none());
    let key = block_on(ring.create(&at(START), key_of("alice")));
    let key = key.unwrap().secret;
    let index = Arc::new(Index::new(dof(), Peppers::none()));
    let verifier = index.verifier(None);
    let decide = || verifier.verify_text(key.expose().as_bytes(), &Access::to("fn-a"), START);
    let denied = decide().unwrap_err();
    assert_eq!(
        (denied.status(), denied.reason()),
        (503, DenyReason::NotReady)
    );
    block_on(index.follow(&store, START)).unwrap();
    assert!(decide().is_ok());
}

#[test]
fn an_index_rejects_a_feed_with_a_gap_or_a_lower_revision() {
    let fixture = Fixture::new();
    for name in ["a", "b", "c"] {
        fixture.create(key_of(name));
    }
    let store = fixture.keyring.store();
    let two = keyfob::store::Revision::new(2);
    let index = Index::new(dof(), Peppers::none());
    let late = block_on(store.changes(two, 10)).unwrap();
    assert!(matches!(
        index.apply(&late, START),
        Err(keyfob::gateway::IndexError::Gap { .. })
    ));
    block_on(index.follow(store, START)).unwrap();
    let other = MemoryStore::new();
    assert!(matches!(
        block_on(index.follow(&other, START)),
        Err(keyfob::gateway::FollowError::Index(
            keyfob::gateway::IndexError::Regressed { .. }
        ))
    ));
}

#[test]
fn an_index_is_not_ready_after_an_outdated_end_of_the_feed() {
    let fixture = Fixture::new();
    let store = fixture.keyring.store();
    let key = fixture.create(key_of("alice"));
    let tenant = tenant("fn-a");
    block_on(fixture.keyring.disable(&at(START), &tenant, key.id(), None)).unwrap();
    let index = Arc::new(Index::new(dof(), Peppers::none()));
    let verifier = index.verifier(None);
    // One follower reads the end of the feed and applies it late. Meanwhile the key gets a new
    // revision, and another follower applies a page that does not reach it.
    let late = block_on(store.changes(keyfob::store::Revision::ZERO, 10)).unwrap();
    for name in ["b", "c"] {
        fixture.create(key_of(name));
    }
    block_on(
        fixture
            .keyring
            .update(&at(START), &tenant, key.id(), KeyUpdate::default(), None),
    )
    .unwrap();
    let part = block_on(store.changes(keyfob::store::Revision::ZERO, 1)).unwrap();
    index.apply(&part, START).unwrap();
    index.apply(&late, START).unwrap();
    assert!(!index.is_ready(), "the key's new position was not read yet");
    block_on(index.follow(store, START)).unwrap();
    let verdict = verifier.verify_text(key.expose().as_bytes(), &Access::to("fn-a"), START);
    assert_eq!(verdict.unwrap_err().reason(), DenyReason::Disabled);
}

#[test]
fn every_refusal_has_the_same_text() {
    let fixture = Fixture::new();
    let key = fixture.create(key_of("alice"));
    let access = Access::to("elsewhere");
    let own = Access::to("fn-a");
    let texts: Vec<String> = [
        fixture
            .verifier
            .verify_text(key.expose().as_bytes(), &access, START),
        fixture.verifier.verify_text(b"", &own, START),
        fixture.verifier.verify_header(b"Basic !", &own, START),
        fixture.verifier.verify_headers([], &own, START),
        fixture
            .verifier
            .verify_headers([&b"Basic a"[..], b"Basic a"], &own, START),
    ]
    .into_iter()
    .map(|verdict| verdict.unwrap_err().to_string())
    .collect();
    assert!(
        texts.iter().all(|text| text == "access denied"),
        "{texts:?}"
    );
}

#[test]
fn an_actor_with_a_legacy_credential_is_not_the_system() {
    let fixture = Fixture::new();
    fixture.import_guest(LegacyPolicy::until(START.plus_seconds(HOUR)));
    let access = Access::to("fn-a");
    let principal = fixture
        .verifier
        .verify_text(GUEST.as_bytes(), &access, START);
    let actor = principal.unwrap().to_actor();
    assert_ne!(actor, Actor::system());
    assert_eq!(
        actor.to_string(),
        "somebody with legacy:23bc46b1-71f6-4ed5-8c54-816aa4f8c502"
    );
}

#[test]
fn an_expiry_cannot_be_moved_before_the_not_before_time() {
    let fixture = Fixture::new();
    let begin = START.plus_seconds(HOUR);
    let key = fixture.create(key_of("alice").with_not_before(begin));
    let update = KeyUpdate::default().with_expires_at(begin);
    let (context, tenant) = (at(START), tenant("fn-a"));
    let outcome = block_on(
        fixture
            .keyring
            .update(&context, &tenant, key.id(), update, None),
    );
    assert!(matches!(
        outcome,
        Err(manage::Error::Lifecycle(manage::LifecycleError::NeverValid))
    ));
}

#[test]
fn every_change_has_an_audit_event() {
    let fixture = Fixture::new();
    let key = fixture.create(key_of("alice"));
    let (ring, tenant, id) = (&fixture.keyring, tenant("fn-a"), key.id());
    block_on(ring.disable(&at(START), &tenant, id, None)).unwrap();
    block_on(ring.disable(&at(START), &tenant, id, None)).unwrap();
    block_on(ring.revoke(&at(START), &tenant, id, None)).unwrap();
    assert!(block_on(ring.enable(&at(START), &tenant, id, None)).is_err());
    block_on(ring.delete(&at(START), &tenant, id, None)).unwrap();
    let events = block_on(ring.audit(&keyfob::store::AuditQuery::every_team()))
        .unwrap()
        .items;
    let actions: Vec<&str> = events
        .iter()
        .map(|event| event.entry.action.as_str())
        .collect();
    assert_eq!(
        actions,
        ["key_created", "key_disabled", "key_revoked", "key_deleted"]
    );
    for event in &events {
        assert_eq!(event.entry.actor, Actor::user(user("admin")));
        assert_eq!(event.entry.owner, Some(Owner::User(user("alice"))));
        assert_eq!(
            event.entry.credential,
            Some(keyfob::key::CredentialId::Key(id))
        );
        assert_eq!(event.entry.namespace.as_ref(), Some(&tenant.namespace));
    }
    let verified = block_on(ring.verify_audit(None)).unwrap();
    assert_eq!(verified.head.hash, events[3].hash);
}
