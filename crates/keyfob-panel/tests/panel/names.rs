//! Names with characters that mean something in addresses.

use keyfob::MemoryStore;
use keyfob_api::Right;

use crate::fixture::Fixture;

#[tokio::test]
async fn adding_a_person_fills_in_the_control_namespace_of_any_team() {
    for (team, address, option) in [
        ("R&D", "control%3AR%26D", "control:R&#38;D"),
        ("C#", "control%3AC%23", "control:C#"),
        ("a+b", "control%3Aa%2Bb", "control:a+b"),
    ] {
        let plane = Fixture::over(MemoryStore::new()).await;
        let admin = plane
            .control_key(team, "user:alice", Right::TeamAdmin)
            .await;
        let cookie = plane.sign_in(&admin).await;
        let shown = plane.get("/team", &cookie).await.text;
        let link = format!("/keys/new?namespace={address}&amp;owner_kind=user");
        assert!(shown.contains(&link), "{team}: {shown}");
        let form = format!("/keys/new?namespace={address}&owner_kind=user");
        let form = plane.get(&form, &cookie).await.text;
        let selected = format!("<option value=\"{option}\" selected>");
        assert!(form.contains(&selected), "{team}: {form}");
    }
}

#[tokio::test]
async fn the_first_person_of_a_team_is_added_in_its_control_namespace() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let operator = plane
        .control_key("ops", "user:alice", Right::Operator)
        .await;
    plane.key("orders", "user:bob", "desk").await;
    let cookie = plane.sign_in(&operator).await;
    plane.post("/team", &cookie, "team=acme").await;
    let shown = plane.get("/team", &cookie).await.text;
    let link = shown
        .split("href=\"")
        .filter_map(|rest| rest.split('"').next());
    let mut add = link.filter(|link| link.contains("right=function:admin"));
    let add = add.next().expect("a link").replace("&amp;", "&");
    let form = plane.get(&add, &cookie).await.text;
    assert!(
        form.contains("<option value=\"control:acme\" selected>"),
        "{form}"
    );
}
