//! `keyfob gateway`, fed by `keyfob serve`, as processes of their own.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use keyfob_testkit::postgres::free_port;

use crate::{
    program::{Program, id, secrets},
    server::Server,
};

/// The gateways' bound on staleness.
const BOUND: Duration = Duration::from_secs(3);
/// What clocks in whole seconds and a busy machine add to it.
const MARGIN: Duration = Duration::from_secs(4);

/// The program of an authority, with the keys of its feed.
struct Authority {
    program: Program,
    /// Where it feeds gateways: the same after a restart.
    feed: String,
    signer: String,
}

impl Authority {
    fn new() -> Self {
        let program = Program::new();
        let created = program.json(&["feed", "create", "feed.keys"]);
        let signer = created["signers"][0].as_str().unwrap().to_owned();
        let feed = format!("127.0.0.1:{}", free_port());
        Self {
            program,
            feed,
            signer,
        }
    }

    fn serve(&self) -> Server {
        let args = ["--feed-listen", &self.feed, "--feed-keys", "feed.keys"];
        Server::start(&self.program, &args)
    }

    /// A credential that reads the feed, in a file.
    fn replica_key(&self, team: &str, namespace: &str) -> String {
        let place = ["--team", team, "--namespace", namespace];
        let owner = ["--owner", "service:gateway", "--scope", "replica"];
        let key = self
            .program
            .create(&[&["gateway"][..], &owner, &place].concat());
        let file = self
            .program
            .path(&format!("{}.key", namespace.replace(':', "-")));
        fs::write(&file, key).unwrap();
        file.display().to_string()
    }

    fn upstream(&self) -> String {
        format!("http://{}", self.feed)
    }

    /// Starts a gateway in a folder of its own.
    fn gateway(&self, program: &Program, credential: &str, args: &[&str]) -> Server {
        let bound = format!("{}s", BOUND.as_secs());
        let args = [&["--stale-after", &*bound][..], args].concat();
        self.reader(program, "gateway", &self.upstream(), credential, &args)
    }

    /// Starts a command that reads a feed, and trusts this authority.
    fn reader(
        &self,
        program: &Program,
        command: &str,
        upstream: &str,
        credential: &str,
        args: &[&str],
    ) -> Server {
        let own = ["--upstream", upstream, "--signers", &self.signer];
        let more = ["--credential-file", credential];
        Server::start_command(program, command, &[&own[..], &more, args].concat())
    }
}

