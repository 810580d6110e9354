//! The panel without a browser: its calls of the store, its headers, its sessions.

mod audit;
mod counting;
mod fixture;
mod leaks;
mod meanwhile;
mod names;
mod owners;
mod policies;
mod revoking;
mod sessions;
mod settings;
mod undo;
mod unfinished;

use std::sync::atomic::Ordering;

use axum::{
    body::Body,
    http::{Request, header},
};
use keyfob::MemoryStore;
use keyfob_api::Right;

use counting::Counting;
use fixture::{Fixture, HOST};

/// Every page, and the most calls of the store that it makes. `KEY` is the path of a key, `ID` its
/// identifier, and `SELECTED` a selection of 50 keys.
const SCREENS: [(&str, usize); 25] = [
    ("/keys?whose=everybody", 5),
    ("/keys?whose=everybody&q=nothing", 5),
    ("/keys?whose=everybody&q=key", 5),
    ("/keys?whose=everybody&q=ID", 5),
    ("/keys?whose=everybody&status=expired", 3 + LOOKED_THROUGH),
    ("/keys/new", 4),
    ("/keys/KEY", 11),
    ("/keys/KEY/rotate", 11),
    ("/keys/revoke?SELECTED", 5),
    ("/expiring", 13 + 2 * LOOKED_THROUGH),
    ("/team", 4),
    ("/namespaces/ns-1/remove", 8),
    ("/people/user:alice", 7),
    ("/people/user:alice/leave", 9),
    ("/migration", 7),
    ("/migration/ns-1", 7),
    ("/migration/ns-1/cut-off", 7),
    ("/policies", 1),
    ("/policies/ns-1", 4),
    ("/audit", 2),
    ("/audit?action=key_created", 2),
    ("/audit?actor=user:alice&action=key_updated", 2),
    ("/leaks", 1),
    ("/session?add", 0),
    ("/fleet", 0),
];

/// A search reads this many pages of a thousand keys at most.
const LOOKED_THROUGH: usize = 10;

#[tokio::test]
async fn a_screen_makes_as_many_calls_of_the_store_however_much_there_is() {
    let mut counted = Vec::new();
    for (keys, namespaces) in [(20, 3), (3_000, 60)] {
        let store = Counting::default();
        let calls = store.calls();
        let plane = Fixture::over(store).await;
        let admin = plane
            .control_key("acme", "user:alice", Right::TeamAdmin)
            .await;
        let mut made = Vec::new();
        for n in 0..keys {
            let owner = if n % 2 == 0 { "user:alice" } else { "user:bob" };
            let namespace = format!("ns-{}", n % namespaces);
            made.push(plane.key(&namespace, owner, &format!("key {n}")).await);
        }
        let one = plane.field(&made[0]);
        let selected = made.iter().cycle().take(50);
        let selected: Vec<_> = selected
            .map(|key| format!("key={}", plane.field(key)))
            .collect();
        for n in 0..namespaces {
            plane.shared_credential(&format!("ns-{n}"), n).await;
        }
        let cookie = plane.sign_in(&admin).await;
        let mut made = Vec::new();
        for (path, most) in SCREENS {
            let before = calls.load(Ordering::SeqCst);
            let id = one.rsplit_once('/').map_or("", |(_, id)| id);
            let address = path
                .replace("KEY", &one)
                .replace("ID", id)
                .replace("SELECTED", &selected.join("&"));
            let answer = plane.get(&address, &cookie).await;
            let expected = if path == "/fleet" { 403 } else { 200 };
            assert_eq!(answer.status, expected, "{path}: {}", answer.text);
            if path.starts_with("/keys") {
                let length = answer.text.len();
                assert!(length < PAGE_MAX, "{path}: {length} bytes");
            }
            let calls = calls.load(Ordering::SeqCst) - before;
            assert!(calls <= most, "{path}: {calls} calls with {keys} keys");
            made.push((path, calls));
        }
        counted.push(made);
    }
    // A search reads further pages; nothing else grows.
    for (few, many) in counted[0].iter().zip(&counted[1]) {
        if !few.0.contains("status=") && few.0 != "/expiring" {
            assert_eq!(many, few);
        }
    }
}

