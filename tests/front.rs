//! What a person types and a program passes on: text forms, constructors, lists, statuses.

mod support;

use std::{
    fmt::{Debug, Display},
    str::FromStr,
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, SystemTime},
};

use keyfob::{
    Access, Context, Expiry, Keyring, MemoryStore, NewKey, Owner, Scopes, Tenant, Timestamp, Ttl,
    audit::{Action, VerifyError},
    block_on,
    gateway::PrincipalKind,
    key::{CredentialId, FormatError, KeyFormat, Random, RandomError},
    manage::{Authority, Error, LifecycleError, OwnerError, TimestampError, TtlError},
    name::{KeyName, NameError, Scope, ServiceId, TeamId, UserId},
    store::{
        ActorFault, AuditQuery, Conflict, Cursor, Journal, JournalEntry, JournaledStore, KeyQuery,
        NamespaceQuery, Revision, StatusFilter, StoreError, Target,
    },
};

use support::Unreliable;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

fn system() -> Context {
    Context::system(NOW)
}

fn keyring() -> Keyring {
    block_on(Keyring::open(MemoryStore::new(), "dof")).unwrap()
}

fn alice(name: &str) -> NewKey {
    NewKey::for_user("acme", "fn-a", "alice", name).unwrap()
}

/// A text reads back as what it stands for.
fn one_text<T>(value: &T, text: &str)
where
    T: Debug + Display + FromStr<Err: Debug> + PartialEq,
{
    assert_eq!(value.to_string(), text);
    assert_eq!(&text.parse::<T>().unwrap(), value);
}

fn one_json<T>(value: &T, json: &str)
where
    T: Debug + PartialEq + serde::Serialize + serde::de::DeserializeOwned,
{
    assert_eq!(serde_json::to_string(value).unwrap(), json);
    assert_eq!(&serde_json::from_str::<T>(json).unwrap(), value);
}