#[test]
fn a_gateway_follows_its_authority_and_needs_no_store() {
    let authority = Authority::new();
    let key = authority.program.create(&["laptop"]);
    let all = authority.replica_key("operators", "control:operators");
    let server = authority.serve();
    let elsewhere = Program::bare();
    let gateway = authority.gateway(&elsewhere, &all, &["--state", "state"]);
    gateway.await_auth(&key, "orders", 200);
    assert_eq!(gateway.auth(&key, "other"), 403);
    assert_eq!(gateway.send("GET", "/readyz", &[], "").status, 200);

    // A new key works within moments, and a revoked one fails.
    let another = authority.program.create(&["another"]);
    gateway.await_auth(&another, "orders", 200);
    authority.program.done(&["keys", "revoke", id(&another)]);
    let took = gateway.await_auth(&another, "orders", 401);
    assert!(took < BOUND, "{took:?}");
    assert_eq!(gateway.auth(&key, "orders"), 200);

    // Usage goes back to the authority.
    let (code, log) = gateway.stop("-TERM");
    assert_eq!((code, secrets(&log)), (Some(0), 0), "{log}");
    let shown = authority.program.json(&["keys", "show", id(&key)]);
    assert!(shown["uses"].as_u64().unwrap() >= 2, "{shown}");

    // Nothing that it kept is a secret or a name, and only its user can read it.
    let mut found = 0;
    for entry in fs::read_dir(elsewhere.path("state")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        let bytes = fs::read(&path).unwrap();
        for secret in [&key, &another] {
            let (_, secret) = secret.split_once(':').unwrap();
            assert!(!contains(&bytes, secret.as_bytes()));
        }
        assert!(!contains(&bytes, b"laptop"));
        found += bytes.len();
    }
    assert!(found > 0);
    assert_eq!(mode(&elsewhere.path("state")), 0o700);
    drop(server);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_gateway_without_its_authority_decides_until_the_bound_and_recovers_by_itself() {
    let authority = Authority::new();
    let key = authority.program.create(&["laptop"]);
    let all = authority.replica_key("operators", "control:operators");
    let server = authority.serve();
    let gateway = authority.gateway(&Program::bare(), &all, &[]);
    gateway.await_auth(&key, "orders", 200);

    // Killed, and started again.
    let start = Instant::now();
    drop(server);
    assert_eq!(gateway.auth(&key, "orders"), 200);
    gateway.await_auth(&key, "orders", 503);
    assert!(start.elapsed() < BOUND + MARGIN, "{:?}", start.elapsed());
    assert_eq!(gateway.send("GET", "/readyz", &[], "").status, 503);
    let server = authority.serve();
    gateway.await_auth(&key, "orders", 200);

    // Stopped: its connections stay open, and say nothing.
    server.signal("-STOP");
    let start = Instant::now();
    gateway.await_auth(&key, "orders", 503);
    assert!(start.elapsed() < BOUND + MARGIN, "{:?}", start.elapsed());
    server.signal("-CONT");
    gateway.await_auth(&key, "orders", 200);
}

#[test]
fn a_stopped_gateway_answers_nothing_from_what_it_knew() {
    let authority = Authority::new();
    let key = authority.program.create(&["laptop"]);
    let all = authority.replica_key("operators", "control:operators");
    let server = authority.serve();
    let gateway = authority.gateway(&Program::bare(), &all, &[]);
    gateway.await_auth(&key, "orders", 200);
    gateway.signal("-STOP");
    authority.program.done(&["keys", "revoke", id(&key)]);
    // These calls wait in the gateway until it goes on.
    let address = gateway.address;
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let credential = crate::server::basic(&key);
            thread::spawn(move || {
                crate::server::send(address, "GET", "/auth/orders", &[&credential], "").status
            })
        })
        .collect();
    thread::sleep(BOUND + Duration::from_secs(1));
    gateway.signal("-CONT");
    for answer in waiting {
        let status = answer.join().unwrap();
        assert!([401, 503].contains(&status), "{status}");
    }
    gateway.await_auth(&key, "orders", 401);
    drop(server);
}

#[test]
fn a_gateway_follows_an_authority_that_was_restored_from_a_backup() {
    let authority = Authority::new();
    let key = authority.program.create(&["laptop"]);
    let all = authority.replica_key("operators", "control:operators");
    authority.program.done(&["backup", "backup.db"]);
    let server = authority.serve();
    let gateway = authority.gateway(&Program::bare(), &all, &[]);
    let lost = authority.program.create(&["lost"]);
    gateway.await_auth(&lost, "orders", 200);
    drop(server);
    for file in ["keyfob.db", "keyfob.db-wal", "keyfob.db-shm"] {
        let _ = fs::remove_file(authority.program.path(file));
    }
    fs::rename(
        authority.program.path("backup.db"),
        authority.program.path("keyfob.db"),
    )
    .unwrap();
    // Further than before the restore, so that the revisions tell nothing.
    let kept = authority.program.create(&["kept"]);
    let more = authority.program.create(&["more"]);
    let server = authority.serve();
    gateway.await_auth(&kept, "orders", 200);
    assert_eq!(gateway.auth(&more, "orders"), 200);
    assert_eq!(gateway.auth(&key, "orders"), 200);
    assert_eq!(gateway.auth(&lost, "orders"), 401);
    drop(server);
}

