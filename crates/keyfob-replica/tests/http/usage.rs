//! What goes back: usage, once, and how far the replica is.

use std::{collections::BTreeMap, time::Duration};

use keyfob::DenyReason;
use serde_json::Value;
use tokio::time::sleep;

use crate::{Gateway, authority::Authority, builder, following::until};

/// The accepted uses that an authority counts which records each batch once.
fn accepted(reports: &[Value]) -> u64 {
    let mut batches = BTreeMap::new();
    for report in reports {
        let name = (report["source"].as_str(), report["sequence"].as_u64());
        // A later report without usage has the number of the last one with it.
        let usage = report["usage"].as_array().unwrap();
        batches.entry(name).or_insert(usage);
    }
    let usage = batches.into_values().flatten();
    usage
        .filter(|usage| usage["outcome"] == "accepted")
        .map(|usage| usage["count"].as_u64().unwrap())
        .sum()
}

#[tokio::test]
async fn each_use_is_reported_once_although_answers_are_lost() {
    let authority = Authority::new().await;
    let key = authority.create("alice").await;
    let servers = [authority.serve().await, authority.serve().await];
    let gateway = Gateway::start(builder(&authority, &[&servers[0], &servers[1]])).await;
    let verifier = gateway.replica.verifier();
    // The reports arrive, and the answer is an error: the outcome is unknown.
    authority.refuse_reports(true);
    for _ in 0..3 {
        assert_eq!(key.refused(&verifier), None);
        sleep(Duration::from_millis(250)).await;
    }
    let reports = authority.reports();
    let batches: Vec<_> = reports
        .iter()
        .filter(|report| report["sequence"] != Value::Null)
        .collect();
    assert!(
        batches.len() >= 4,
        "to each upstream, and again: {batches:?}"
    );
    for batch in &batches {
        for part in ["source", "sequence", "usage"] {
            assert_eq!(
                batch[part], batches[0][part],
                "a batch is sent again unchanged"
            );
        }
    }
    authority.refuse_reports(false);
    until(|| accepted(&authority.reports()) == 3).await;
    authority.revoke(&key).await;
    key.until(&verifier, Some(DenyReason::Revoked)).await;
    assert_eq!(gateway.replica.stop().await, 0);
    let refused = |reports: Vec<Value>| -> u64 {
        let usage = reports
            .into_iter()
            .filter_map(|report| report["usage"].as_array().cloned());
        usage
            .flatten()
            .filter(|usage| usage["outcome"] == "revoked")
            .map(|usage| usage["count"].as_u64().unwrap())
            .sum()
    };
    assert!(
        refused(authority.reports()) >= 1,
        "the last uses are reported at the end"
    );
}

#[tokio::test]
async fn a_report_says_how_far_the_replica_is() {
    let authority = Authority::new().await;
    authority.create("alice").await;
    let server = authority.serve().await;
    let gateway = Gateway::start(builder(&authority, &[&server])).await;
    until(|| gateway.source.status().is_connected).await;
    let before = authority.reports().len();
    // Without usage, too.
    until(|| authority.reports().len() > before + 1).await;
    let report = authority.reports().pop().unwrap();
    let replica = &report["replica"];
    assert_eq!(replica["name"], "gateway-1");
    let position = gateway.source.status().position.unwrap().to_string();
    assert_eq!(replica["position"], position.as_str());
    let lag = replica["lag_ms"].as_u64().unwrap();
    assert!(lag < 2_000, "{lag}");
    assert_eq!(replica["refused"]["forged"], 0);
    assert_eq!(report["usage"], Value::Array(Vec::new()));
}
