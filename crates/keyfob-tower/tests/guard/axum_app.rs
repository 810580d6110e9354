//! Guards in an axum router, and the extractor.

use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode, header::AUTHORIZATION},
    routing::get,
};
use http_body_util::BodyExt;
use keyfob_tower::{Caller, CallerMissing, Refusal};
use tower::ServiceExt;
use tower_http::cors::{Any, CorsLayer};

use crate::fixture::{Fixture, bearer};

async fn call(app: &Router, uri: &str, credential: &str) -> (Response<Body>, String) {
    let request = Request::builder()
        .uri(uri)
        .header(AUTHORIZATION, credential);
    let request = request.body(Body::empty()).unwrap();
    let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    (Response::from_parts(parts, Body::empty()), text)
}

#[tokio::test]
async fn each_router_has_its_namespace_and_each_route_its_scopes() {
    let fixture = Fixture::new().await;
    let guard = fixture.guard();
    let whoami = || get(|caller: Caller| async move { caller.to_string() });
    let app = Router::new()
        .merge(
            Router::new()
                .route("/orders", whoami())
                .layer(guard.namespace("orders")),
        )
        .merge(
            Router::new()
                .route("/billing", whoami())
                .layer(guard.namespace("billing")),
        )
        .route(
            "/write",
            whoami().layer(guard.namespace("orders").requiring(["orders:write"])),
        )
        .nest(
            "/v1",
            Router::new()
                .route("/ns/{namespace}/x", whoami())
                .layer(guard.namespace_in_path("/ns/{namespace}")),
        );
    let key = bearer(&fixture.key_with_scopes(&["orders:read"]).await);
    for (uri, status, body, reason) in [
        ("/orders", 200, "user:alice", None),
        ("/billing", 403, "{", Some("wrong_namespace")),
        ("/write", 403, "{", Some("missing_scope")),
        ("/v1/ns/orders/x", 200, "user:alice", None),
        ("/v1/ns/billing/x", 403, "{", Some("wrong_namespace")),
    ] {
        let (response, text) = call(&app, uri, &key).await;
        assert_eq!(response.status(), status, "{uri}");
        assert!(text.starts_with(body), "{text}");
        let refusal = response.extensions().get::<Refusal>();
        assert_eq!(refusal.map(Refusal::reason), reason);
    }
}

#[tokio::test]
async fn a_handler_without_a_guard_that_asks_for_the_caller_is_answered_with_500() {
    let fixture = Fixture::new().await;
    let key = bearer(&fixture.key().await);
    let app = Router::new()
        .route("/guarded", get(|_: Caller| async { "in" }))
        .layer(fixture.guard().namespace("orders"))
        .route("/added-later", get(|_: Caller| async { "in" }));
    assert_eq!(call(&app, "/guarded", &key).await.1, "in");
    let (response, text) = call(&app, "/added-later", &key).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        text,
        r#"{"id":"server_error","message":"the server failed"}"#
    );
    let error = response.extensions().get::<CallerMissing>().unwrap();
    assert_eq!(
        error.to_string(),
        "no keyfob guard is a layer of this route, so its caller is unknown"
    );
}

#[tokio::test]
async fn a_second_guard_inside_the_first_refuses() {
    let fixture = Fixture::new().await;
    let key = bearer(&fixture.key().await);
    let guard = fixture.guard();
    let app = Router::new()
        .route("/", get(|| async { "in" }))
        .layer(guard.namespace("orders"))
        .layer(guard.namespace("orders"));
    let (response, _) = call(&app, "/", &key).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_preflight_is_refused_by_the_guard_and_answered_by_a_layer_outside() {
    let fixture = Fixture::new().await;
    let app = Router::new()
        .route("/", get(|| async { "in" }))
        .layer(fixture.guard().namespace("orders"));
    let preflight = || {
        let request = Request::builder().method("OPTIONS").uri("/");
        let request = request
            .header("origin", "https://app.test")
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization");
        request.body(Body::empty()).unwrap()
    };
    let response = app.clone().oneshot(preflight()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_headers([AUTHORIZATION]);
    let app = app.layer(cors);
    let response = app.clone().oneshot(preflight()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let allowed = &response.headers()["access-control-allow-headers"];
    assert_eq!(allowed, "authorization");
    // The layer outside lets a browser read refusals too.
    let (response, _) = call(&app, "/", "Bearer x").await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
}