#[test]
fn a_warm_start_decides_within_the_bound_and_not_beyond() {
    let authority = Authority::new();
    let key = authority.program.create(&["laptop"]);
    let all = authority.replica_key("operators", "control:operators");
    let server = authority.serve();
    let elsewhere = Program::bare();
    let start = |bound: &str| {
        let args = ["--state", "state", "--stale-after", bound];
        authority.reader(&elsewhere, "gateway", &authority.upstream(), &all, &args)
    };
    let gateway = start("60s");
    gateway.await_auth(&key, "orders", 200);
    drop(server);
    drop(gateway);
    // Without its authority, killed, and started again.
    let gateway = start("60s");
    gateway.await_auth(&key, "orders", 200);
    drop(gateway);
    thread::sleep(Duration::from_secs(3));
    let gateway = start("2s");
    for _ in 0..20 {
        assert_eq!(gateway.auth(&key, "orders"), 503);
        thread::sleep(Duration::from_millis(50));
    }
    let server = authority.serve();
    gateway.await_auth(&key, "orders", 200);
    drop(server);
}

#[test]
fn a_key_of_one_namespace_reads_no_other() {
    let authority = Authority::new();
    let own = authority.program.create(&["own"]);
    let other = authority.program.create(&["other", "-n", "billing"]);
    let credential = authority.replica_key("acme", "orders");
    let server = authority.serve();
    let elsewhere = Program::bare();
    let args = ["--only", "acme/orders", "--state", "state"];
    let gateway = authority.gateway(&elsewhere, &credential, &args);
    gateway.await_auth(&own, "orders", 200);
    assert_eq!(gateway.auth(&other, "billing"), 401);
    drop(gateway);
    for entry in fs::read_dir(elsewhere.path("state")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!contains(&bytes, b"billing"));
    }

    // It cannot ask for more.
    let refused = authority.gateway(&Program::bare(), &credential, &["--only", "acme"]);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        if let Ok(answer) = refused.try_send("GET", "/readyz", &[], "") {
            assert_eq!(answer.status, 503);
        }
        thread::sleep(Duration::from_millis(50));
    }

    // Its end is the end of the feed.
    let gateway = authority.gateway(&Program::bare(), &credential, &["--only", "acme/orders"]);
    gateway.await_auth(&own, "orders", 200);
    let key = fs::read_to_string(&credential).unwrap();
    authority.program.done(&["keys", "revoke", id(&key)]);
    gateway.await_auth(&own, "orders", 503);
    drop(server);
}

#[test]
fn a_signer_is_replaced_without_a_gap_and_a_strangers_is_refused() {
    let authority = Authority::new();
    let key = authority.program.create(&["laptop"]);
    let all = authority.replica_key("operators", "control:operators");
    let mut server = authority.serve();
    let gateway = authority.gateway(&Program::bare(), &all, &[]);
    gateway.await_auth(&key, "orders", 200);
    for step in ["announce", "switch", "retire"] {
        authority.program.done(&["feed", step, "feed.keys"]);
        drop(server);
        server = authority.serve();
        let new = authority.program.create(&[step]);
        gateway.await_auth(&new, "orders", 200);
    }
    let shown = authority.program.json(&["feed", "show", "feed.keys"]);
    let signers = shown["signers"].as_array().unwrap();
    assert_eq!(signers.len(), 1);
    assert_ne!(signers[0], *authority.signer);

    // Somebody in between has another signer.
    let stranger = Authority::new();
    let upstream = authority.upstream();
    let refusing = stranger.reader(&Program::bare(), "gateway", &upstream, &all, &[]);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(refusing.auth(&key, "orders"), 503);
    drop(server);
}

