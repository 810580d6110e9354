//! An operator in another team, where somebody has the same name.

use keyfob::MemoryStore;
use keyfob_api::Right;

use crate::fixture::Fixture;

#[tokio::test]
async fn an_operator_in_another_team_is_not_its_member_of_the_same_name() {
    let plane = Fixture::over(MemoryStore::new()).await;
    let operator = plane
        .control_key("ops", "user:alice", Right::Operator)
        .await;
    plane.key("orders", "user:alice", "laptop of acme").await;
    plane.key("orders", "user:bob", "laptop of bob").await;
    let cookie = plane.sign_in(&operator).await;
    assert_eq!(plane.post("/team", &cookie, "team=acme").await.status, 303);
    for path in ["/keys?whose=mine", "/expiring?whose=mine&days=30"] {
        let shown = plane.get(path, &cookie).await.text;
        assert!(!shown.contains("value=\"mine\""), "{path}: {shown}");
    }
    let shown = plane.get("/keys?whose=mine", &cookie).await.text;
    assert!(shown.contains("laptop of bob"), "{shown}");
    let shown = plane.get("/people/user:alice/leave", &cookie).await.text;
    assert!(!shown.contains("This is you"), "{shown}");
    let shown = plane.get("/keys/new", &cookie).await.text;
    assert!(!shown.contains("value=\"me\""), "{shown}");
    assert!(shown.contains("name=\"owner_name\" value=\"\""), "{shown}");
    let body = "step=review&name=x&namespace=orders&owner_kind=me&life=30d";
    for body in [body.to_owned(), body.replace("review", "create")] {
        let answer = plane.post("/keys/new", &cookie, &body).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
    }
    // In a team without such a person, an operator who begins it is named in the form.
    let body = "label=orders&team=globex";
    let answer = plane.post("/namespaces", &cookie, body).await;
    let form = answer.header("location").to_owned();
    let shown = plane.get(&form, &cookie).await.text;
    assert!(
        shown.contains("name=\"owner_name\" value=\"alice\""),
        "{shown}"
    );
    assert!(shown.contains("value=\"user\" checked"), "{shown}");
    // At home, the same person is the same person.
    plane.post("/team", &cookie, "team=ops").await;
    let shown = plane.get("/people/user:alice/leave", &cookie).await.text;
    assert!(shown.contains("This is you"), "{shown}");
    let shown = plane.get("/keys/new", &cookie).await.text;
    assert!(shown.contains("value=\"me\" checked"), "{shown}");
}
