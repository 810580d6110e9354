//! The feed over TLS, with certificates on both sides.

use std::{
    thread,
    time::{Duration, Instant},
};

use keyfob_testkit::{certificates, postgres::free_port};

use crate::{
    gateway::Authority,
    program::{Program, id},
    server::Server,
};

/// What a command shows to clients, and of whose authority theirs must be.
fn own_tls(file: impl Fn(&str) -> String) -> [String; 6] {
    let [certificate, key, clients] =
        ["--tls-certificate", "--tls-key", "--tls-clients"].map(str::to_owned);
    [
        certificate,
        file("server.pem"),
        key,
        file("server.key"),
        clients,
        file("client-ca.pem"),
    ]
}

#[test]
fn authority_relay_and_gateways_speak_tls_and_require_the_certificates_of_clients() {
    let authority = Authority::new();
    let key = authority.program.create(&["laptop"]);
    let all = authority.replica_key("operators", "control:operators");
    let folder = authority.program.folder();
    for of in ["server", "client", "stranger"] {
        let of_certificates = certificates::Authority::new(folder, &format!("{of}-ca"));
        of_certificates.issue(folder, of);
    }
    let file = |name: &str| authority.program.path(name).display().to_string();
    let own = own_tls(file);
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let server = authority.serve_with(&own);
    let direct = format!("https://{}", authority.feed);

    let follow = |command: &str, upstream: &str, of: Option<&str>, more: &[&str]| -> Server {
        let ca = file("server-ca.pem");
        let mut args = vec!["--stale-after", "3s", "--upstream-ca", &*ca];
        let shown = of.map(|of| [file(&format!("{of}.pem")), file(&format!("{of}.key"))]);
        if let Some([certificate, key]) = &shown {
            args.extend(["--upstream-certificate", certificate.as_str()]);
            args.extend(["--upstream-key", key.as_str()]);
        }
        args.extend(more);
        authority.reader(&Program::bare(), command, upstream, &all, &args)
    };
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let relay_args = [&own[..], &["--listen", &listen]].concat();
    let _relay = follow("relay", &direct, Some("client"), &relay_args);
    let relayed = format!("https://{listen}");

    let gateways = [&direct, &relayed].map(|upstream| {
        let gateway = follow("gateway", upstream, Some("client"), &[]);
        gateway.await_auth(&key, "orders", 200);
        gateway
    });
    let new = authority.program.create(&["new"]);
    authority.program.done(&["keys", "revoke", id(&key)]);
    for gateway in &gateways {
        gateway.await_auth(&new, "orders", 200);
        gateway.await_auth(&key, "orders", 401);
    }

    // Without a certificate, with that of a stranger, and with plain HTTP.
    let plain = format!("http://{}", authority.feed);
    let refused = [
        follow("gateway", &direct, None, &[]),
        follow("gateway", &direct, Some("stranger"), &[]),
        follow("gateway", &relayed, None, &[]),
        follow("gateway", &relayed, Some("stranger"), &[]),
        follow("gateway", &plain, None, &[]),
    ];
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        for gateway in &refused {
            assert_eq!(gateway.auth(&new, "orders"), 503);
            assert_eq!(gateway.send("GET", "/healthz", &[], "").status, 200);
        }
        thread::sleep(Duration::from_millis(100));
    }
    drop(server);
}
