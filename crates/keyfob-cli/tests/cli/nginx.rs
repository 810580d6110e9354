//! nginx in front of a backend, configured as in docs/operations.md.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use keyfob_testkit::peer::missing;

use crate::{
    gateway::Authority,
    program::{Program, id},
    server::{self, Server, basic, bearer},
};

#[test]
fn only_calls_with_a_key_of_the_namespace_reach_the_backend() {
    let Some(binary) = binary() else {
        return;
    };
    let program = Program::new();
    program.done(&["namespaces", "create", "orders"]);
    let server = Server::start(&program, &[]);
    let (key, other) = (
        program.create(&["laptop"]),
        program.create(&["x", "-n", "billing"]),
    );
    server.await_auth(&key, "orders", 200);
    server.await_auth(&other, "billing", 200);

    let nginx = Nginx::start(binary, program.folder(), server.asked_at);
    let path = "/api/v1/namespaces/orders/actions";
    let send =
        |headers: &[&str], body: &str| server::send(nginx.address, "POST", path, headers, body);
    let forged = [
        "X-Keyfob-Owner: user:mallory",
        "X-Keyfob-Key-Id: dof_v1_d79e8aeb42e5476893c7d4c59a166264",
        "X-Keyfob-Namespace: billing",
        "X-Keyfob-Team: rival",
        "X-Keyfob-Scopes: admin",
    ];
    let team = "acme";
    for credentials in [basic(&key), bearer(&key)] {
        let answer = send(&[&forged[..], &[&credentials]].concat(), "a body");
        assert_eq!(answer.status, 200, "{}", nginx.log());
        let expected = format!("POST user:alice {} orders {team} * -", id(&key));
        assert_eq!(answer.body, expected);
    }
    assert_eq!(send(&[], "").status, 401);
    // A preflight passes without an identity, also if it claims or carries one.
    let origin = "Origin: https://app.example";
    let method = "Access-Control-Request-Method: POST";
    for headers in [
        vec![origin, method],
        [&forged[..], &[&basic(&key), origin, method]].concat(),
        [&forged[..], &[&basic(&other), origin, method]].concat(),
    ] {
        let answer = server::send(nginx.address, "OPTIONS", path, &headers, "");
        assert_eq!(answer.status, 200, "{}", nginx.log());
        assert_eq!(answer.body, "OPTIONS      -");
    }
    // Nothing else passes as a preflight.
    for name in ["GET", "HEAD", "PUT", "OPTION", "options"] {
        let answer = server::send(nginx.address, name, path, &[origin, method], "");
        assert!(matches!(answer.status, 400 | 401 | 405), "{name}");
    }
    for part in [&[origin][..], &[method], &[]] {
        let answer = server::send(nginx.address, "OPTIONS", path, part, "");
        assert_eq!(answer.status, 401, "{part:?}");
    }
    let asked = format!("{path}?_method=OPTIONS");
    let over = ["X-HTTP-Method-Override: OPTIONS", origin];
    assert_eq!(
        server::send(nginx.address, "POST", &asked, &over, "").status,
        401
    );
    // What the backend could read as another namespace's path reaches nothing.
    for path in [
        "/api/v1/namespaces/billing/actions/x/..%2f..%2f..%2forders/",
        "/api/v1/namespaces/billing/../orders/actions",
        "/api/v1/namespaces/orders/..;/billing/actions",
        "/api/v1/namespaces/orders//actions",
        "/api/v1/namespaces/%256frders/actions",
    ] {
        for method in ["POST", "OPTIONS"] {
            let answer = server::send(nginx.address, method, path, &[&basic(&key)], "");
            assert!(
                matches!(answer.status, 400 | 404 | 405),
                "{path}: {}",
                answer.status
            );
        }
    }
    // As many fields as a browser with many cookies and a chain of proxies may send.
    let many: Vec<String> = (0..200).map(|n| format!("X-Field-{n}: value")).collect();
    let mut headers: Vec<&str> = many.iter().map(String::as_str).collect();
    let credentials = basic(&key);
    headers.push(&credentials);
    assert_eq!(send(&headers, "").status, 200, "{}", nginx.log());
    // Scopes are the proxy's to ask for.
    let own = [&*credentials, "X-Keyfob-Scope: \""];
    assert_eq!(send(&own, "").status, 200, "{}", nginx.log());
    assert!(send(&[], "").header("www-authenticate").is_some());
    assert_eq!(send(&[&basic(&other)], "").status, 403);
    program.done(&["keys", "revoke", id(&key)]);
    server.await_auth(&key, "orders", 401);
    assert_eq!(send(&[&basic(&key)], "").status, 401);
    // A server that cannot answer: not the caller's fault, and no pass.
    server.kill();
    let answer = send(&[&basic(&other)], "");
    assert_eq!(answer.status, 503, "{}", nginx.log());
    assert_eq!(answer.header("retry-after"), Some("1"));
}

