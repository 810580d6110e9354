//! How a session begins and ends, and what is said of it.

use axum::{
    body::Body,
    http::{Request, header},
};
use keyfob::{Context, Expiry, MemoryStore, NewKey, Owner, Scopes, Tenant, Timestamp, name};
use keyfob_api::{Quota, Right, control_namespace};

use crate::fixture::{Answer, Fixture, HOST, NOW, form};

async fn plane() -> (Fixture, String) {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    plane.key("orders", "user:alice", "laptop").await;
    (plane, admin)
}

impl Fixture {
    async fn with_fields(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request = fields.iter().fold(
            Request::get(path).header(header::HOST, HOST),
            |request, (name, value)| request.header(*name, *value),
        );
        self.send(request.body(Body::empty()).unwrap()).await
    }
}

#[tokio::test]
async fn a_browser_that_does_not_keep_the_cookie_is_told_why() {
    let (plane, admin) = plane().await;
    let body = form(&[("credential", &admin), ("next", "/audit?action=removed")]);
    let answer = plane.post("/session", "", &body).await;
    let to = answer.header("location").to_owned();
    assert_eq!(to, "/session?kept&next=%2Faudit%3Faction%3Dremoved");
    // With the cookie, the page that was wanted; without it, the reason.
    let cookie = answer.header("set-cookie").split(';').next().unwrap();
    let kept = plane.get(&to, cookie).await;
    assert_eq!(kept.header("location"), "/audit?action=removed");
    let lost = plane.get(&to, "").await;
    assert!(
        lost.text.contains("did not keep the session"),
        "{}",
        lost.text
    );
    assert!(lost.text.contains("needs HTTPS") && lost.text.contains("role=\"alert\""));
    let other = plane.get("/session?kept&next=//evil.example", cookie).await;
    assert_eq!(other.header("location"), "/");
}

#[tokio::test]
async fn a_link_on_another_site_is_followed_with_the_session() {
    let (plane, admin) = plane().await;
    let cookie = plane.sign_in(&admin).await;
    let crossing = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
    ];
    let path = "/keys/new?name=a%26b&life=30d";
    let answer = plane.with_fields(path, &crossing).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let again = "http-equiv=\"refresh\" content=\"0; url=/keys/new?name=a%26b&#38;life=30d\"";
    assert!(answer.text.contains(again), "{}", answer.text);
    // The same with the session, and anything else than following a link.
    let with = [crossing[0], crossing[1], ("cookie", &*cookie)];
    let answer = plane.with_fields(path, &with).await;
    assert!(answer.text.contains("Create a key"), "{}", answer.text);
    for other in [
        [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "no-cors"),
        ],
        [
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "navigate"),
        ],
        [("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
    ] {
        assert_eq!(
            plane.with_fields(path, &other).await.status,
            303,
            "{other:?}"
        );
    }
}

#[tokio::test]
async fn what_was_typed_survives_the_end_of_the_session() {
    let (plane, admin) = plane().await;
    let cookie = plane.sign_in(&admin).await;
    plane.post("/session/end", &cookie, "").await;
    let fields = [
        ("name", "nightly \"export\""),
        ("scopes", "a b"),
        ("scopes", "c"),
    ];
    let answer = plane.post("/keys/new", &cookie, &form(&fields)).await;
    assert_eq!(answer.status, 401, "{}", answer.text);
    assert!(answer.text.contains("Nothing was done"), "{}", answer.text);
    let kept = answer.inputs("/keys/new");
    let kept: Vec<_> = kept.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(kept, fields);
    // A secret is repeated by no page.
    let body = form(&[("token", &admin), ("url", "https://paste.example/x")]);
    let answer = plane.post("/leaks", "", &body).await;
    assert!(!answer.text.contains(&admin[40..]), "{}", answer.text);
    assert!(answer.text.contains("except the text of the credential"));
    // A page says why it asks again, also one of which a part was wanted.
    let answer = plane.get("/keys?q=x", &cookie).await;
    assert_eq!(
        answer.header("location"),
        "/session?why=idle&next=%2Fkeys%3Fq%3Dx"
    );
    let current = format!("https://{HOST}/keys?q=y#top");
    let part = [
        ("cookie", &*cookie),
        ("hx-request", "true"),
        ("hx-current-url", &*current),
    ];
    let answer = plane.with_fields("/keys?q=yz", &part).await;
    assert_eq!(
        answer.header("hx-redirect"),
        "/session?why=idle&next=%2Fkeys%3Fq%3Dy"
    );
    let shown = plane.get("/session?why=idle&next=%2Fkeys", "").await.text;
    assert!(shown.contains("it was idle for too long"), "{shown}");
}