#[test]
fn an_owner_has_one_text_also_in_json() {
    let alice = Owner::User(UserId::new("alice").unwrap());
    let robot = Owner::Service(ServiceId::new("deploy:bot").unwrap());
    one_text(&alice, "user:alice");
    one_text(&robot, "service:deploy:bot");
    one_json(&alice, "\"user:alice\"");
    one_json(&robot, "\"service:deploy:bot\"");
    for wrong in ["", "alice", "User:alice", " user:alice", "team:alice"] {
        assert_eq!(wrong.parse::<Owner>(), Err(OwnerError::Kind), "{wrong:?}");
    }
    for wrong in ["user:", "service:", "user:a\u{7}"] {
        let error = wrong.parse::<Owner>().unwrap_err();
        assert!(matches!(error, OwnerError::Name(_)), "{wrong:?}: {error}");
    }
    assert!(serde_json::from_str::<Owner>(r#"{"user": "alice"}"#).is_err());
}

#[test]
fn a_credential_id_has_one_text_also_in_json() {
    let digits = "d79e8aeb42e5476893c7d4c59a166264";
    let uuid = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502";
    for text in [format!("key:{digits}"), format!("legacy:{uuid}")] {
        let id: CredentialId = text.parse().unwrap();
        one_text(&id, &text);
        one_json(&id, &format!("\"{text}\""));
    }
    for wrong in [
        digits.to_owned(),
        format!("key:{}", &digits[1..]),
        format!("key:{}", digits.to_uppercase()),
        format!("key:{uuid}"),
        format!("legacy:{digits}"),
        format!("legacy:{uuid} "),
    ] {
        wrong.parse::<CredentialId>().unwrap_err();
        assert!(serde_json::from_str::<CredentialId>(&format!("\"{wrong}\"")).is_err());
    }
}

#[test]
fn a_timestamp_has_one_text_and_reads_every_offset() {
    one_text(&Timestamp::from_unix(1_766_140_200), "2025-12-19T10:30:00Z");
    one_text(&Timestamp::MAX, "9999-12-31T23:59:59Z");
    let moment = Ok(Timestamp::from_unix(1_766_140_200));
    for text in ["2025-12-19T12:30:00+02:00", "2025-12-19T10:30:00.999Z"] {
        assert_eq!(text.parse(), moment, "{text}");
    }
    for wrong in [
        "",
        "2025-12-19",
        "2025-12-19T10:30:00",
        "1766140200",
        "2025-13-01T00:00:00Z",
    ] {
        assert_eq!(wrong.parse::<Timestamp>(), Err(TimestampError), "{wrong:?}");
    }
    let system = SystemTime::UNIX_EPOCH + Duration::from_millis(1_766_140_200_999);
    assert_eq!(Ok(Timestamp::from(system)), moment);
}

#[test]
fn a_key_format_has_one_text_also_in_json() {
    let dof = KeyFormat::new("dof").unwrap();
    one_text(&dof, "dof");
    one_json(&dof, "\"dof\"");
    assert_eq!(KeyFormat::try_from("dof"), Ok(dof));
    for wrong in ["", "Dof", "1of", "dof_", "abcdefghijklmnopq"] {
        wrong.parse::<KeyFormat>().unwrap_err();
        assert!(serde_json::from_str::<KeyFormat>(&format!("\"{wrong}\"")).is_err());
    }
}

#[test]
fn a_ttl_has_one_text_and_zero_is_refused() {
    one_text(&Ttl::days(90).unwrap(), "90d");
    one_text(&Ttl::hours(25).unwrap(), "25h");
    for zero in [
        Ttl::days(0),
        Ttl::hours(0),
        "0d".parse(),
        Duration::ZERO.try_into(),
    ] {
        assert_eq!(zero, Err(TtlError::TooShort));
    }
}

#[test]
fn statuses_and_actions_have_one_text() {
    for text in ["active", "disabled", "revoked"] {
        one_text(&text.parse::<StatusFilter>().unwrap(), text);
    }
    for action in Action::ALL {
        assert_eq!(action.as_str().parse(), Ok(action));
    }
}

#[test]
fn a_new_key_is_parsed_in_one_call_and_the_error_names_the_field() {
    let new = alice("laptop");
    assert_eq!(new.tenant, Tenant::parse("acme", "fn-a").unwrap());
    assert_eq!(new.owner, "user:alice".parse().unwrap());
    assert_eq!(new.name, KeyName::new("laptop").unwrap());
    assert_eq!((&new.scopes, &new.expiry), (&Scopes::All, &Expiry::Never));
    let robot = NewKey::for_service("acme", "fn-a", "ci", "deploy").unwrap();
    assert_eq!(robot.owner, "service:ci".parse().unwrap());

    let ttl = Ttl::days(1).unwrap();
    assert_eq!(alice("a").expires_in(ttl).expiry, Expiry::In(ttl));
    assert_eq!(alice("a").expires_at(NOW).expiry, Expiry::At(NOW));

    let bad = "\u{7}";
    let texts = [
        NewKey::for_user(bad, "fn-a", "alice", "laptop"),
        NewKey::for_user("acme", bad, "alice", "laptop"),
        NewKey::for_user("acme", "fn-a", bad, "laptop"),
        NewKey::for_user("acme", "fn-a", "alice", bad),
        NewKey::for_service("acme", "fn-a", bad, "deploy"),
    ];
    let texts = texts.map(|new| new.unwrap_err().to_string());
    for (text, field) in texts
        .iter()
        .zip(["team", "namespace", "user", "name", "service"])
    {
        assert!(
            text.starts_with(field),
            "{text:?} does not name the {field}"
        );
    }
    assert!(Tenant::parse("acme", "").is_err() && Tenant::parse("", "fn-a").is_err());
}

#[test]
fn members_and_services_are_named_by_text_or_by_id() {
    let keyring = keyring();
    let context = system();
    for new in [
        NewKey::for_user("acme", "fn-a", "alice", "laptop"),
        NewKey::for_service("acme", "fn-a", "ci", "deploy"),
    ] {
        block_on(keyring.create(&context, new.unwrap())).unwrap();
    }
    block_on(keyring.remove_member(&context, "acme", "alice")).unwrap();
    let (team, user) = (TeamId::new("acme").unwrap(), UserId::new("alice").unwrap());
    block_on(keyring.restore_member(&context, &team, user)).unwrap();
    block_on(keyring.remove_service(&context, team.clone(), "ci")).unwrap();
    block_on(keyring.restore_service(&context, &team, "ci")).unwrap();
    block_on(keyring.remove_team(&context, "acme")).unwrap();
    block_on(keyring.restore(&context, Target::Team(team))).unwrap();

    let wrong = block_on(keyring.remove_member(&context, "", "alice")).unwrap_err();
    assert!(matches!(wrong, Error::Name(_)));
    assert_eq!(wrong.status(), 400);
}

#[test]
fn a_store_keeps_the_prefix_of_its_keys_and_refuses_another() {
    let store = Arc::new(MemoryStore::new());
    block_on(Keyring::open(Arc::clone(&store), "dof")).unwrap();
    block_on(Keyring::open(
        Arc::clone(&store),
        KeyFormat::new("dof").unwrap(),
    ))
    .unwrap();
    let other = block_on(Keyring::open(Arc::clone(&store), "acme")).unwrap_err();
    let [dof, acme] = ["dof", "acme"].map(|prefix| KeyFormat::new(prefix).unwrap());
    let Error::OtherFormat { store, asked } = other else {
        panic!("{other}");
    };
    assert_eq!((*store, *asked), (dof, acme));
    let bad = block_on(Keyring::open(MemoryStore::new(), "Dof")).unwrap_err();
    assert!(matches!(
        bad,
        Error::Format(FormatError::Character { at: 0 })
    ));
}

#[test]
fn every_error_has_its_status() {
    let team = || Target::Team(TeamId::new("acme").unwrap());
    let name = KeyName::new("").unwrap_err();
    let store = || StoreError::unknown("the cable was cut");
    let table: Vec<(Error, u16)> = vec![
        (Error::NotFound, 404),
        (Conflict::NotFound.into(), 404),
        (Conflict::ForeignNamespace.into(), 404),
        (Conflict::Stale.into(), 409),
        (Conflict::Revoked.into(), 409),
        (Conflict::OtherOwner.into(), 409),
        (Conflict::IdTaken.into(), 409),
        (Conflict::NameTaken.into(), 409),
        (Conflict::TooManyKeys.into(), 409),
        (Conflict::Removed(team()).into(), 409),
        (Conflict::NotRemoved(team()).into(), 409),
        (Conflict::Actor(ActorFault::Unknown).into(), 401),
        (Conflict::Actor(ActorFault::Revoked).into(), 401),
        (Conflict::Actor(ActorFault::Disabled).into(), 401),
        (Conflict::Actor(ActorFault::NotYetValid).into(), 401),
        (Conflict::Actor(ActorFault::Expired).into(), 401),
        (Conflict::Actor(ActorFault::Removed).into(), 401),
        (Conflict::Actor(ActorFault::MissingScope).into(), 403),
        (LifecycleError::ExpiryRequired.into(), 400),
        (LifecycleError::NeverValid.into(), 400),
        (LifecycleError::ExpiryExtended.into(), 400),
        (LifecycleError::Revoked.into(), 409),
        (LifecycleError::Expired.into(), 409),
        (LifecycleError::OtherSecret.into(), 409),
        (LifecycleError::Random(RandomError).into(), 503),
        (name.into(), 400),
        (FormatError::Empty.into(), 500),
        (store().into(), 503),
        (Error::NotSynced(store().into()), 503),
        (Error::AppliedNotSynced(store().into()), 503),
        (
            VerifyError::HeadDiffers {
                revision: Revision::new(1),
            }
            .into(),
            500,
        ),
    ];
    for (error, status) in table {
        assert_eq!(error.status(), status, "{error:?}");
    }
    let _: NameError = KeyName::new("").unwrap_err();
}

/// Creates so many keys, named by their numbers, and returns the names.
fn fill(keyring: &Keyring, keys: usize) -> Vec<String> {
    let names: Vec<String> = (0..keys).map(|n| format!("{n}")).collect();
    for name in &names {
        block_on(keyring.create(&system(), alice(name))).unwrap();
    }
    names
}

#[test]
fn a_walk_goes_through_every_page_in_order() {
    let keyring = keyring();
    let names = fill(&keyring, 25);
    for limit in [1, 7, 25, 100] {
        let team = TeamId::new("acme").unwrap();
        let mut walk = keyring.walk(KeyQuery::team(team).limit(limit));
        let mut walked = Vec::new();
        while let Some(key) = block_on(walk.next()).unwrap() {
            walked.push(key.name.to_string());
        }
        assert_eq!(walked, names, "pages of {limit}");
        assert!(
            block_on(walk.next()).unwrap().is_none(),
            "it stays at its end"
        );
    }
    let mut pages = keyring.walk(AuditQuery::every_team().limit(10));
    let mut sizes = Vec::new();
    while let Some(page) = block_on(pages.next_page()).unwrap() {
        sizes.push(page.len());
    }
    assert_eq!(sizes, [10, 10, 5]);
    let mut namespaces = keyring.walk(NamespaceQuery::every_team());
    let only = block_on(namespaces.next()).unwrap().unwrap();
    assert_eq!(only.tenant, Tenant::parse("acme", "fn-a").unwrap());
    assert!(block_on(namespaces.next()).unwrap().is_none());
}

#[test]
fn the_rest_of_a_page_comes_before_the_next_page() {
    let keyring = keyring();
    let names = fill(&keyring, 5);
    let team = TeamId::new("acme").unwrap();
    let mut walk = keyring.walk(KeyQuery::team(team).limit(3));
    let first = block_on(walk.next()).unwrap().unwrap();
    assert_eq!(first.name.as_str(), names[0]);
    let page = |keys: Option<Vec<keyfob::KeyInfo>>| -> Vec<String> {
        let names = keys.unwrap().into_iter().map(|key| key.name.to_string());
        names.collect()
    };
    assert_eq!(page(block_on(walk.next_page()).unwrap()), names[1..3]);
    assert_eq!(page(block_on(walk.next_page()).unwrap()), names[3..]);
    assert!(block_on(walk.next_page()).unwrap().is_none());
}

#[test]
fn a_walk_begins_where_its_query_says() {
    let keyring = keyring();
    let names = fill(&keyring, 5);
    let team = TeamId::new("acme").unwrap();
    let query = KeyQuery::team(team).after(Cursor::after(Revision::new(3)));
    let mut walk = keyring.walk(query);
    let first = block_on(walk.next()).unwrap().unwrap();
    assert_eq!(first.name.as_str(), names[3]);
}

#[test]
fn a_walk_that_failed_tries_the_same_page_again() {
    let store = Arc::new(Unreliable::default());
    let keyring = block_on(Keyring::open(Arc::clone(&store), "dof")).unwrap();
    let names = fill(&keyring, 5);
    let team = TeamId::new("acme").unwrap();
    let mut walk = keyring.walk(KeyQuery::team(team).limit(2));
    let mut walked = Vec::new();
    let mut failures = 0;
    loop {
        store.fail(true);
        let key = match block_on(walk.next()) {
            // The rest of a page needs no read.
            Ok(key) => key,
            Err(error) => {
                assert_eq!(error.status(), 503);
                failures += 1;
                store.fail(false);
                block_on(walk.next()).unwrap()
            }
        };
        match key {
            Some(key) => walked.push(key.name.to_string()),
            None => break,
        }
    }
    assert_eq!(failures, 3, "each of three pages failed once");
    assert_eq!(walked, names);
}

#[test]
fn a_key_whose_journal_fails_is_not_kept() {
    struct Full(AtomicUsize);

    impl Journal for Full {
        fn append(
            &mut self,
            _: &JournalEntry<'_>,
        ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            let left = self.0.get_mut();
            *left = left.checked_sub(1).ok_or("no space left")?;
            Ok(())
        }
    }

    // The key format and one key.
    let store = Arc::new(JournaledStore::replay(Full(AtomicUsize::new(2)), []).unwrap());
    let keyring = block_on(Keyring::open(Arc::clone(&store), "dof")).unwrap();
    block_on(keyring.create(&system(), alice("first"))).unwrap();
    let mut definite = Vec::new();
    for name in ["second", "third"] {
        let Err(Error::Store(error)) = block_on(keyring.create(&system(), alice(name))) else {
            panic!("the journal is full");
        };
        definite.push(error.is_definite());
    }
    assert_eq!(
        definite,
        [false, true],
        "after a failure nothing is written"
    );
    let team = TeamId::new("acme").unwrap();
    let keys = block_on(keyring.list(&KeyQuery::team(team))).unwrap().items;
    assert_eq!(keys.len(), 1);
}

#[test]
fn an_owned_principal_says_what_the_principal_says() {
    let keyring = keyring();
    let verifier = keyring.verifier();
    let read = Scope::new("read").unwrap();
    let new = alice("laptop")
        .with_scopes(Scopes::only([read]).unwrap())
        .expires_at(NOW.plus_seconds(7_200));
    let key = block_on(keyring.create(&system(), new)).unwrap().secret;
    let access = Access::to("fn-a");
    let text = key.expose().as_bytes();
    let principal = verifier.verify_text(text, &access, NOW).unwrap();
    let owned = principal.to_owned();
    assert_eq!(owned.credential, principal.credential());
    assert_eq!(owned.kind, PrincipalKind::Personal);
    assert_eq!(&owned.tenant.namespace, principal.namespace());
    assert_eq!(&owned.tenant.team, principal.team());
    assert_eq!(owned.owner, principal.owner());
    assert_eq!(owned.legacy_subject, None);
    assert_eq!(owned.scopes, principal.scopes());
    assert_eq!(owned.expires_at, principal.expires_at());
    assert!(!owned.used_replaced_secret);
    assert_eq!(owned.to_string(), principal.to_string());
    assert_eq!(owned.to_actor(), principal.to_actor());
    assert_eq!(owned.context(NOW), principal.context(NOW));
    let Authority::Credential { id, scopes, .. } = owned.context(NOW).authority else {
        panic!("a principal acts by its credential");
    };
    assert_eq!((id, scopes), (owned.credential, owned.scopes.clone()));
    // It outlives the verifier.
    drop(verifier);
    drop(keyring);
    assert_eq!(owned.to_string(), "user:alice");
}

#[test]
fn a_bearer_value_is_the_header_and_its_debug_is_not() {
    let keyring = keyring();
    let created = block_on(keyring.create(&system(), alice("laptop"))).unwrap();
    let header = created.secret.bearer();
    assert_eq!(
        header.as_str(),
        format!("Bearer {}", created.secret.expose())
    );
    assert_eq!(header.as_bytes(), header.as_str().as_bytes());
    for text in [
        format!("{header:?}"),
        format!("{header:#?}"),
        format!("{created:?}"),
    ] {
        assert!(!text.contains(created.secret.expose_secret()), "{text}");
    }
    let verifier = keyring.verifier();
    let access = Access::to("fn-a");
    let principal = verifier.verify_header(header.as_bytes(), &access, NOW);
    assert_eq!(principal.unwrap().key_id(), Some(created.info.id));
}

#[test]
fn a_key_is_made_of_the_embedders_randomness_and_none_without() {
    struct Counting(u8);
    struct Failing;

    impl Random for Counting {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = self.0.wrapping_add(u8::try_from(at).unwrap_or_default());
            }
            Ok(())
        }
    }

    impl Random for Failing {
        fn fill(&self, _: &mut [u8]) -> Result<(), RandomError> {
            Err(RandomError)
        }
    }

    let format = KeyFormat::new("dof").unwrap();
    let builder = Keyring::builder(MemoryStore::new(), format).random(Counting(7));
    let keyring = block_on(builder.open(NOW)).unwrap();
    let key = block_on(keyring.create(&system(), alice("laptop")))
        .unwrap()
        .secret;
    assert_eq!(key.id().to_bytes()[..3], [7, 8, 9]);
    let again = block_on(keyring.create(&system(), alice("other"))).unwrap_err();
    assert!(matches!(again, Error::Conflict(Conflict::IdTaken)));

    let builder = Keyring::builder(MemoryStore::new(), format).random(Failing);
    let keyring = block_on(builder.open(NOW)).unwrap();
    let failed = block_on(keyring.create(&system(), alice("laptop"))).unwrap_err();
    assert!(matches!(
        failed,
        Error::Lifecycle(LifecycleError::Random(RandomError))
    ));
    let team = TeamId::new("acme").unwrap();
    let keys = block_on(keyring.list(&KeyQuery::team(team))).unwrap().items;
    assert!(keys.is_empty());
}
