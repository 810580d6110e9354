//! The document: committed, served, and true to what is published.

use std::{env, fs, path::Path};

use axum::{body::Body, http::Request};
use keyfob::store::MemoryStore;
use keyfob_api::ControlPlane;
use serde_json::{Value, json};

use crate::fixture::Plane;

fn document() -> Value {
    serde_json::to_value(ControlPlane::<MemoryStore>::openapi()).expect("the document is JSON")
}

/// `KEYFOB_WRITE_OPENAPI=1 cargo test -p keyfob-api document` writes it anew.
#[test]
fn the_committed_document_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let generated = serde_json::to_string_pretty(&document()).expect("JSON") + "\n";
    if env::var_os("KEYFOB_WRITE_OPENAPI").is_some() {
        fs::write(&path, &generated).expect("the document can be written");
    }
    let committed = fs::read_to_string(&path).expect("the document is committed");
    assert!(
        committed == generated,
        "the document changed: write it anew with KEYFOB_WRITE_OPENAPI=1"
    );
}

#[tokio::test]
async fn the_document_is_served_to_anybody() {
    let plane = Plane::new();
    let request = Request::get("/openapi.json").body(Body::empty()).unwrap();
    let served = plane.send(request).await;
    assert_eq!(served.header("content-type"), "application/json");
    assert_eq!(served.expect(200), document());
}
