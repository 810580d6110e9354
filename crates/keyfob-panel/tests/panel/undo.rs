//! What can be undone, by whom and from where; and what is shown before something stops.

use keyfob::{MemoryStore, Timestamp, legacy::LegacyPolicy};
use keyfob_api::Right;

use crate::fixture::{DAY, Fixture, NOW, changed, form, tenant, until};

async fn plane() -> (Fixture, String) {
    let plane = Fixture::over(MemoryStore::new()).await;
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    plane.key("orders", "user:alice", "laptop").await;
    plane.import().await;
    let cookie = plane.sign_in(&admin).await;
    (plane, cookie)
}

#[tokio::test]
async fn a_cut_off_is_undone_from_another_session() {
    let (plane, cookie) = plane().await;
    let (cut, undo) = ("/migration/orders/cut-off", "/migration/orders/undo");
    let policy = until(400)
        .with_brownout(
            Timestamp::from_unix(NOW + DAY),
            Timestamp::from_unix(NOW + DAY + 60),
        )
        .unwrap();
    plane.set_legacy(policy.clone()).await;
    let answer = plane.post(cut, &cookie, "typed=orders").await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    // Another administrator, who knows of the cut-off by the store alone.
    let carol = plane
        .control_key("acme", "user:carol", Right::TeamAdmin)
        .await;
    let other = plane.sign_in(&carol).await;
    let shown = plane.get("/migration", &other).await;
    let body = changed(shown.inputs(undo), "", "");
    assert!(body.contains("&was="), "{}", shown.text);
    assert_eq!(plane.post(undo, &other, &body).await.status, 303);
    assert_eq!(plane.legacy().await, policy);
    let told = plane.get("/migration", &other).await.text;
    assert!(told.contains("The cut-off of orders is undone"), "{told}");
    // Those who may only look are offered nothing.
    plane.post(cut, &cookie, "typed=orders").await;
    let dave = plane
        .control_key("acme", "user:dave", Right::TeamRead)
        .await;
    let reader = plane.sign_in(&dave).await;
    let shown = plane.get("/migration", &reader).await.text;
    assert!(!shown.contains(undo), "{shown}");
}

#[tokio::test]
async fn a_cut_off_of_a_default_goes_back_to_the_default() {
    let (plane, cookie) = plane().await;
    let context = plane.context();
    let set = plane
        .keyring
        .set_legacy_policy(&context, None, Some(until(30)));
    set.await.unwrap();
    let (cut, undo) = ("/migration/orders/cut-off", "/migration/orders/undo");
    assert_eq!(plane.post(cut, &cookie, "typed=orders").await.status, 303);
    assert_eq!(plane.legacy().await, LegacyPolicy::Off);
    let shown = plane.get("/migration", &cookie).await;
    let body = changed(shown.inputs(undo), "", "");
    plane.post(undo, &cookie, &body).await;
    let set = plane
        .keyring
        .set_legacy_policy(&context, None, Some(until(60)));
    set.await.unwrap();
    assert_eq!(plane.legacy().await, until(60), "it follows the default");
}

#[tokio::test]
async fn a_sunset_can_be_undone_and_none_is_set_in_the_past() {
    let (plane, cookie) = plane().await;
    let (address, undo) = ("/migration/orders", "/migration/orders/undo");
    plane.set_legacy(until(400)).await;
    let opened = plane.get(address, &cookie).await;
    let past = changed(opened.inputs(address), "sunset", "2025-12-19T10:29");
    let answer = plane.post(address, &cookie, &past).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert!(answer.text.contains("use the cut-off"), "{}", answer.text);
    assert_eq!(plane.legacy().await, until(400));
    let body = changed(opened.inputs(address), "sunset", "2026-01-31T12:00");
    assert_eq!(plane.post(address, &cookie, &body).await.status, 303);
    let told = plane.get("/migration", &cookie).await;
    assert!(
        told.text.contains("work until 31 Jan 2026, 12:00 UTC"),
        "{}",
        told.text
    );
    let body = changed(told.inputs(undo), "", "");
    assert_eq!(plane.post(undo, &cookie, &body).await.status, 303);
    assert_eq!(plane.legacy().await, until(400));
}

