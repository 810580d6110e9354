//! Two servers and the command line on one `PostgreSQL` database.

use std::time::{Duration, Instant};

use keyfob_testkit::{
    pgbouncer::{self, PgBouncer},
    postgres as database,
};

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

        let start = Instant::now();
        own.down("immediate");
        // Calls are decided by the last known state until the bound, and not longer.
        assert_eq!(server.auth(&key, "orders"), 200);
        assert_eq!(caller().status, 200);
        server.await_auth(&key, "orders", 503);
        let refused = start.elapsed();
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

/// A primary, its standby, a database, and the URL of both servers.
pub(crate) async fn cluster() -> (
    database::Server,
    database::Server,
    database::Database,
    String,
) {
    let primary = database::Server::start(&["fsync = off"]);
    let standby = primary.standby("second", &[]);
    let database = primary.database().await;
    let hosts = [&primary, &standby].map(|one| format!("{}:{}", one.socket(), one.port()));
    let url = format!("postgres://keyfob@{}/{}", hosts.join(","), database.name);
    (primary, standby, database, url)
}

#[test]
fn servers_go_on_after_a_failover_to_a_synchronous_standby() {
    database::run(async {
        let (primary, standby, _database, url) = cluster().await;
        standby.configure("synchronous_standby_names = ''");
        primary.synchronize("second").await;
        let program = Program::new().with("KEYFOB_STORE", &url);
        let before = program.create(&["laptop"]);
        let (one, two) = (Server::start(&program, &[]), Server::start(&program, &[]));
        let operator = one.operator.as_deref().unwrap_or_default();
        primary.down("immediate");
        standby.promote();
        program.done(&["keys", "revoke", id(&before)]);
        for server in [&one, &two] {
            server.await_auth(&before, "orders", 401);
        }
        let after = one.create(operator, "orders", "after").expect("an answer");
        two.await_auth(&after, "orders", 200);
        program.done(&["audit", "verify"]);
    });
}

/// Every server has seen the revocation that is lost, and serves no call with the key.
#[test]
fn servers_end_when_a_failover_lost_commits() {
    database::run(async {
        let (primary, standby, _database, url) = cluster().await;
        let program = Program::new().with("KEYFOB_STORE", &url);
        let key = program.create(&["laptop"]);
        let servers = [Server::start(&program, &[]), Server::start(&program, &[])];
        let all = "replay_lsn >= pg_current_wal_flush_lsn()";
        primary.await_replication(all).await;
        standby.cut_off().await;
        program.done(&["keys", "revoke", id(&key)]);
        for server in &servers {
            server.await_auth(&key, "orders", 401);
        }
        primary.down("immediate");
        standby.promote();
        for server in servers {
            let (code, log) = server.ended();
            assert_eq!(code, Some(5), "{log}");
            assert!(log.contains("went back to revision"), "{log}");
        }
        // A new start serves what is left: the key works again.
        let server = Server::start(&program, &[]);
        assert_eq!(server.auth(&key, "orders"), 200);
    });
}

/// Through a pooler, which the URL must name.
#[test]
fn servers_share_a_store_behind_a_pooler() {
    pgbouncer::run(async {
        let database = database::shared().database().await;
        let pooler = PgBouncer::start(database::shared(), &["default_pool_size = 4"]);
        let url = pooler.url(&database.name);
        let program = Program::new().with("KEYFOB_STORE", &url);
        let refused = program.run(&["keys", "list"]);
        assert_eq!(refused.code, 5);
        let said = refused.redacted();
        assert!(said.contains("pool_mode=transaction"), "{said}");
        let url = format!("{url}&pool_mode=transaction");
        let program = Program::new().with("KEYFOB_STORE", &url);
        let key = program.create(&["laptop"]);
        let (one, two) = (Server::start(&program, &[]), Server::start(&program, &[]));
        program.done(&["keys", "revoke", id(&key)]);
        for server in [&one, &two] {
            server.await_auth(&key, "orders", 401);
        }
        program.done(&["audit", "verify"]);
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
