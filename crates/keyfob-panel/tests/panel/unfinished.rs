//! Lists of which the control plane has not looked through everything.

use std::sync::Arc;

use axum::{Router, routing::get};
use keyfob::{MemoryStore, Timestamp};
use keyfob_api::{ControlPlane, Right};
use keyfob_panel::Panel;

use crate::fixture::{Fixture, NOW};

#[tokio::test]
async fn nothing_found_so_far_is_not_said_to_be_nothing() {
    let mut plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    let screens = [
        (
            "/expiring",
            "No key expires in this time",
            "looked through expires",
        ),
        (
            "/people/user:bob",
            "No keys in this team",
            "were looked through",
        ),
    ];
    let cookie = plane.sign_in(&admin).await;
    for (path, nothing, so_far) in screens {
        let shown = plane.get(path, &cookie).await.text;
        assert!(
            shown.contains(nothing) && !shown.contains(so_far),
            "{shown}"
        );
    }
    let clock = || Timestamp::from_unix(NOW);
    let api = ControlPlane::new(Arc::clone(&plane.keyring)).with_clock(clock);
    let page = get(async || r#"{ "access_keys": [], "next_cursor": "c1" }"#);
    let api = Router::new()
        .route("/v1/teams/{team}/keys", page)
        .fallback_service(api.into_router());
    plane.router = Panel::new(api).with_clock(clock).into_router();
    let cookie = plane.sign_in(&admin).await;
    for (path, nothing, so_far) in screens {
        let shown = plane.get(path, &cookie).await.text;
        assert!(
            shown.contains(so_far) && !shown.contains(nothing),
            "{shown}"
        );
    }
}
