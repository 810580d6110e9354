//! Clients that generators make of the OpenAPI document, checked by strict compilers and used against
//! a control plane; and what linters say of the document.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use keyfob_api::Right;
use tokio::task::spawn_blocking;

use crate::{
    fixture::Fixture,
    node::Node,
    python::{Environment, run, sources},
    served::Served,
};

#[test]
fn linters_find_no_fault_in_the_document() {
    let Some(node) = Node::get() else {
        return;
    };
    let mut redocly = node.program("redocly");
    redocly.arg("lint").arg(document());
    redocly.args(["--extends", "recommended-strict"]);
    run(redocly, "redocly");
    let mut spectral = node.program("spectral");
    spectral.arg("lint").arg(document());
    spectral.args(["--ruleset", "spectral.yaml", "--fail-severity", "warn"]);
    run(spectral, "spectral");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_from_openapi_typescript_works() {
    let Some(node) = Node::get() else {
        return;
    };
    let mut generate = node.program("openapi-typescript");
    generate.arg(document()).args(["--output", "schema.ts"]);
    let mut compile = node.program("tsc");
    compile.args(["--project", "tsconfig.json"]);
    let client = node.script("built/openapi-fetch.js");
    use_against_a_control_plane(vec![generate, compile], client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_from_hey_api_works() {
    let Some(node) = Node::get() else {
        return;
    };
    let mut generate = node.program("openapi-ts");
    generate.arg("--input").arg(document());
    generate.args(["--output", "hey-api", "--client", "@hey-api/client-fetch"]);
    generate.args(["--no-log-file"]);
    let mut compile = node.program("tsc");
    compile.args(["--project", "tsconfig.hey-api.json"]);
    let client = node.script("built-hey-api/hey-api.js");
    use_against_a_control_plane(vec![generate, compile], client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_from_openapi_python_client_works() {
    let Some(environment) = Environment::with("generated") else {
        return;
    };
    let mut generate = environment.program("openapi-python-client");
    generate.arg("generate").arg("--path").arg(document());
    generate.args(["--meta", "none", "--overwrite", "--fail-on-warning"]);
    generate.args(["--output-path", "keyfob_client"]);
    generate
        .arg("--config")
        .arg(sources("generated").join("config.yaml"));
    let script = sources("generated").join("client.py");
    let mut check = environment.program("mypy");
    check.arg("--strict").arg(&script);
    check.env("MYPYPATH", environment.folder());
    let mut client = environment.program("python");
    client.arg(script).env("PYTHONPATH", environment.folder());
    use_against_a_control_plane(vec![generate, check], client).await;
}

/// Runs what makes a client, and the client. It fails by itself if an answer is not as expected.
async fn use_against_a_control_plane(before: Vec<Command>, mut client: Command) {
    let plane = Fixture::new();
    plane.key("rival", "fn-r", "rita", "hers").await;
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let served = Served::start(plane.router.clone()).await;
    client
        .env("KEYFOB_ENDPOINT", format!("http://{}", served.address))
        .env("KEYFOB_FOREIGN", "fn-r")
        .env("KEYFOB_TOKEN", admin);
    let ran = spawn_blocking(move || {
        for command in before.into_iter().chain([client]) {
            let what = command.get_program().to_string_lossy().into_owned();
            run(command, &what);
        }
    });
    ran.await.expect("the client works");
}

/// The published clients for TypeScript and Go, as they are.
mod published {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_client_for_typescript_works() {
        if let Some(node) = Node::get() {
            use_against_a_control_plane(Vec::new(), node.script("dots.js")).await;
        }
    }

    /// It calls by the client for Go, as `doctl` does.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_server_of_the_model_context_protocol_works() {
        if let Some(node) = Node::get() {
            use_against_a_control_plane(Vec::new(), node.script("mcp.js")).await;
        }
    }
}

fn document() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    fs::canonicalize(path).expect("the document is committed")
}
