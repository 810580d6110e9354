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
    server::{Server, bearer},
};

/// The gateways' bound on staleness.
const BOUND: Duration = Duration::from_secs(3);
/// How long a gateway is stopped: longer than any time limit of a connection to it or its authority.
const STOP: Duration = Duration::from_secs(15);
/// What clocks in whole seconds and a busy machine add to it.
const MARGIN: Duration = Duration::from_secs(4);

/// The program of an authority, with the keys of its feed.
pub(crate) struct Authority {
    pub(crate) program: Program,
    /// Where it feeds gateways: the same after a restart.
    pub(crate) feed: String,
    pub(crate) signer: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::with(Program::new())
    }

    /// The authority of this program's store.
    pub(crate) fn with(program: Program) -> Self {
        let created = program.json(&["feed", "create", "feed.keys"]);
        let signer = created["signers"][0].as_str().unwrap().to_owned();
        let feed = format!("127.0.0.1:{}", free_port());
        Self {
            program,
            feed,
            signer,
        }
    }

    pub(crate) fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    pub(crate) fn serve_with(&self, args: &[&str]) -> Server {
        let own = ["--feed-listen", &self.feed, "--feed-keys", "feed.keys"];
        Server::start(&self.program, &[&own[..], args].concat())
    }

    /// A credential that reads the feed, in a file.
    pub(crate) fn replica_key(&self, team: &str, namespace: &str) -> String {
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

    pub(crate) fn upstream(&self) -> String {
        format!("http://{}", self.feed)
    }

    /// Starts a gateway in a folder of its own.
    pub(crate) fn gateway(&self, program: &Program, credential: &str, args: &[&str]) -> Server {
        let bound = format!("{}s", BOUND.as_secs());
        let args = [&["--stale-after", &*bound][..], args].concat();
        self.reader(program, "gateway", &self.upstream(), credential, &args)
    }

    /// Starts a command that reads a feed, and trusts this authority.
    pub(crate) fn reader(
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
    let args = ["--state", "state", "--name", "edge 7"];
    let gateway = authority.gateway(&elsewhere, &all, &args);
    gateway.await_auth(&key, "orders", 200);
    assert_eq!(gateway.auth(&key, "other"), 403);
    assert_eq!(gateway.send("GET", "/readyz", &[], "").status, 200);
    assert_eq!(gateway.send("GET", "/healthz", &[], "").body, "ok\n");
    let metrics = gateway.send("GET", "/metrics", &[], "");
    assert_eq!(metrics.status, 200);
    let value = |name: &str| -> f64 {
        let mut lines = metrics.body.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("{name}: {}", metrics.body))
            .parse()
            .unwrap()
    };
    assert!(value("keyfob_index_revision") > 0.0);
    assert!(value("keyfob_index_age_seconds") <= BOUND.as_secs_f64());
    assert!(value("keyfob_feed_snapshots_loaded_total") >= 1.0);

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
    let used = authority
        .program
        .json(&["keys", "usage", id(&key), "--hours", "2"]);
    assert_eq!(used["accepted"], shown["uses"], "{used}");
    assert!(used["refused"].as_u64().unwrap() >= 1, "{used}");
    let buckets = used["buckets"].as_array().unwrap();
    assert_eq!(buckets.len(), 2);
    let refused = |bucket: &serde_json::Value| bucket["reasons"]["wrong_namespace"].as_u64();
    assert!(
        buckets.iter().any(|bucket| refused(bucket) >= Some(1)),
        "{used}"
    );

    // So does its state, which operators see.
    let boss = ["boss", "--owner", "olga", "--scope", "operator"];
    let place = ["--team", "operators", "--namespace", "control:operators"];
    let boss = authority
        .program
        .create(&[boss.as_slice(), &place].concat());
    let fleet = loop {
        let fleet = server.send("GET", "/v1/fleet", &[&bearer(&boss)], "");
        // The server may not know the credential yet.
        if fleet.status != 401 {
            break fleet;
        }
        thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(fleet.status, 200, "{}", fleet.body);
    let fleet: serde_json::Value = serde_json::from_str(&fleet.body).unwrap();
    let replica = &fleet["replicas"][0];
    assert_eq!(
        (&replica["name"], &replica["reads"]),
        (&"edge 7".into(), &"all".into())
    );
    assert_eq!(replica["bound_ms"], 3_000);
    assert!(replica["revision"].as_u64().unwrap() > 0, "{fleet}");

    // What it kept is complete, and usable after a restart of the machine.
    let log = fs::read(elsewhere.path("state").join("feed.log")).unwrap();
    assert!(log.ends_with(b"\nclosed\n"));
    // No secret that was shown to it is there, and only its user can read it.
    let mut found = 0;
    for entry in fs::read_dir(elsewhere.path("state")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        let bytes = fs::read(&path).unwrap();
        for secret in [&key, &another] {
            let (_, secret) = secret.split_once(':').unwrap();
            assert!(!contains(&bytes, secret.as_bytes()));
        }
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
    let address = gateway.asked_at;
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let credential = crate::server::basic(&key);
            thread::spawn(move || {
                crate::server::send(address, "GET", "/auth/orders", &[&credential], "").status
            })
        })
        .collect();
    thread::sleep(STOP);
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
    let mut found = 0;
    for entry in fs::read_dir(elsewhere.path("state")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if path.extension().is_some_and(|extension| extension == "zst") {
            bytes = zstd::decode_all(&*bytes).unwrap();
            found += usize::from(contains(&bytes, b"orders"));
        }
        assert!(!contains(&bytes, b"billing"), "{}", path.display());
    }
    assert_eq!(found, 1, "the object can be searched");

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
        (&["gateway", "--name", ""], "name: must be 1 to 128"),
        (&["gateway", "--name", " "], "name: must be 1 to 128"),
        (&["relay", "--name", "a\nb"], "name: must be 1 to 128"),
        (&["relay", "--name", "n\u{e9}e"], "name: must be 1 to 128"),
        (
            &["gateway", "--name", &"x".repeat(129)],
            "name: must be 1 to 128",
        ),
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
#[cfg(unix)]
fn a_change_of_the_signers_keeps_who_may_read_the_file_and_warns_if_all_may() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

    let program = Program::bare();
    program.done(&["feed", "create", "feed.keys"]);
    let file = program.path("feed.keys");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    // Of the user of the server; only root can do that.
    let is_root = chown(&file, Some(54_321), Some(54_322)).is_ok();
    for step in ["announce", "switch", "retire"] {
        let ran = program.run(&["feed", step, "feed.keys"]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{step}");
        let now = fs::metadata(&file).unwrap();
        assert_eq!(now.mode() & 0o777, 0o640, "{step}");
        let own = (now.uid(), now.gid()) == (54_321, 54_322);
        assert_eq!(own, is_root, "{step}");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let ran = program.run(&["feed", "show", "feed.keys"]);
    assert!(ran.err.contains("every user of this machine can read"));
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

#[test]
fn a_relay_verifies_gateways_whose_keys_are_under_a_pepper() {
    let peppered = |program: Program| {
        program
            .with("KEYFOB_PEPPER_1", "0123456789abcdef0123456789abcdef")
            .with("KEYFOB_PEPPER_CURRENT", "1")
    };
    let authority = Authority::with(peppered(Program::new()));
    let key = authority.program.create(&["laptop"]);
    let all = authority.replica_key("operators", "control:operators");
    let server = authority.serve();
    let relay = peppered(Program::bare());
    let relay = authority.reader(&relay, "relay", &authority.upstream(), &all, &[]);
    let upstream = format!("http://{}", relay.address);
    let gateway = peppered(Program::bare());
    let gateway = authority.reader(&gateway, "gateway", &upstream, &all, &[]);
    gateway.await_auth(&key, "orders", 200);
    authority.program.done(&["keys", "revoke", id(&key)]);
    gateway.await_auth(&key, "orders", 401);

    // Without the pepper, a relay cannot tell whose key it is, and admits nobody.
    let without = Program::bare();
    let without = authority.reader(&without, "relay", &authority.upstream(), &all, &[]);
    without.await_ready();
    let credential = fs::read_to_string(&all).unwrap();
    let headers = [&*bearer(&credential)];
    let answer = without.send("GET", "/v1/feed/signers", &headers, "");
    assert_eq!(answer.status, 503);
    drop(server);
}
