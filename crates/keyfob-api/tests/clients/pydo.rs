//! The published client for Python.

use std::num::NonZeroU32;

use keyfob_api::{Limits, Quota, Right};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::{
    fixture::Fixture,
    python::{Environment, run, sources},
    served::Served,
};

/// The request quota of a caller: enough for the client, except for the call that must be refused.
const QUOTA: u32 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_published_client_works() {
    let Some(environment) = Environment::with("pydo") else {
        return;
    };
    let limits = Limits::default();
    let quota = NonZeroU32::new(QUOTA).expect("not zero");
    let plane = Fixture::with_limits(Limits {
        caller: Quota::new(quota, limits.caller.per * 60),
        ..limits
    });
    plane.key("acme", "fn-a", "bob", "his").await;
    plane.key("rival", "fn-r", "rita", "hers").await;
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let busy = plane.control_key("acme", "bob", Right::FunctionRead).await;
    let (unknown, info) = plane.key("acme", "control:acme", "eve", "gone").await;
    let context = plane.context();
    let deleted = plane
        .keyring
        .delete(&context, &info.tenant, info.id, None)
        .await;
    deleted.expect("it is deleted");

    let served = Served::start(plane.router.clone()).await;
    let mut python = environment.program("python");
    python
        .arg(sources("pydo").join("client.py"))
        .env("KEYFOB_ENDPOINT", format!("http://{}", served.address))
        .env("KEYFOB_NAMESPACE", "fn-a")
        .env("KEYFOB_FOREIGN", "fn-r")
        .env("KEYFOB_TOKEN", admin)
        .env("KEYFOB_UNKNOWN", unknown.expose())
        .env("KEYFOB_BUSY", busy)
        .env("KEYFOB_QUOTA", QUOTA.to_string());
    let output = spawn_blocking(|| run(python, "client.py")).await;
    let printed = output.expect("the client runs").stdout;
    let report: Value = serde_json::from_slice(&printed).expect("it prints JSON");
    drop(served);

    check_keys(&report);
    check_namespaces(&report);
    check_errors(&report);
}

fn check_keys(report: &Value) {
    let created = &report["created"]["body"]["access_key"];
    assert_eq!(created["name"], "laptop");
    assert_eq!(created["created_at"], "2025-12-19T10:30:00Z");
    assert_eq!(created["expires_at"], "2026-03-19T10:30:00Z");
    let secret = created["secret"].as_str().expect("the secret");
    assert!(!secret.contains(':'));
    assert_eq!(
        report["endless"]["body"]["access_key"]["expires_at"],
        Value::Null
    );

    let listed = &report["listed"]["body"];
    let names = listed["access_keys"].as_array().expect("a list");
    let names: Vec<_> = names.iter().map(|key| &key["name"]).collect();
    assert_eq!(names, ["his", "laptop", "endless"]);
    assert_eq!(listed["count"], 3);
    assert!(!report["listed"].to_string().contains(secret));

    let updated = &report["updated"]["body"]["access_key"];
    assert_eq!(
        (&updated["name"], &updated["id"]),
        (&json!("desktop"), &created["id"])
    );
    assert_eq!(report["deleted"]["body"], json!({}));
    // The client parses all of these as integers.
    for call in [
        "created",
        "listed",
        "updated",
        "deleted",
        "deleted_again",
        "taken",
    ] {
        let limits = &report[call]["limits"];
        assert_eq!(limits["ratelimit-limit"], QUOTA, "{call}");
        assert!(limits["ratelimit-remaining"].is_u64(), "{call}");
        assert!(limits["ratelimit-reset"].is_u64(), "{call}");
    }
}

fn check_namespaces(report: &Value) {
    let listed = report["namespaces"]["body"]["namespaces"].as_array();
    let names: Vec<_> = listed
        .expect("a list")
        .iter()
        .map(|n| &n["namespace"])
        .collect();
    assert_eq!(names, ["fn-a"]);
    let made = &report["namespace"]["body"]["namespace"];
    assert_eq!(made["region"], "blr1");
    assert_eq!(made["api_host"], "https://blr1.faas.example");
    assert_eq!(&report["shown_namespace"]["body"]["namespace"], made);
    assert_eq!(report["deleted_namespace"]["raised"], Value::Null);
}

fn check_errors(report: &Value) {
    for (call, id) in [
        ("taken", "conflict"),
        ("too_short", "bad_request"),
        ("nowhere", "not_found"),
        ("foreign", "not_found"),
        ("update_taken", "conflict"),
        ("update_empty", "bad_request"),
        ("deleted_again", "not_found"),
        ("updated_again", "not_found"),
    ] {
        assert_eq!(report[call]["body"]["id"], id, "{call}");
        assert!(report[call]["body"]["message"].is_string(), "{call}");
    }
    for (call, status, id) in [
        ("unauthorized", 401, "unauthorized"),
        ("too_many", 429, "too_many_requests"),
    ] {
        assert_eq!(report[call]["raised"], status, "{call}");
        assert_eq!(report[call]["body"]["id"], id, "{call}");
    }
}
