//! Published clients through the gateway.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use keyfob_testkit::peer::npm;

use crate::{
    calls::{basic, path},
    setup::{Report, Setup},
};

pub(crate) fn run(setup: &mut Setup, report: &mut Report) {
    doctl(setup, report);
    let Some(folder) = packages() else {
        return;
    };
    let output = Command::new("node")
        .args(["--no-warnings", "clients.js"])
        .current_dir(folder)
        .env("APIHOST", format!("http://{}", setup.gateway.address()))
        .env("KEY", &setup.key)
        .env("OTHER", &setup.other)
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .expect("node can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    report.check(output.status.success(), format_args!("clients.js: {error}"));
    for line in text.lines() {
        report.check(line.starts_with("ok "), line);
    }
    let done = text.lines().count();
    report.check(
        done == 12,
        format_args!("clients.js checked {done} calls: {error}"),
    );
}

/// What `doctl serverless connect` and its plugin ask: the namespace of the key, then `_`.
fn doctl(setup: &Setup, report: &mut Report) {
    let key = basic(&setup.key);
    let agent = [
        "User-Agent: doctl/1.145.0 (linux amd64)",
        "Accept: application/json",
    ];
    let fields = [&agent[..], &[&*key]].concat();
    let own = setup.call("GET", "/api/v1/namespaces", &fields).unwrap();
    report.check(
        own.answer.text() == "[\"orders\"]",
        format_args!("namespaces: {}", own.answer.text()),
    );
    for target in [
        path("_"),
        "/api/v1/namespaces/_/actions?limit=30&skip=0".into(),
        "/api/v1/namespaces/_/actions/x?".into(),
    ] {
        let status = setup.call("GET", &target, &fields).unwrap().status();
        report.check(status == 200, format_args!("{target}: {status}"));
    }
    let without = setup
        .call("GET", "/api/v1/namespaces", &agent)
        .unwrap()
        .status();
    report.check(
        without == 401,
        format_args!("namespaces without a key: {without}"),
    );
}

/// The folder with the packages of `clients/package.json`, installed once for all tests. `None` if there
/// is no Node.js, unless `CI=true`.
fn packages() -> Option<&'static PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(install).as_ref()
}

fn install() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gateway-clients");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateways/clients");
    npm(&sources, &folder, &["--ignore-scripts"]).then_some(folder)
}
