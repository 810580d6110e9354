//! The schema: made by one of many, refused if it is of a later version, held by constraints.

use keyfob::KeyStore;
use keyfob_postgres::{ConnectError, Options, PostgresStore};
use keyfob_testkit::process::{Process, say};

use crate::{
    process, server,
    work::{check, create, key, user},
};

/// Waits for the word, and connects.
pub(crate) async fn connect(url: &str) {
    say("ready");
    let mut word = String::new();
    std::io::stdin().read_line(&mut word).unwrap();
    let store = PostgresStore::connect(url).await.expect("it can connect");
    let made = create(&store, key(&user("alice"), "first")).await;
    made.expect("the schema is there");
    say("done");
}

#[test]
fn several_processes_may_make_the_schema_at_once() {
    server::run(async {
        for _ in 0..3 {
            let database = server::shared().database().await;
            let url = database.url();
            let mut processes: Vec<Process> =
                (0..5).map(|_| process::start("connect", &url)).collect();
            for process in &mut processes {
                process.tell("go");
            }
            for process in processes {
                assert_eq!(process.heard().as_deref(), Some("done"));
                assert!(process.end());
            }
            let store = PostgresStore::connect(&url).await.unwrap();
            assert_eq!(check(&store).await.0.get(), 5);
        }
    });
}

#[test]
fn a_schema_of_a_later_version_is_refused() {
    server::run(async {
        let store = server::store().await;
        let admin = store.database.client().await;
        let later = "INSERT INTO keyfob.refinery_schema_history \
                     SELECT 1000, 'later', applied_on, checksum FROM keyfob.refinery_schema_history";
        admin.batch_execute(later).await.unwrap();
        let error = PostgresStore::connect(&store.database.url())
            .await
            .unwrap_err();
        assert!(
            matches!(error, ConnectError::Newer { found: 1000, .. }),
            "{error:?}"
        );
        let said = error.to_string();
        assert!(
            said.contains("schema 1000") && said.contains("up to 1"),
            "{said}"
        );
    });
}

#[test]
fn a_schema_with_another_history_is_refused() {
    server::run(async {
        let store = server::store().await;
        let admin = store.database.client().await;
        let other = "UPDATE keyfob.refinery_schema_history SET checksum = '1'";
        admin.batch_execute(other).await.unwrap();
        let error = PostgresStore::connect(&store.database.url())
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::Migration(_)), "{error:?}");
    });
}

#[test]
fn a_database_in_another_encoding_is_refused() {
    server::run(async {
        let admin = server::shared().client("postgres").await;
        let name = format!("latin_{:x}", server::random());
        let make = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1'");
        admin.batch_execute(&make).await.unwrap();
        let url = server::shared().url(&name);
        let error = PostgresStore::connect(&url).await.unwrap_err();
        assert!(matches!(error, ConnectError::Encoding(_)), "{error:?}");
    });
}

#[test]
fn stores_in_two_schemas_are_independent() {
    server::run(async {
        let store = server::store().await;
        let options = Options::default().with_schema("select");
        let other = server::connect(&store.database, &options).await;
        create(&*store, key(&user("alice"), "one")).await.unwrap();
        assert_eq!(check(&other).await.0.get(), 0);
        create(&other, key(&user("alice"), "one")).await.unwrap();
        assert_eq!(check(&other).await.0.get(), 1);
        let bad = Options::default().with_schema("a\"; DROP SCHEMA keyfob; --");
        let error = bad.connect(&store.database.url()).await.unwrap_err();
        assert!(matches!(error, ConnectError::Schema), "{error:?}");
    });
}

/// The database refuses what no program may do.
#[test]
fn the_database_enforces_the_contract() {
    server::run(async {
        let store = server::store().await;
        let record = create(&*store, key(&user("alice"), "one")).await.unwrap();
        let gone = create(&*store, key(&user("alice"), "two")).await.unwrap();
        let keyring = crate::work::keyring(&store).await;
        let context = crate::work::context();
        let tenant = crate::work::tenant();
        keyring
            .revoke(&context, &tenant, record.id, None)
            .await
            .unwrap();
        keyring
            .delete(&context, &tenant, gone.id, None)
            .await
            .unwrap();
        let team = &tenant.team;
        let bob = keyfob::store::Target::Owner(team.clone(), user("bob"));
        keyring.remove_in_advance(&context, bob).await.unwrap();
        let admin = store.database.client().await;
        admin
            .batch_execute("SET search_path = keyfob")
            .await
            .unwrap();
        for wrong in [
            "UPDATE log SET revision = revision + 2",
            "UPDATE log SET revision = revision - 1",
            "DELETE FROM log",
            "INSERT INTO log VALUES (2, 0, decode(repeat('00', 32), 'hex'), 0, NULL)",
            "UPDATE log SET key_format = '\"other\"'",
            "UPDATE log SET key_format = NULL",
            "UPDATE audit SET entry = entry || '{\"reason\": \"another\"}'",
            "DELETE FROM audit",
            "TRUNCATE audit",
            "UPDATE keys SET record = record || '{\"status\": \"active\", \"revision\": 100}'",
            "DELETE FROM deleted_keys",
            "UPDATE cutoffs SET record = record || '{\"up_to\": 1, \"revision\": 100}'",
            "DELETE FROM cutoffs",
            "UPDATE namespaces SET record = record || '{\"created_at\": 1}'",
            "DELETE FROM namespaces",
            "INSERT INTO keys SELECT record - 'name' || '{\"id\": \"01\", \"created_revision\": 100, \
             \"revision\": 100}' FROM keys",
            "INSERT INTO keys SELECT record || '{\"id\": \"01\", \"created_revision\": 100, \
             \"revision\": 100, \"tenant\": {\"team\": \"acme\", \"namespace\": \"another\"}}' FROM keys",
            "INSERT INTO keys SELECT record || '{\"created_revision\": 100, \"revision\": 100}' FROM keys",
        ] {
            let answer = admin.batch_execute(wrong).await;
            let error = answer.expect_err(wrong);
            let code = error.code().expect("the server refuses").code();
            assert!(code.starts_with("23"), "{wrong}: {code}");
        }
        check(&*store).await;
        assert!(
            store
                .key(&tenant, record.id)
                .await
                .unwrap()
                .unwrap()
                .is_revoked()
        );
    });
}

#[test]
fn passwords_are_in_no_error() {
    server::run(async {
        let database = server::shared().database().await;
        let good = server::shared().url_over(server::shared().port(), &database.name);
        PostgresStore::connect(&good)
            .await
            .expect("with the right one");
        let (before, after) = good.split_once('@').unwrap();
        let start = before.rfind(':').unwrap();
        let url = format!("{}:hunter2hunter2@{after}", &before[..start]);
        let error = PostgresStore::connect(&url).await.unwrap_err();
        let mut said = format!("{error:?}");
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = source {
            said.push_str(&error.to_string());
            source = error.source();
        }
        assert!(said.contains("authentication"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        let store = PostgresStore::connect(&good).await.unwrap();
        let password = &before[start + 1..];
        let printed = format!("{store:?}");
        assert!(!printed.contains(password), "{printed}");
    });
}
