//! The audit trail and the lists of namespaces.

use keyfob::{MemoryStore, audit::Action};
use keyfob_api::Right;

use crate::fixture::{Fixture, NOW};

/// 2025-12-20T00:00:00Z
const MIDNIGHT: i64 = NOW - NOW % 86_400 + 86_400;

#[tokio::test]
async fn the_last_second_of_a_day_belongs_to_it() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    plane.set(MIDNIGHT - 1);
    let last = plane.key("orders", "user:bob", "last").await;
    plane.set(MIDNIGHT);
    let next = plane.key("orders", "user:bob", "next").await;
    let cookie = plane.sign_in(&admin).await;
    let id = |info: &keyfob::KeyInfo| plane.keyring.format().key_id(info.id);
    for path in ["/audit", "/audit/export"] {
        let until = plane
            .get(&format!("{path}?until=2025-12-19"), &cookie)
            .await;
        assert_eq!(until.status, 200, "{path}: {}", until.text);
        assert!(until.text.contains(&id(&last)), "{path}: {}", until.text);
        assert!(!until.text.contains(&id(&next)), "{path}: {}", until.text);
        let since = plane
            .get(&format!("{path}?since=2025-12-20"), &cookie)
            .await;
        assert!(!since.text.contains(&id(&last)), "{path}: {}", since.text);
        assert!(since.text.contains(&id(&next)), "{path}: {}", since.text);
        let all = plane
            .get(&format!("{path}?until=9999-12-31"), &cookie)
            .await;
        assert_eq!(all.status, 200, "{path}: {}", all.text);
        assert!(all.text.contains(&id(&next)), "{path}: {}", all.text);
        let bad = plane
            .get(&format!("{path}?until=2025-12-40"), &cookie)
            .await;
        assert_eq!(bad.status, 400, "{path}: {}", bad.text);
    }
}

#[tokio::test]
async fn every_action_can_be_filtered_by() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    let cookie = plane.sign_in(&admin).await;
    let shown = plane.get("/audit", &cookie).await.text;
    for action in Action::ALL {
        let option = format!("<option value=\"{}\"", action.as_str());
        assert!(shown.contains(&option), "{}", action.as_str());
        let path = format!("/audit?action={}", action.as_str());
        assert_eq!(plane.get(&path, &cookie).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn every_namespace_of_a_large_team_can_be_chosen() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    for n in 0..1_003 {
        plane.key(&format!("n{n}"), "user:bob", "worker").await;
    }
    let cookie = plane.sign_in(&admin).await;
    let names = |shown: &str, n: usize| {
        let name = format!("n{n}");
        let named = [
            format!("\"{name}\""),
            format!("/{name}\""),
            format!("={name}\""),
        ];
        named.iter().any(|text| shown.contains(text))
    };
    for path in ["/keys/new", "/policies"] {
        let shown = plane.get(path, &cookie).await.text;
        for n in 0..1_003 {
            assert!(names(&shown, n), "{path}: {n}");
        }
    }
    // A page of them, and more.
    let (mut next, mut pages) = (Some("/team".to_owned()), Vec::new());
    while let Some(path) = next {
        let shown = plane.get(&path, &cookie).await.text;
        let more = shown.find("/team?namespaces=").map(|at| &shown[at..]);
        let more = more.and_then(|rest| rest.split('"').next());
        next = more.map(ToOwned::to_owned);
        pages.push(shown);
    }
    assert_eq!(pages.len(), 11);
    for n in 0..1_003 {
        assert!(pages.iter().any(|page| names(page, n)), "/team: {n}");
    }
    // The first are offered, and every one can be typed.
    let shown = plane
        .get("/keys?whose=everybody&namespace=n1002", &cookie)
        .await;
    assert!(shown.text.contains("1 key found"), "{}", shown.text);
    let field = "<input name=\"namespace\" value=\"n1002\"";
    assert!(shown.text.contains(field) && names(&shown.text, 7));
    for path in ["/policies/n1002", "/namespaces/n1002/remove"] {
        assert_eq!(plane.get(path, &cookie).await.status, 200, "{path}");
    }
}