#[tokio::test]
async fn a_form_that_is_sent_again_acts_in_its_own_team_and_shows_its_preview_again() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let operator = plane.control_key("ops", "user:olga", Right::Operator).await;
    let at_home = plane
        .control_key("ops", "user:alice", Right::FunctionAdmin)
        .await;
    let key = plane.key("orders", "user:alice", "laptop").await;
    let cookie = plane.sign_in(&operator).await;
    let work_in = async |cookie: &str, team: &str| {
        let answer = plane.post("/team", cookie, &form(&[("team", team)])).await;
        assert_eq!(answer.status, 303);
    };
    work_in(&cookie, "acme").await;
    let address = "/people/user%3Aalice/leave";
    let page = plane.get(address, &cookie).await;
    let fields = page.inputs(address);
    assert!(
        fields.contains(&("worked_in".to_owned(), "acme".to_owned())),
        "{fields:?}: {}",
        page.text
    );
    let body = crate::fixture::changed(fields, "typed", "alice");
    plane.post("/session/end", &cookie, "").await;
    let kept = plane.post(address, &cookie, &body).await;
    assert_eq!(kept.status, 401, "{}", kept.text);
    let again = form_of(&kept.inputs(address));
    assert!(!again.contains("typed"), "{again}");
    // The new session works in the home team, where another person has the name.
    let cookie = plane.sign_in(&operator).await;
    for body in [&again, &body] {
        let refused = plane.post(address, &cookie, body).await;
        assert_eq!(refused.status, 409, "{}", refused.text);
        assert!(
            refused
                .text
                .contains("in the team acme, and you work in the team ops"),
            "{}",
            refused.text
        );
        assert_eq!(form_of(&refused.inputs(address)), again);
    }
    // A key that does not work cannot sign in.
    plane.sign_in(&at_home).await;
    // In its own team, the preview is first.
    work_in(&cookie, "acme").await;
    let preview = plane.post(address, &cookie, &again).await;
    assert_eq!(preview.status, 422, "{}", preview.text);
    assert!(preview.text.contains("Type exactly: alice"));
    assert!(!plane.is_revoked(&key).await);
    assert_eq!(plane.post(address, &cookie, &body).await.status, 303);
    assert!(plane.is_revoked(&key).await);
}

fn form_of(fields: &[(String, String)]) -> String {
    serde_urlencoded::to_string(fields).unwrap()
}

#[tokio::test]
async fn a_refusal_of_a_part_of_a_page_leaves_the_page() {
    let few = Quota::new(
        std::num::NonZeroU32::new(4).unwrap(),
        std::time::Duration::from_mins(1),
    );
    let plane = Fixture::with_quota(MemoryStore::new(), few).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    let cookie = plane.sign_in(&admin).await;
    let part = [("cookie", &*cookie), ("hx-request", "true")];
    let mut answer = plane.with_fields("/keys", &part).await;
    for _ in 0..9 {
        answer = plane.with_fields("/keys", &part).await;
    }
    assert_eq!(answer.status, 429, "{}", answer.text);
    for (name, value) in [
        ("hx-retarget", "#problem"),
        ("hx-reselect", "#problem"),
        ("hx-reswap", "outerHTML"),
    ] {
        assert_eq!(answer.header(name), value);
    }
    let problem = answer.text.split("<div id=\"problem\">").nth(1).unwrap();
    assert!(problem.contains("Too many requests"), "{problem}");
    assert!(!answer.text.contains("<h1"), "{}", answer.text);
    // A whole page is a whole page.
    let answer = plane.get("/keys", &cookie).await;
    assert_eq!((answer.status, answer.header("hx-retarget")), (429, ""));
    assert!(answer.text.contains("<h1>Too many requests</h1>"));
}