/// A cache that knows nothing of keys: it reads each object once for all gateways, and nothing else.
#[test]
fn a_cache_in_front_of_the_feed_reads_an_object_once_for_all_gateways() {
    let Some(binary) = binary() else {
        return;
    };
    let authority = Authority::new();
    let key = authority.program.create(&["laptop"]);
    let all = authority.replica_key("operators", "control:operators");
    let server = authority.serve();
    let folder = authority.program.folder();
    let (address, feed) = (free(), &authority.feed);
    let log = folder.join("cache.log");
    let servers = format!(
        "log_format cache \"$uri $upstream_cache_status\";\n\
         proxy_cache_path {}/cache keys_zone=objects:1m;\n\
         server {{ listen {address}; access_log {} cache;\n\
         location / {{ proxy_pass http://{feed}; proxy_buffering off; proxy_http_version 1.1; }}\n\
         location /v1/feed/snapshots/ {{ proxy_pass http://{feed}; proxy_cache objects; }}\n}}\n",
        folder.display(),
        log.display(),
    );
    let nginx = Nginx::with(binary, folder, address, &servers);
    let upstream = format!("http://{}", nginx.address);
    for name in ["first", "second"] {
        let gateway = authority.reader(&Program::bare(), "gateway", &upstream, &all, &[]);
        gateway.await_auth(&key, "orders", 200);
        // The stream comes through it too.
        let new = authority.program.create(&[name]);
        gateway.await_auth(&new, "orders", 200);
        authority.program.done(&["keys", "revoke", id(&new)]);
        gateway.await_auth(&new, "orders", 401);
    }
    let log = fs::read_to_string(&log).unwrap();
    let objects = log.lines().filter(|line| line.contains(".ndjson.zst "));
    let objects: Vec<_> = objects.filter_map(|line| line.rsplit_once(' ')).collect();
    let [(first, missed), (second, hit)] = objects[..] else {
        panic!("{log}");
    };
    assert_eq!((missed, hit), ("MISS", "HIT"), "{log}");
    assert_eq!(first, second, "it is the same object");
    drop(server);
}

fn binary() -> Option<&'static str> {
    let mut places = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter();
    let found = places.find(|path| Path::new(path).exists());
    if found.is_none() {
        missing("no nginx is installed");
    }
    found
}

/// A running nginx. It is stopped on drop.
struct Nginx {
    child: Child,
    address: SocketAddr,
    log: std::path::PathBuf,
}

impl Nginx {
    /// In front of a backend, as the guide says.
    fn start(binary: &str, folder: &Path, keyfob: SocketAddr) -> Self {
        let (address, backend) = (free(), free());
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
        let guide = fs::read_to_string(guide).unwrap();
        let block = guide
            .split("```nginx\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next());
        let locations = block
            .expect("the guide has a configuration")
            .replace("127.0.0.1:8181", &keyfob.to_string())
            .replace("http://backend", &format!("http://{backend}"));
        let servers = format!(
            "server {{ listen {address};\n{locations}}}\n\
             server {{ listen {backend}; location / {{\n\
             return 200 \"$request_method $http_x_keyfob_owner $http_x_keyfob_key_id \
             $http_x_keyfob_namespace $http_x_keyfob_team $http_x_keyfob_scopes \
             $http_authorization-\"; }} }}\n"
        );
        Self::with(binary, folder, address, &servers)
    }

    /// With these servers, the first of which has this address.
    fn with(binary: &str, folder: &Path, address: SocketAddr, servers: &str) -> Self {
        let folder = folder.join("nginx");
        fs::create_dir(&folder).unwrap();
        let log = folder.join("error.log");
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display()))
            .concat();
        // One process, with the user of the test.
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {log};\nevents {{}}\n\
             http {{\naccess_log off;\n{temporary}{servers}}}\n",
            folder = folder.display(),
            log = log.display(),
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let child = Command::new(binary)
            .arg("-p")
            .arg(&folder)
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Self {
            child,
            address,
            log,
        };
        for _ in 0..200 {
            if TcpStream::connect(address).is_ok() {
                return nginx;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("nginx does not listen: {}", nginx.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A free port of loopback.
fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}
