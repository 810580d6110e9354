//! Reports of keys that were found in the open.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keyfob::MemoryStore;
use keyfob_api::Right;

use crate::fixture::{Fixture, NOW, form};

#[tokio::test]
async fn a_key_that_was_found_is_revoked_even_if_its_place_cannot_be_kept() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    let cookie = plane.sign_in(&admin).await;
    for (name, kept) in [
        ("short", true),
        ("long", false),
        ("hidden", false),
        ("encoded", false),
    ] {
        let (secret, info) = plane.secret("orders", "user:bob", name).await;
        let url = match name {
            "long" => format!("https://paste.example/{}", "a".repeat(600)),
            "hidden" => "https://paste.example/\u{202e}x".to_owned(),
            "encoded" => format!("https://paste.example/{}", STANDARD.encode(&secret)),
            _ => "https://paste.example/x".to_owned(),
        };
        let body = form(&[("step", "revoke"), ("token", &secret), ("url", &url)]);
        let answer = plane.post("/leaks", &cookie, &body).await;
        assert!(plane.is_revoked(&info).await, "{name}: {}", answer.text);
        assert_eq!(answer.status, 303, "{name}: {}", answer.text);
        let shown = plane.get("/leaks", &cookie).await.text;
        assert!(shown.contains("The credential is revoked"), "{name}");
        assert_eq!(shown.contains("cannot be kept"), !kept, "{name}");
        assert!(!shown.contains(&secret) && !shown.contains(&STANDARD.encode(&secret)));
    }
}

#[tokio::test]
async fn whoever_reports_a_key_is_named_also_for_one_that_does_not_work_now() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    let member = plane
        .control_key("acme", "user:carol", Right::FunctionAdmin)
        .await;
    plane.import().await;
    for (reporter, cookie) in [
        ("user:alice", plane.sign_in(&admin).await),
        ("user:carol", plane.sign_in(&member).await),
    ] {
        for disabled in [false, true] {
            let name = format!("{reporter} {disabled}");
            let (secret, info) = plane.secret("orders", "user:bob", &name).await;
            if disabled {
                let context = plane.context();
                let disable = plane.keyring.disable(&context, &info.tenant, info.id, None);
                disable.await.unwrap();
            }
            let body = form(&[("step", "revoke"), ("token", &secret), ("url", "")]);
            assert_eq!(plane.post("/leaks", &cookie, &body).await.status, 303);
            let info = plane.keyring.get(&info.tenant, info.id).await.unwrap();
            let keyfob::manage::Status::Revoked(revocation) = info.status else {
                panic!("{name} is not revoked");
            };
            let by = revocation.by.owner.map(|owner| owner.to_string());
            assert_eq!(by.as_deref(), Some(reporter), "{name}");
        }
    }
    // A shared credential is not a member's to end.
    let cookie = plane.sign_in(&member).await;
    let shared = format!("23bc46b1-71f6-4ed5-8c54-000000000001:{}", "k".repeat(64));
    let body = form(&[("step", "revoke"), ("token", &shared)]);
    plane.post("/leaks", &cookie, &body).await;
    let told = plane.get("/leaks", &cookie).await.text;
    assert!(told.contains("and it still works"), "{told}");
}

#[tokio::test]
async fn a_leak_is_shown_however_many_other_revocations_follow() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    let cookie = plane.sign_in(&admin).await;
    let (secret, info) = plane.secret("orders", "user:bob", "leaked").await;
    let body = form(&[("step", "revoke"), ("token", &secret), ("url", "")]);
    assert_eq!(plane.post("/leaks", &cookie, &body).await.status, 303);
    for n in 0..101 {
        let other = plane.key("orders", "user:bob", &format!("other {n}")).await;
        let revoked = plane
            .keyring
            .revoke(&plane.context(), &other.tenant, other.id, None)
            .await;
        revoked.unwrap();
    }
    let shown = plane.get("/leaks", &cookie).await.text;
    let id = plane.keyring.format().key_id(info.id);
    assert!(shown.contains(&format!("<code>{id}</code>")), "{shown}");
    assert_eq!(
        shown.matches("<td>found in the open</td>").count(),
        1,
        "{shown}"
    );
}

#[tokio::test]
async fn a_secret_that_was_replaced_is_not_said_to_end_its_key() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    let cookie = plane.sign_in(&admin).await;
    let (old, info) = plane.secret("orders", "user:bob", "rotated").await;
    let context = plane.context();
    let rotation = keyfob::manage::Rotation::new().with_grace(std::time::Duration::from_hours(1));
    let rotated = plane
        .keyring
        .rotate(&context, &info.tenant, info.id, rotation, None)
        .await;
    let new = rotated.unwrap().secret.expose().to_owned();
    plane.set(NOW + 2 * 3_600);
    let report = async |secret: &str| {
        let body = form(&[
            ("step", "revoke"),
            ("token", secret),
            ("url", "https://paste.example/x"),
        ]);
        assert_eq!(plane.post("/leaks", &cookie, &body).await.status, 303);
        plane.get("/leaks", &cookie).await.text
    };
    let told = report(&old).await;
    assert!(told.contains("This secret was replaced before"), "{told}");
    assert!(
        !told.contains("is revoked") && !told.contains("The audit trail says"),
        "{told}"
    );
    assert!(!plane.is_revoked(&info).await);
    let told = report(&new).await;
    assert!(
        told.contains("The audit trail says that it was found"),
        "{told}"
    );
    // The trail has one entry, of the first report.
    let told = report(&new).await;
    assert!(told.contains("It was revoked before"), "{told}");
    assert!(!told.contains("The audit trail says"), "{told}");
}
