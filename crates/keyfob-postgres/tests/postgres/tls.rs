//! TLS: a certificate by the right authority, for the right name, or nothing.

use std::{fs, path::Path};

use keyfob_postgres::{ConnectError, Options, PostgresStore};
use keyfob_testkit::certificates::Authority;

use crate::{
    server::{self, Server},
    work::{create, key, user},
};

async fn try_with(url: &str, authority: &Path) -> Result<PostgresStore, ConnectError> {
    let options = Options::default().with_root_certificates(authority);
    options.connect(url).await
}

fn refused(answer: Result<PostgresStore, ConnectError>, why: &str) {
    let error = answer.expect_err(why);
    assert!(
        matches!(error, ConnectError::Unreachable(_)),
        "{why}: {error:?}"
    );
}

#[test]
fn only_a_server_that_is_certified_is_spoken_to() {
    server::run(async {
        let folder = tempfile::tempdir().unwrap();
        Authority::new(folder.path(), "right").issue(folder.path(), "server");
        Authority::new(folder.path(), "wrong");
        let [right, wrong] = ["right.pem", "wrong.pem"].map(|name| folder.path().join(name));
        let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
        let server = tokio::task::block_in_place(|| {
            let server = Server::start(&["fsync = off"]);
            let certificate = server.keep("server.pem", &read("server.pem"));
            let key = server.keep("server.key", &read("server.key"));
            server.configure(&format!(
                "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'",
                certificate.display(),
                key.display()
            ));
            server.down("fast");
            server.up();
            server
        });
        let database = server.database().await;
        let plain = server.url_over(server.port(), &database.name);
        for mode in ["require", "verify-full", "prefer"] {
            let url = format!("{plain}?sslmode={mode}");
            let store = try_with(&url, &right).await.expect(mode);
            create(&store, key(&user("alice"), mode)).await.unwrap();
            let admin = database.client().await;
            let counts = "SELECT count(*) FILTER (WHERE ssl), count(*) FROM pg_stat_ssl \
                          JOIN pg_stat_activity USING (pid) WHERE application_name = 'keyfob'";
            let row = admin.query_one(counts, &[]).await.unwrap();
            let (by_tls, all): (i64, i64) = (row.get(0), row.get(1));
            assert!(by_tls > 0 && by_tls == all, "{by_tls} of {all} with {mode}");
            refused(try_with(&url, &wrong).await, "by another authority");
        }
        let url = format!("{plain}?sslmode=require");
        refused(
            PostgresStore::connect(&url).await,
            "by none of the system's",
        );
        let named = url.replace("@127.0.0.1:", "@db.example:");
        let named = format!("{named}&hostaddr=127.0.0.1");
        refused(try_with(&named, &right).await, "for another name");
        let missing = try_with(&url, Path::new("/nowhere/ca.pem")).await;
        assert!(matches!(missing, Err(ConnectError::Certificates(_))));
        let empty = folder.path().join("empty.pem");
        fs::write(&empty, "").unwrap();
        let empty = try_with(&url, &empty).await;
        assert!(matches!(empty, Err(ConnectError::Certificates(_))));

        // A server without TLS is refused where TLS is required, and only there.
        let shared = server::shared();
        let database = shared.database().await;
        let plain = shared.url_over(shared.port(), &database.name);
        refused(
            try_with(&format!("{plain}?sslmode=require"), &right).await,
            "without TLS",
        );
        try_with(&format!("{plain}?sslmode=prefer"), &right)
            .await
            .unwrap();
        try_with(&format!("{plain}?sslmode=disable"), &right)
            .await
            .unwrap();
    });
}
