//! The routes for users of functions, compatible with `OpenWhisk`.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Json, Router,
    body::to_bytes,
    extract::{Path, RawQuery, Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use keyfob::{Access, Principal, key::KeyFormat};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{Gateway, refusal::Refusal};

/// The maximum length of a request body in bytes.
const BODY_MAX: usize = 1024 * 1024;

pub(crate) fn routes() -> Router<Arc<Gateway>> {
    const ACTIONS: &str = "/api/v1/namespaces/{namespace}/actions";
    Router::new()
        .route("/api/v1/namespaces", get(list_namespaces))
        .route(ACTIONS, get(list_actions))
        .route(&format!("{ACTIONS}/{{action}}"), post(invoke))
}

/// Lists the one namespace that the caller's credential gives access to.
async fn list_namespaces(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let now = OffsetDateTime::now_utc();
    let caller = gateway.admit(&headers, &Access::to_own_namespace(), now)?;
    Ok(Json(json!([caller.namespace()])))
}

async fn list_actions(
    State(gateway): State<Arc<Gateway>>,
    Path(namespace): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let now = OffsetDateTime::now_utc();
    let access = access_to(&namespace).requiring(&gateway.rights.read);
    let caller = gateway.admit(&headers, &access, now)?;
    let actions: Vec<Value> = ACTIONS
        .iter()
        .map(|(name, _)| json!({"namespace": caller.namespace(), "name": name, "version": "0.0.1"}))
        .collect();
    Ok(Json(actions.into()))
}

async fn invoke(
    State(gateway): State<Arc<Gateway>>,
    Path((namespace, action)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Refusal> {
    // Read once per request: all decisions and records of a request use the same time.
    let now = OffsetDateTime::now_utc();
    let (head, body) = request.into_parts();
    // Authenticate first: the body of a refused request is not read, and only authorized callers
    // learn which actions exist.
    let access = access_to(&namespace).requiring(&gateway.rights.invoke);
    let caller = gateway.admit(&head.headers, &access, now)?;
    let (name, run) = ACTIONS
        .iter()
        .find(|(name, _)| *name == action)
        .ok_or(Refusal::NOT_FOUND)?;

    let body = to_bytes(body, BODY_MAX)
        .await
        .map_err(|_| Refusal::TOO_LARGE)?;
    let parameters = match serde_json::from_slice(&body) {
        Ok(parameters @ Value::Object(_)) => parameters,
        _ if body.is_empty() => json!({}),
        _ => return Err(Refusal::BAD_REQUEST),
    };
    let result = run(&caller, &parameters, gateway.keyring.format());

    let id = activation_id();
    let has = |option| query.iter().flat_map(|q| q.split('&')).any(|o| o == option);
    if !has("blocking=true") {
        // This gateway stores no activations: the id is for the caller's log.
        return Ok((StatusCode::ACCEPTED, Json(json!({"activationId": id}))).into_response());
    }
    if has("result=true") {
        return Ok(Json(result).into_response());
    }
    let milliseconds = now.unix_timestamp() * 1000 + i64::from(now.millisecond());
    Ok(Json(json!({
        "activationId": id,
        // Taken from the verified principal: the namespace in the path may be `_`.
        "namespace": caller.namespace(),
        "name": name,
        "version": "0.0.1",
        "start": milliseconds,
        "end": milliseconds,
        "duration": 0,
        "response": {"status": "success", "success": true, "result": result},
    }))
    .into_response())
}

/// `_` stands for the namespace of the credential.
fn access_to(namespace: &str) -> Access<'_> {
    if namespace == "_" {
        Access::to_own_namespace()
    } else {
        Access::to(namespace)
    }
}

fn activation_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:032x}", NEXT.fetch_add(1, Ordering::Relaxed))
}

type Action = fn(&Principal<'_>, &Value, &KeyFormat) -> Value;

/// Every namespace has the same demo actions.
const ACTIONS: &[(&str, Action)] = &[("echo", echo), ("hello", hello), ("whoami", whoami)];

fn echo(_: &Principal<'_>, parameters: &Value, _: &KeyFormat) -> Value {
    parameters.clone()
}

fn hello(_: &Principal<'_>, parameters: &Value, _: &KeyFormat) -> Value {
    let name = parameters["name"].as_str().unwrap_or("stranger");
    json!({"payload": format!("Hello, {name}!")})
}

/// Returns what a function can be told about its caller: verified, and without secrets.
fn whoami(caller: &Principal<'_>, _: &Value, format: &KeyFormat) -> Value {
    json!({
        "team": caller.team(),
        "namespace": caller.namespace(),
        // A legacy credential has no known owner.
        "owner": caller.owner().map(|owner| owner.to_string()),
        "credential": format.credential_id(caller.credential()),
        "expires_at": caller.expires_at().map(|end| end.to_string()),
    })
}
