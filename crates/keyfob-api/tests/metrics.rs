//! The metrics, and that their labels have few values.
//!
//! A separate test program, because the metrics recorder is global.

#[path = "http/fixture.rs"]
#[expect(dead_code, reason = "this test uses only a part of it")]
mod fixture;

use std::collections::BTreeMap;

use axum::{body::Body, http::Request};
use keyfob_api::Right;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

use fixture::Fixture;

/// Returns the counters, and the number of values of each histogram, by name and labels.
fn counted(snapshotter: &Snapshotter) -> BTreeMap<String, u64> {
    let snapshot = snapshotter.snapshot().into_vec().into_iter();
    snapshot
        .map(|(key, _, _, value)| {
            let labels = key.key().labels();
            let labels: Vec<_> = labels
                .map(|label| format!("{}={}", label.key(), label.value()))
                .collect();
            let count = match value {
                DebugValue::Counter(count) => count,
                DebugValue::Histogram(values) => values.len() as u64,
                DebugValue::Gauge(_) => 0,
            };
            let name = format!("{} {}", key.key().name(), labels.join(" "));
            (name, count)
        })
        .collect()
}

#[tokio::test]
async fn requests_are_counted_by_route_and_refusals_by_reason() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().expect("the only recorder");
    let plane = Fixture::new();
    let alice = plane
        .control_key("acme", "alice", Right::FunctionRead)
        .await;
    for n in 0..3 {
        let path = format!("/v2/functions/namespaces/fn-{n}/keys");
        plane
            .ask(&alice, "GET", &path, ())
            .await
            .refused(404, "not_found");
        let path = format!("/v2/nothing/{n}");
        plane
            .ask(&alice, "GET", &path, ())
            .await
            .refused(404, "not_found");
    }
    for method in ["FROBNICATE", "BREW"] {
        let request = Request::builder()
            .method(method)
            .uri("/v2/functions/namespaces");
        let request = request.header("authorization", "Bearer x");
        let answer = plane.send(request.body(Body::empty()).unwrap()).await;
        answer.refused(401, "unauthorized");
    }
    let keys = "path=/v2/functions/namespaces/{namespace_id}/keys";
    let spaces = "path=/v2/functions/namespaces";
    let expected = [
        (format!("keyfob_api_request_seconds method=GET {keys}"), 3),
        ("keyfob_api_request_seconds method=GET path=-".to_owned(), 3),
        (
            format!("keyfob_api_request_seconds method=other {spaces}"),
            2,
        ),
        (
            format!("keyfob_api_requests_total method=GET {keys} status=404"),
            3,
        ),
        (
            "keyfob_api_requests_total method=GET path=- status=404".to_owned(),
            3,
        ),
        (
            format!("keyfob_api_requests_total method=other {spaces} status=401"),
            2,
        ),
        ("keyfob_api_refused_total reason=malformed".to_owned(), 2),
    ];
    assert_eq!(counted(&snapshotter), BTreeMap::from(expected));
}
