//! Requests that a fuzzer generates from the OpenAPI document.

use std::num::NonZeroU32;

use keyfob_api::{Limits, Quota, Right};
use tokio::task::spawn_blocking;

use crate::{
    fixture::Fixture,
    python::{Environment, run},
    served::Served,
};

/// Every response must match the document, and none may be a server error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_to_generated_requests_match_the_document() {
    let Some(environment) = Environment::with("schemathesis") else {
        return;
    };
    let limits = Limits::default();
    let plane = Fixture::with_limits(Limits {
        caller: Quota::new(NonZeroU32::MAX, limits.caller.per),
        refused: Quota::new(NonZeroU32::MAX, limits.refused.per),
        ..limits
    });
    plane.key("acme", "fn-a", "bob", "his").await;
    let operator = plane.control_key("acme", "olga", Right::Operator).await;
    let served = Served::start(plane.router.clone()).await;
    let mut fuzzer = environment.program("schemathesis");
    fuzzer
        .arg("run")
        .arg(format!("http://{}/openapi.json", served.address))
        .arg("--header")
        .arg(format!("Authorization: Bearer {operator}"))
        .args(["--checks", CHECKS])
        .args(["--max-time", "60", "--seed", "1"])
        .args(["--generation-database", "none"])
        .args([
            "--suppress-health-check",
            "all",
            "--warnings",
            "off",
            "--no-color",
        ]);
    let ran = spawn_blocking(|| run(fuzzer, "schemathesis")).await;
    ran.expect("the fuzzer runs");
}

/// The checks for every response.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,missing_required_header,\
    unsupported_method,allow_header_conformance,ignored_auth,negative_data_rejection";