/// The longest page of keys, in bytes, without its assets.
const PAGE_MAX: usize = 150_000;

#[tokio::test]
async fn every_answer_has_the_headers_that_browsers_need() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    let cookie = plane.sign_in(&admin).await;
    let mut nonces = Vec::new();
    for (path, status) in [
        ("/keys", 200),
        ("/session?why=out", 200),
        ("/keys/orders/nothing", 404),
        ("/audit?since=x", 200),
        ("/audit?actor=x", 400),
        ("/fleet", 403),
    ] {
        let answer = plane.get(path, &cookie).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        let policy = answer.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'self'",
            "base-uri 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        let nonce = policy.split("'nonce-").nth(1).unwrap_or_default();
        let nonce = nonce.split('\'').next().unwrap_or_default().to_owned();
        assert!(nonce.len() >= 22, "{policy}");
        assert!(answer.text.contains(&format!("nonce=\"{nonce}\"")));
        nonces.push(nonce);
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("content-type", "text/html; charset=utf-8"),
        ] {
            assert_eq!(answer.header(name), value, "{path}: {name}");
        }
        for word in ["style=", "onclick", "javascript:", "https://", "//cdn"] {
            let text = answer.text.replace("placeholder=\"https://…\"", "");
            assert!(!text.contains(word), "{path}: {word}");
        }
    }
    let number = nonces.len();
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), number, "a nonce is used once");
}

#[tokio::test]
async fn the_paths_of_the_control_plane_are_its_own() {
    let plane = Fixture::over(MemoryStore::new()).await;
    for path in ["/v1/caller", "/v2/functions/namespaces", "/nothing"] {
        let answer = plane.get(path, "").await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (401, "application/json")
        );
    }
    let answer = plane.get("/openapi.json", "").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn only_a_session_opens_a_screen_and_only_the_same_origin_acts() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    let info = plane.key("orders", "user:alice", "target").await;
    let id = plane.keyring.format().key_id(info.id);
    let cookie = plane.sign_in(&admin).await;
    for (path, _) in SCREENS {
        if path.starts_with("/session") {
            continue;
        }
        let path = path.replace("KEY", "orders/x");
        let answer = plane.get(&path, "").await;
        assert_eq!(answer.status, 303, "{path}");
        assert!(answer.header("location").starts_with("/session"), "{path}");
    }
    // The credential itself is no session.
    let bearer = Request::get("/keys")
        .header(header::HOST, HOST)
        .header(header::AUTHORIZATION, format!("Bearer {admin}"))
        .body(Body::empty());
    assert_eq!(plane.send(bearer.unwrap()).await.status, 303);
    let disable = format!("/keys/orders/{id}/disable");
    for origin in ["https://evil.example", "null", "https://keys.example.evil"] {
        let request = Request::post(&disable)
            .header(header::HOST, HOST)
            .header(header::ORIGIN, origin)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::COOKIE, &cookie)
            .body(Body::empty());
        assert_eq!(plane.send(request.unwrap()).await.status, 403, "{origin}");
    }
    let works = plane.keyring.get(&info.tenant, info.id).await.unwrap();
    assert_eq!(works.status, keyfob::manage::Status::Active);
    assert_eq!(plane.post(&disable, &cookie, "").await.status, 303);
    let disabled = plane.keyring.get(&info.tenant, info.id).await.unwrap();
    assert_eq!(disabled.status, keyfob::manage::Status::Disabled);
}

#[tokio::test]
async fn a_session_ends_when_its_key_is_revoked() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    let cookie = plane.sign_in(&admin).await;
    assert_eq!(plane.get("/keys", &cookie).await.status, 200);
    let team = keyfob::name::TeamId::new("acme").unwrap();
    let removed = plane
        .keyring
        .remove_member(&plane.context(), team.as_str(), "alice")
        .await;
    removed.unwrap();
    let answer = plane.get("/keys", &cookie).await;
    assert_eq!(answer.header("location"), "/session?why=ended&next=%2Fkeys");
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    let answer = plane.get("/keys", &cookie).await;
    assert_eq!(answer.header("location"), "/session?why=idle&next=%2Fkeys");
}

