//! The first credential of a service.

use keyfob::{
    Context, Expiry, Owner,
    name::{TeamId, UserId},
};
use keyfob_api::{Right, first_credential};
use serde_json::{Value, json};

use crate::fixture::Fixture;

fn credential(made: &Value) -> String {
    let key = &made["access_key"];
    format!(
        "{}:{}",
        key["id"].as_str().unwrap(),
        key["secret"].as_str().unwrap()
    )
}

#[tokio::test]
async fn other_credentials_are_created_with_the_first_one() {
    let plane = Fixture::new();
    let context = Context::system(plane.now());
    let owner = || Owner::User(UserId::new("olga").unwrap());
    let first = first_credential(
        &plane.keyring,
        &context,
        TeamId::new("ops").unwrap(),
        owner(),
        Right::Operator,
        Expiry::Never,
    );
    let (first, info) = first.await.unwrap().into_parts();
    let team = TeamId::new("ops").unwrap();
    let second = first_credential(
        &plane.keyring,
        &context,
        team,
        owner(),
        Right::Operator,
        Expiry::Never,
    );
    assert!(second.await.is_err(), "the name is taken");

    // The operator creates a new team by its first namespace, and an administrator of it.
    let spaces = "/v2/functions/namespaces";
    let space = json!({"label": "orders", "region": "blr1", "team": "acme"});
    let keys = "/v2/functions/namespaces/control:acme/keys";
    let body = json!({"name": "ada", "owner": "user:ada", "scopes": ["team:admin"]});
    plane
        .ask(first.expose(), "POST", keys, body)
        .await
        .refused(404, "not_found");
    plane
        .ask(first.expose(), "POST", spaces, space)
        .await
        .expect(200);
    let keys = "/v2/functions/namespaces/control:acme/keys";
    let body = json!({
        "name": "ada",
        "owner": "user:ada",
        "scopes": ["team:admin"],
        "expires_in": "30d",
    });
    let made = plane
        .ask(first.expose(), "POST", keys, body)
        .await
        .expect(201);
    let ada = credential(&made);
    let caller = plane.ask(&ada, "GET", "/v1/caller", ()).await.expect(200);
    assert_eq!(caller["team"], "acme");
    // The administrator revokes the first credential with itself.
    let id = plane.keyring.format().key_id(info.id);
    let one = format!("/v2/functions/namespaces/control:ops/keys/{id}/revoke");
    plane
        .ask(first.expose(), "POST", &one, ())
        .await
        .expect(200);
    plane
        .ask(first.expose(), "GET", "/v1/caller", ())
        .await
        .refused(401, "unauthorized");
}
