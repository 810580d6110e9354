//! The program behind real gateways, with the configurations of `packaging/gateways` as they are.
//!
//! Each test starts one gateway, two authorizers on one store, and a backend, and runs the whole table.

mod calls;
mod clients;
mod credentials;
mod faults;
mod framing;
mod gone;
mod http2;
mod identity;
mod keyfob;
mod lifetime;
mod paths;
mod settings;
mod setup;
mod slow;
mod streams;
mod upstream;

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use keyfob_proxies::Kind;

use crate::{
    keyfob::Keyfob,
    setup::{Report, Setup},
};

#[test]
fn nginx() {
    of_serve(Kind::Nginx);
}

#[test]
fn caddy() {
    of_serve(Kind::Caddy);
}

#[test]
fn traefik() {
    of_serve(Kind::Traefik);
}

#[test]
fn haproxy() {
    of_serve(Kind::Haproxy);
}

#[test]
fn envoy_over_http() {
    of_serve(Kind::EnvoyHttp);
}

#[cfg(feature = "envoy")]
#[test]
fn envoy_over_grpc() {
    of_serve(Kind::EnvoyGrpc);
}

#[test]
fn nginx_that_asks_keyfob_gateway() {
    of_gateway(Kind::Nginx);
}

#[test]
fn caddy_that_asks_keyfob_gateway() {
    of_gateway(Kind::Caddy);
}

#[test]
fn traefik_that_asks_keyfob_gateway() {
    of_gateway(Kind::Traefik);
}

#[test]
fn haproxy_that_asks_keyfob_gateway() {
    of_gateway(Kind::Haproxy);
}

#[test]
fn envoy_over_http_that_asks_keyfob_gateway() {
    of_gateway(Kind::EnvoyHttp);
}

#[cfg(feature = "envoy")]
#[test]
fn envoy_over_grpc_that_asks_keyfob_gateway() {
    of_gateway(Kind::EnvoyGrpc);
}

/// Every row of the table, with `keyfob serve` as the authorizers.
fn of_serve(kind: Kind) {
    LazyLock::force(&BEGAN);
    table(kind, Keyfob::start(kind, AUTH), &OF_SERVE);
}

/// The rows that can differ, with `keyfob gateway` as the authorizers.
fn of_gateway(kind: Kind) {
    LazyLock::force(&BEGAN);
    table(kind, Keyfob::start_fed(kind, AUTH), &OF_GATEWAY);
}

/// The settings in `[auth]`. The table sends more refused attempts than any client.
const AUTH: &str = "refused_per_minute = 0\nreason = true\nidentity_keys = \"identity.pem\"\n";

type Part = (&'static str, fn(&mut Setup, &mut Report));

const OF_SERVE: [Part; 12] = [
    ("credentials", credentials::run),
    ("identity", identity::run),
    ("paths", paths::run),
    ("framing", framing::run),
    ("http2", http2::run),
    ("streams", streams::run),
    ("lifetime", lifetime::run),
    ("clients", clients::run),
    ("slow", slow::run),
    ("gone", gone::run),
    ("settings", settings::run),
    // Last, since it stops and kills the authorizers.
    ("faults", faults::run),
];

const OF_GATEWAY: [Part; 4] = [
    ("credentials", credentials::run),
    ("identity", identity::run),
    ("upstream", upstream::run),
    ("faults", faults::run),
];

/// When the first gateway was started.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
/// How long the whole table may take.
const LONGEST: Duration = Duration::from_mins(6);

/// Runs parts over one gateway, and reports all faults at once.
fn table(kind: Kind, keyfob: Keyfob, parts: &[Part]) {
    let Some(mut setup) = Setup::start(kind, keyfob) else {
        return;
    };
    let mut report = Report::new();
    for (name, run) in parts {
        report.part(name, |report| run(&mut setup, report));
    }
    let took = BEGAN.elapsed();
    report.check(took < LONGEST, format_args!("the table takes {took:?}"));
    report.finish(&setup);
}