#[tokio::test]
async fn one_session_works_in_several_teams_and_each_of_its_keys_is_checked() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let acme = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    let globex = plane
        .control_key("globex", "user:alice", Right::TeamAdmin)
        .await;
    let first = plane.sign_in(&acme).await;
    let form = |key: &str| format!("add=&credential={}", key.replace(':', "%3A"));
    let answer = plane.post("/session", &first, &form("globex:wrong")).await;
    assert_eq!(answer.status, 401);
    assert_eq!(plane.get("/team", &first).await.status, 200);
    let answer = plane.post("/session", &first, &form(&globex)).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let cookie = answer.header("set-cookie").split(';').next().unwrap();
    assert_eq!(
        plane.get("/team", &first).await.status,
        303,
        "the old cookie"
    );
    let page = plane.get("/team", cookie).await.text;
    assert!(page.contains("<h1>Team globex</h1>"), "{page}");
    let (id, _) = acme.split_once(':').unwrap();
    let choice = format!("key={id}");
    assert!(page.contains(&format!("value=\"{id}\"")), "{page}");
    assert!(!page.contains(&acme) && !page.contains(&globex));
    assert_eq!(
        plane.post("/session/choose", cookie, &choice).await.status,
        303
    );
    let page = plane.get("/team", cookie).await.text;
    assert!(page.contains("<h1>Team acme</h1>"), "{page}");
    let other = plane.post("/session/choose", cookie, "key=other").await;
    assert_eq!(other.status, 404);
    // The key that is worked with stops: the other team is left.
    let removed = plane
        .keyring
        .remove_member(&plane.context(), "acme", "alice")
        .await;
    removed.unwrap();
    let answer = plane.get("/keys", cookie).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/"));
    let page = plane.get("/team", cookie).await.text;
    assert!(
        page.contains("no longer signed in to the team acme"),
        "{page}"
    );
    assert!(page.contains("<h1>Team globex</h1>") && !page.contains("Your teams"));
    assert_eq!(
        plane.post("/session/choose", cookie, &choice).await.status,
        404
    );
    // Signing out ends all.
    let answer = plane.post("/session", cookie, &form(&globex)).await;
    let cookie = answer.header("set-cookie").split(';').next().unwrap();
    assert_eq!(plane.post("/session/end", cookie, "").await.status, 303);
    assert_eq!(plane.get("/team", cookie).await.status, 303);
}

#[tokio::test]
async fn a_form_that_is_sent_twice_leaves_one_key() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    plane.key("orders", "user:alice", "other").await;
    let cookie = plane.sign_in(&admin).await;
    let form =
        "step=create&name=laptop&namespace=orders&owner_kind=me&life=30d&once=AAECAwQFBgcICQ";
    for _ in 0..2 {
        let answer = plane.post("/keys/new", &cookie, form).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.text.contains("_sk_"));
    }
    let list = plane.get("/keys?q=laptop", &cookie).await.text;
    assert!(list.contains("1 key found"), "{list}");
    // Without the token of the form it is another one, whose name is taken.
    let again = form.replace("&once=AAECAwQFBgcICQ", "");
    let answer = plane.post("/keys/new", &cookie, &again).await;
    assert_eq!(answer.status, 409);
    assert!(answer.text.contains("value=\"laptop\"") && !answer.text.contains("_sk_"));
}

#[tokio::test]
async fn assets_never_change_under_one_address() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let page = plane.get("/session", "").await.text;
    let start = page.find("/assets/").unwrap();
    let base = page[start..].split('/').nth(2).unwrap();
    for name in [
        "panel.css",
        "pico.min.css",
        "htmx.min.js",
        "hx-csp.min.js",
        "panel.js",
        "icon.svg",
    ] {
        let answer = plane.get(&format!("/assets/{base}/{name}"), "").await;
        assert_eq!(answer.status, 200, "{name}");
        assert!(answer.header("cache-control").contains("immutable"));
        let other = plane
            .get(&format!("/assets/AAAAAAAAAAAAAAAA/{name}"), "")
            .await;
        assert_eq!(other.status, 404);
    }
}
