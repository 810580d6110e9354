//! Lists that are written while they are read.

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{body::Body, http::Request, response::Response};
use http_body_util::BodyExt as _;
use keyfob_api::{Limits, Right};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::{
    failing::{Failing, Fault},
    fixture::{Answer, Fixture},
};

const KEYS: &str = "/v2/functions/namespaces/fn-a/keys";
const PREVIEW: &str = "/v1/teams/acme/members/alice/keys";
/// Several pages.
const MANY: usize = 900;

async fn plane(limits: Limits) -> (Fixture, Arc<Failing>, String) {
    let store = Arc::new(Failing::default());
    let plane = Fixture::over(Arc::clone(&store), limits);
    for n in 0..MANY {
        plane
            .key("acme", "fn-a", "alice", &format!("key {n}"))
            .await;
    }
    let admin = plane.control_key("acme", "olga", Right::TeamAdmin).await;
    (plane, store, admin)
}

/// Sends a request, and reads nothing of the body.
async fn open(plane: &Fixture, token: &str, path: &str) -> Response {
    let request = Request::get(path).header("authorization", format!("Bearer {token}"));
    let request = request.body(Body::empty()).unwrap();
    plane.router.clone().oneshot(request).await.unwrap()
}

fn names(list: &Value) -> BTreeSet<&str> {
    let keys = list["access_keys"].as_array().unwrap();
    keys.iter()
        .map(|key| key["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_list_of_several_pages_is_complete() {
    let (plane, store, admin) = plane(Limits::default()).await;
    for path in [KEYS, PREVIEW] {
        let before = store.pages.load(Ordering::SeqCst);
        let list = plane.ask(&admin, "GET", path, ()).await.expect(200);
        assert_eq!(names(&list).len(), MANY, "{path}");
        assert_eq!(
            (&list["count"], &list["next_cursor"]),
            (&MANY.into(), &Value::Null)
        );
        assert!(store.pages.load(Ordering::SeqCst) - before > 3, "{path}");
    }
    // The same in pages that the caller asks for.
    for path in [KEYS, PREVIEW] {
        let (mut seen, mut cursor) = (0, String::new());
        loop {
            let page = format!("{path}?limit=400{cursor}");
            let page = plane.ask(&admin, "GET", &page, ()).await.expect(200);
            seen += names(&page).len();
            let Some(next) = page["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, MANY);
    }
}

#[tokio::test]
async fn no_more_is_read_of_the_store_than_the_client_takes() {
    let (plane, store, admin) = plane(Limits::default()).await;
    for path in [KEYS, PREVIEW] {
        let before = store.pages.load(Ordering::SeqCst);
        let mut response = open(&plane, &admin, path).await;
        assert_eq!(response.status(), 200);
        let first = response.body_mut().frame().await.unwrap().unwrap();
        let first = first.into_data().unwrap();
        assert!(first.len() < 200 * 1_000, "{} bytes", first.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(store.pages.load(Ordering::SeqCst) - before, 1, "{path}");
    }
}

#[tokio::test]
async fn a_list_that_cannot_be_read_to_its_end_is_broken_off_and_does_not_parse() {
    let (plane, store, admin) = plane(Limits::default()).await;
    for path in [KEYS, PREVIEW] {
        let mut response = open(&plane, &admin, path).await;
        let first = response.body_mut().frame().await.unwrap().unwrap();
        let mut text = first.into_data().unwrap().to_vec();
        store.fault.store(Fault::Definite);
        loop {
            match response.body_mut().frame().await {
                Some(Ok(frame)) => text.extend_from_slice(&frame.into_data().unwrap()),
                Some(Err(_)) => break,
                None => panic!("the list ended as if it was whole"),
            }
        }
        assert!(serde_json::from_slice::<Value>(&text).is_err());
        // At the start it is a refusal.
        let refused = plane.ask(&admin, "GET", path, ()).await;
        refused.refused(503, "service_unavailable");
        store.fault.store(Fault::None);
    }
}

#[tokio::test]
async fn a_caller_has_a_bounded_number_of_answers_under_way() {
    let limits = Limits {
        at_once: NonZeroUsize::new(3).unwrap(),
        ..Limits::default()
    };
    let (plane, _, admin) = plane(limits).await;
    let mut unread = Vec::new();
    for _ in 0..3 {
        let response = open(&plane, &admin, KEYS).await;
        assert_eq!(response.status(), 200);
        unread.push(response);
    }
    let refused = plane.ask(&admin, "GET", KEYS, ()).await;
    assert_eq!(refused.header("retry-after"), "1");
    refused.refused(429, "too_many_requests");
    // Other callers are not affected, and an answer that ended makes room.
    let other = plane.control_key("acme", "alice", Right::TeamAdmin).await;
    plane.ask(&other, "GET", KEYS, ()).await.expect(200);
    let read = unread.pop().unwrap();
    read.into_body().collect().await.unwrap();
    plane.ask(&admin, "GET", KEYS, ()).await.expect(200);
    // So does one whose connection is gone.
    unread.push(open(&plane, &admin, KEYS).await);
    drop(unread.pop());
    let answer: Answer = plane.ask(&admin, "GET", KEYS, ()).await;
    answer.expect(200);
}