#[tokio::test]
async fn a_secret_is_not_kept_in_an_address() {
    let (plane, admin) = plane().await;
    let cookie = plane.sign_in(&admin).await;
    let (secret, info) = plane.secret("orders", "user:bob", "found").await;
    let id = plane.keyring.format().key_id(info.id);
    let query = form(&[("whose", "everybody"), ("q", &secret)]);
    let clean = format!("/keys?whose=everybody&q={id}");
    for (path, cookie) in [
        (format!("/keys?{query}"), &*cookie),
        (format!("/keys?{query}"), ""),
    ] {
        let answer = plane.get(&path, cookie).await;
        assert_eq!(answer.header("location"), clean);
    }
    let told = plane.get(&clean, &cookie).await.text;
    assert!(
        told.contains("The secret of a key was in the address"),
        "{told}"
    );
    assert!(told.contains("1 key found") && !told.contains(&secret));
    // The form of the search sends it in its body, and the address is clean.
    let answer = plane.post("/keys", &cookie, &query).await;
    assert_eq!((answer.status, answer.header("location")), (303, &*clean));
    let answer = plane
        .get(
            &format!("/audit?key={}", secret.replace(':', "%3A")),
            &cookie,
        )
        .await;
    assert_eq!(answer.header("location"), format!("/audit?key={id}"));
}

#[tokio::test]
async fn who_signed_in_with_a_key_that_expires_soon_is_told() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let team = name::TeamId::new("acme").unwrap();
    let home = Tenant::new(team.clone(), control_namespace(&team).unwrap());
    for (right, days, told) in [
        (Right::FunctionAdmin, 3, "Renew it by rotating"),
        (Right::TeamRead, 3, "Ask an administrator"),
        (Right::FunctionAdmin, 8, ""),
    ] {
        let end = Timestamp::from_unix(NOW + days * 86_400);
        let owner: Owner = "user:bob".parse().unwrap();
        let called = name::KeyName::new(&format!("{right:?} {days}")).unwrap();
        let scopes = Scopes::only([name::Scope::new(right.as_str()).unwrap()]).unwrap();
        let new = NewKey::new(home.clone(), owner, called)
            .with_scopes(scopes)
            .with_expiry(Expiry::At(end));
        let context: Context = plane.context();
        let made = plane.keyring.create(&context, new).await.unwrap();
        let (secret, info) = made.into_parts();
        let cookie = plane.sign_in(secret.expose()).await;
        let shown = plane.get("/keys", &cookie).await.text;
        assert_eq!(
            shown.contains("signed in with expires"),
            !told.is_empty(),
            "{shown}"
        );
        assert!(shown.contains(told), "{shown}");
        if told.contains("Renew") {
            let field = plane.field(&info).replace(':', "%3A");
            let renew = format!("/keys/{field}/rotate?life=90d");
            assert!(shown.contains(&renew), "{renew}: {shown}");
            let form = plane.get(&renew, &cookie).await.text;
            let chosen = "value=\"90d\" checked";
            assert!(form.contains(chosen), "{form}");
        }
    }
}

#[tokio::test]
async fn a_control_key_is_shown_with_where_to_sign_in() {
    let (plane, admin) = plane().await;
    let cookie = plane.sign_in(&admin).await;
    let body = form(&[
        ("step", "create"),
        ("name", "panel"),
        ("namespace", "control:acme"),
        ("owner_kind", "user"),
        ("owner_name", "bob"),
        ("life", "90d"),
        ("right", "function:admin"),
    ]);
    let shown = plane.post("/keys/new", &cookie, &body).await.text;
    assert!(shown.contains("Give it to bob"), "{shown}");
    assert!(shown.contains(&format!("{HOST}/session")) && !shown.contains("doctl"));
    let body = body
        .replace("control%3Aacme", "orders")
        .replace("&right=function%3Aadmin", "");
    let shown = plane.post("/keys/new", &cookie, &body).await.text;
    assert!(shown.contains("doctl serverless connect orders"), "{shown}");
}