#[tokio::test]
async fn a_rename_can_be_undone() {
    let (plane, cookie) = plane().await;
    let info = plane.key("orders", "user:alice", "ci runner").await;
    let address = format!("/keys/{}", plane.field(&info));
    let opened = plane.get(&address, &cookie).await;
    let body = changed(opened.inputs(&address), "name", "ci runner, new");
    assert_eq!(plane.post(&address, &cookie, &body).await.status, 303);
    let told = plane.get(&address, &cookie).await;
    assert!(
        told.text.contains("Call it ci runner again"),
        "{}",
        told.text
    );
    // The notice's form comes before that of the page.
    let body = changed(told.inputs(&address)[..3].to_vec(), "", "");
    assert_eq!(plane.post(&address, &cookie, &body).await.status, 303);
    let now = plane.keyring.get(&info.tenant, info.id).await.unwrap();
    assert_eq!(now.name.as_str(), "ci runner");
}

#[tokio::test]
async fn only_those_who_may_restore_a_namespace_are_offered_it() {
    let (plane, cookie) = plane().await;
    plane.key("orders", "user:bob", "desk").await;
    let bob = plane
        .control_key("acme", "user:bob", Right::FunctionAdmin)
        .await;
    let member = plane.sign_in(&bob).await;
    let remove = "/namespaces/orders/remove";
    // An administrator sees all that stops, and a member that there is more.
    let shown = plane.get(remove, &cookie).await.text;
    assert!(shown.contains("<strong>2 keys</strong>"), "{shown}");
    assert!(
        shown.contains("<strong>1</strong><span>shared credential<"),
        "{shown}"
    );
    let shown = plane.get(remove, &member).await.text;
    assert!(shown.contains("<strong>1 key</strong>"), "{shown}");
    assert!(shown.contains("may not see how many"), "{shown}");
    let body = form(&[("typed", "orders"), ("reason", "moved")]);
    let answer = plane.post(remove, &member, &body).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let told = plane.get("/team", &member).await.text;
    assert!(
        told.contains("An administrator of the team can restore it"),
        "{told}"
    );
    assert!(!told.contains("/namespaces/orders/restore"), "{told}");
    let told = plane.get("/team", &cookie).await.text;
    assert!(told.contains("/namespaces/orders/restore"), "{told}");
}

#[tokio::test]
async fn a_namespace_is_called_by_its_label_everywhere() {
    let (plane, cookie) = plane().await;
    let answer = plane.post("/namespaces", &cookie, "label=checkout").await;
    let to = answer.header("location").to_owned();
    let name = to.split('=').nth(1).expect("a namespace").to_owned();
    let info = plane.key(&name, "user:bob", "desk").await;
    plane.shared_credential(&name, 7).await;
    let policy = until(400);
    let context = plane.context();
    let home = tenant(&name);
    let set = plane
        .keyring
        .set_legacy_policy(&context, Some(&home), Some(policy));
    set.await.unwrap();
    // When the key expires soon.
    plane.set(NOW + 60 * DAY);
    let selected = format!(
        "/keys/revoke?key={}",
        plane.field(&info).replace('/', "%2F")
    );
    let cut = format!("/migration/{name}/cut-off");
    for path in [
        "/keys?whose=everybody".to_owned(),
        "/people/user:bob".to_owned(),
        "/people/user:bob/leave".to_owned(),
        "/migration".to_owned(),
        format!("/migration/{name}"),
        cut.clone(),
        "/expiring".to_owned(),
        "/audit".to_owned(),
        "/policies".to_owned(),
        format!("/policies/{name}"),
        format!("/keys/{}", plane.field(&info)),
        selected,
    ] {
        let shown = plane.get(&path, &cookie).await;
        assert_eq!(shown.status, 200, "{path}: {}", shown.text);
        let told = plane.get(&path, &cookie).await.text;
        let main = told.split("<main").nth(1).unwrap_or_default();
        assert!(main.contains("checkout"), "{path}: {main}");
    }
    let answer = plane.post(&cut, &cookie, "typed=checkout").await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let told = plane.get("/migration", &cookie).await.text;
    assert!(told.contains("checkout is cut off"), "{told}");
}
