//! Two servers and the command line on one `PostgreSQL` database.

use std::time::{Duration, Instant};

use keyfob_testkit::postgres as database;

use crate::{
    program::{Program, id},
    server::{Server, bearer},
};

#[test]
fn servers_follow_each_others_changes() {
    database::run(async {
        let database = database::shared().database().await;
        let program = Program::new().with("KEYFOB_STORE", &database.url());
        program.done(&["namespaces", "create", "orders"]);
        let (one, two) = (Server::start(&program, &[]), Server::start(&program, &[]));
        // The first server was the first start on the store.
        assert!(one.operator.is_some() && two.operator.is_none());
        let operator = one.operator.as_deref().unwrap_or_default();

        let key = one.create(operator, "orders", "laptop").expect("an answer");
        assert_eq!(one.auth(&key, "orders"), 200);
        assert!(two.await_auth(&key, "orders", 200) < Duration::from_secs(3));
        program.done(&["keys", "revoke", id(&key)]);
        for server in [&one, &two] {
            assert!(server.await_auth(&key, "orders", 401) < Duration::from_secs(3));
        }
        program.done(&["audit", "verify"]);
        assert_eq!(program.run(&["backup", "copy"]).code, 2);
    });
}

#[test]
fn calls_are_refused_in_time_while_the_database_is_down() {
    database::run(async {
        let own = database::Server::start(&[]);
        let database = own.database().await;
        let program = Program::new().with("KEYFOB_STORE", &database.url());
        let key = program.create(&["laptop"]);
        let args = ["--stale-after", "2s", "--follow-every", "200ms"];
        let server = Server::start(&program, &args);
        let operator = bearer(server.operator.as_deref().unwrap_or_default());
        // A call that does not read the store.
        let caller = || server.send("GET", "/v1/caller", &[&operator], "");
        assert_eq!(server.auth(&key, "orders"), 200);

        own.down("immediate");
        // Calls are decided by the last known state until the bound, and not longer.
        assert_eq!(server.auth(&key, "orders"), 200);
        assert_eq!(caller().status, 200);
        let refused = server.await_auth(&key, "orders", 503);
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(6));
        assert!(least < refused && refused < most, "{refused:?}");
        let unavailable = caller();
        assert_eq!(unavailable.status, 503, "{}", unavailable.body);
        assert!(unavailable.header("retry-after").is_some());
        assert_eq!(server.send("GET", "/readyz", &[], "").status, 503);
        assert_eq!(server.send("GET", "/healthz", &[], "").status, 200);
        let ran = program.run(&["keys", "list"]);
        assert_eq!(ran.code, 5, "{}", ran.redacted());

        own.up();
        server.await_auth(&key, "orders", 200);
        assert_eq!(caller().status, 200);
        let log = server.kill();
        assert!(log.contains("the store can be read again"), "{log}");
    });
}

#[test]
fn a_store_that_hangs_does_not_delay_the_stop() {
    database::run(async {
        let database = database::shared().database().await;
        let program = Program::new().with("KEYFOB_STORE", &database.url());
        let key = program.create(&["laptop"]);
        let server = Server::start(&program, &["--flush-every", "1h"]);
        // Before the first use, so that no flush is in progress.
        let client = database.client().await;
        let lock = "BEGIN; LOCK TABLE usage IN ACCESS EXCLUSIVE MODE";
        client
            .batch_execute(lock)
            .await
            .expect("the table is locked");
        for status in [200, 200, 403] {
            let namespace = if status == 200 { "orders" } else { "billing" };
            assert_eq!(server.auth(&key, namespace), status);
        }

        let start = Instant::now();
        let (code, log) = tokio::task::spawn_blocking(|| server.stop("-TERM"))
            .await
            .expect("the server is waited for");
        // The store's own time limit is longer.
        assert!(start.elapsed() < Duration::from_secs(9), "{log}");
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("some uses were not recorded lost=3"), "{log}");
        assert!(log.contains("stopped"), "{log}");
    });
}