#[test]
fn settings_that_cannot_work_are_refused_with_what_to_do() {
    let program = Program::bare();
    let keys = program.json(&["feed", "create", "feed.keys"]);
    assert_eq!(mode(&program.path("feed.keys")), 0o600);
    let signer = keys["signers"][0].as_str().unwrap();
    for (args, said) in [
        (&["gateway"][..], "signers:"),
        (&["gateway", "--signers", signer], "credential_file:"),
        (&["gateway", "--signers", "keyfob-feed-v1:no"], "signers:"),
        (
            &["gateway", "--signers", signer, "--credential-file", "key"],
            "upstream:",
        ),
        (
            &[
                "gateway",
                "--signers",
                signer,
                "--credential-file",
                "key",
                "--upstream",
                "http://keys.example",
            ],
            "plain HTTP",
        ),
        (&["gateway", "--only", "acme/"], "only:"),
        (&["serve", "--feed-listen", "127.0.0.1:0"], "feed_keys:"),
        (
            &[
                "serve",
                "--feed-listen",
                "0.0.0.0:0",
                "--feed-keys",
                "feed.keys",
            ],
            "tls_certificate",
        ),
        (&["serve", "--tls-certificate", "a.pem"], "tls_key"),
        (&["feed", "create", "feed.keys"], "feed.keys"),
        (&["feed", "switch", "feed.keys"], "announce"),
    ] {
        let ran = program.run(args);
        assert_ne!(ran.code, 0, "{args:?}");
        assert!(ran.err.contains(said), "{args:?}: {}", ran.err);
    }
    fs::write(program.path("broken.keys"), "keyfob-feed-keys-v1\nmark x\n").unwrap();
    let ran = program.run(&["feed", "show", "broken.keys"]);
    assert!(ran.err.contains("line 2"), "{}", ran.err);
}

#[test]
fn a_relay_feeds_gateways_what_the_authority_signed() {
    let authority = Authority::new();
    let key = authority.program.create(&["laptop"]);
    let other = authority.program.create(&["other", "-n", "billing"]);
    let all = authority.replica_key("operators", "control:operators");
    let orders = authority.replica_key("acme", "orders");
    let server = authority.serve();
    let relay = |program: &Program| {
        let args = ["--carry", "acme/orders"];
        authority.reader(program, "relay", &authority.upstream(), &all, &args)
    };
    let relays = [Program::bare(), Program::bare()];
    let [first, second] = relays.each_ref().map(relay);
    let upstreams = format!("http://{},http://{}", first.address, second.address);
    let gateway = |credential: &str, only: &[&str]| {
        let args = [&["--stale-after", "3s"][..], only].concat();
        authority.reader(&Program::bare(), "gateway", &upstreams, credential, &args)
    };
    let whole = gateway(&all, &[]);
    let part = gateway(&orders, &["--only", "acme/orders"]);
    whole.await_auth(&key, "orders", 200);
    whole.await_auth(&other, "billing", 200);
    part.await_auth(&key, "orders", 200);
    assert_eq!(part.auth(&other, "billing"), 401);

    authority.program.done(&["keys", "revoke", id(&key)]);
    for gateway in [&whole, &part] {
        let took = gateway.await_auth(&key, "orders", 401);
        assert!(took < BOUND, "{took:?}");
    }
    // The other relay takes over.
    drop(first);
    let new = authority.program.create(&["new"]);
    for gateway in [&whole, &part] {
        gateway.await_auth(&new, "orders", 200);
    }
    // Both are cut off from the authority, and vouch for nothing.
    drop(server);
    for gateway in [&whole, &part] {
        gateway.await_auth(&new, "orders", 503);
    }
    let server = authority.serve();
    for gateway in [&whole, &part] {
        gateway.await_auth(&new, "orders", 200);
    }
    let (code, _) = part.stop("-TERM");
    assert_eq!(code, Some(0));
    let shown = authority.program.json(&["keys", "show", id(&new)]);
    assert!(shown["uses"].as_u64().unwrap() >= 1, "{shown}");
    drop((second, server));
}
