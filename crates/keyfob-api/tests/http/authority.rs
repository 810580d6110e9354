//! Authorization over HTTP: every role makes every call on the caller's own keys, on others' in the
//! team, and on another team's.
//!
//! The table repeats the program's table by hand, so that a change of the program fails the test.

use keyfob::{
    NewKey, Owner, Scopes,
    name::{Scope, UserId},
};
use keyfob_api::{Right, Rights};
use serde_json::{Value, json};

use crate::fixture::Fixture;

/// The expected status for a control key without any right, with `function:read`,
/// `function:admin`, `team:read`, `team:admin` and `operator`. `function:create` and
/// `function:delete` have a test of their own.
type Row = [u16; 6];

/// The owner of the key or team, from Alice's point of view.
#[derive(Clone, Copy, Debug)]
enum Of {
    Herself,
    Bob,
    Rival,
}

const ROLES: [Option<Right>; 6] = [
    None,
    Some(Right::FunctionRead),
    Some(Right::FunctionAdmin),
    Some(Right::TeamRead),
    Some(Right::TeamAdmin),
    Some(Right::Operator),
];

/// The calls on one key. The last column is for a control key with both `function:admin` and
/// `team:read`: what it may do to its own keys it may not do to those that it only sees.
#[rustfmt::skip]
const ON_A_KEY: [(&str, &str, Of, Row, u16); 24] = [
    //                              none  f:read f:admin t:read t:admin operator both
    ("GET", "",         Of::Herself, [403, 200,   200,    200,   200,    200], 200),
    ("GET", "",         Of::Bob,     [403, 404,   404,    200,   200,    200], 200),
    ("GET", "",         Of::Rival,   [403, 404,   404,    404,   404,    200], 404),
    ("PUT", "",         Of::Herself, [403, 403,   200,    403,   200,    200], 200),
    ("PUT", "",         Of::Bob,     [403, 403,   404,    403,   200,    200], 403),
    ("PUT", "",         Of::Rival,   [403, 403,   404,    403,   404,    200], 404),
    ("POST", "/rotate", Of::Herself, [403, 403,   200,    403,   200,    200], 200),
    ("POST", "/rotate", Of::Bob,     [403, 403,   404,    403,   200,    200], 403),
    ("POST", "/rotate", Of::Rival,   [403, 403,   404,    403,   404,    200], 404),
    ("POST", "/disable", Of::Herself, [403, 403,  200,    403,   200,    200], 200),
    ("POST", "/disable", Of::Bob,    [403, 403,   404,    403,   200,    200], 403),
    ("POST", "/disable", Of::Rival,  [403, 403,   404,    403,   404,    200], 404),
    ("POST", "/enable", Of::Herself, [403, 403,   200,    403,   200,    200], 200),
    ("POST", "/enable", Of::Bob,     [403, 403,   404,    403,   200,    200], 403),
    ("POST", "/enable", Of::Rival,   [403, 403,   404,    403,   404,    200], 404),
    ("POST", "/revoke", Of::Herself, [403, 403,   200,    403,   200,    200], 200),
    ("POST", "/revoke", Of::Bob,     [403, 403,   404,    403,   200,    200], 403),
    ("POST", "/revoke", Of::Rival,   [403, 403,   404,    403,   404,    200], 404),
    ("DELETE", "",      Of::Herself, [403, 403,   200,    403,   200,    200], 200),
    ("DELETE", "",      Of::Bob,     [403, 403,   404,    403,   200,    200], 403),
    ("DELETE", "",      Of::Rival,   [403, 403,   404,    403,   404,    200], 404),
    // Creating a key for another owner.
    ("CREATE", "",      Of::Herself, [403, 403,   201,    403,   201,    201], 201),
    ("CREATE", "",      Of::Bob,     [403, 403,   403,    403,   201,    201], 403),
    ("CREATE", "",      Of::Rival,   [403, 403,   404,    403,   404,    201], 404),
];

/// The other calls: on the caller's team, and on another team.
#[rustfmt::skip]
const OF_A_TEAM: [(&str, &str, Row, Row); 35] = [
    //                                                        own team                       
    // another team
    //                                              none f:r f:a t:r t:a op          none f:r f:a
    // t:r t:a op
    ("GET",    "/v2/functions/namespaces?team={t}", [403, 200, 200, 200, 200, 200], [403, 404, 404, 404, 404, 200]),
    ("POST",   "/v2/functions/namespaces",          [403, 403, 200, 403, 200, 200], [403, 403, 404, 403, 404, 200]),
    ("GET",    "/v2/functions/namespaces/{n}",      [403, 200, 200, 200, 200, 200], [403, 404, 404, 404, 404, 200]),
    ("GET",    "/v2/functions/namespaces/{n}/keys", [403, 200, 200, 200, 200, 200], [403, 404, 404, 404, 404, 200]),
    ("GET",    "/v2/functions/namespaces/{n}/policy", [403, 200, 200, 200, 200, 200], [403, 404, 404, 404, 404, 200]),
    ("PUT",    "/v2/functions/namespaces/{n}/policy", [403, 403, 403, 403, 200, 200], [403, 403, 403, 403, 404, 200]),
    ("DELETE", "/v2/functions/namespaces/{n}/policy", [403, 403, 403, 403, 200, 200], [403, 403, 403, 403, 404, 200]),
    ("GET",    "/v2/functions/namespaces/{n}/legacy-policy", [403, 403, 403, 200, 200, 200], [403, 403, 403, 404, 404, 200]),
    ("PUT",    "/v2/functions/namespaces/{n}/legacy-policy", [403, 403, 403, 403, 200, 200], [403, 403, 403, 403, 404, 200]),
    ("DELETE", "/v2/functions/namespaces/{n}/legacy-policy", [403, 403, 403, 403, 200, 200], [403, 403, 403, 403, 404, 200]),
    ("POST",   "/v2/functions/namespaces/{n}/legacy-policy/cut-off", [403, 403, 403, 403, 200, 200], [403, 403, 403, 403, 404, 200]),
    ("POST",   "/v2/functions/namespaces/{n}/remove", [403, 403, 200, 403, 200, 200], [403, 403, 404, 403, 404, 200]),
    ("POST",   "/v2/functions/namespaces/{n}/restore", [403, 403, 403, 403, 200, 200], [403, 403, 403, 403, 404, 200]),
    ("GET",    "/v1/teams",                         [403, 403, 403, 403, 403, 200], [403, 403, 403, 403, 403, 200]),
    ("GET",    "/v1/teams/{t}/members",             [403, 403, 403, 200, 200, 200], [403, 403, 403, 404, 404, 200]),
    ("GET",    "/v1/teams/{t}/services",            [403, 403, 403, 200, 200, 200], [403, 403, 403, 404, 404, 200]),
    ("GET",    "/v1/teams/{t}/keys",                [403, 200, 200, 200, 200, 200], [403, 404, 404, 404, 404, 200]),
    ("GET",    "/v1/teams/{t}/namespaces",          [403, 200, 200, 200, 200, 200], [403, 404, 404, 404, 404, 200]),
    ("GET",    "/v1/teams/{t}/members/{u}/keys",    [403, 403, 403, 200, 200, 200], [403, 403, 403, 404, 404, 200]),
    ("POST",   "/v1/teams/{t}/members/{u}/remove",  [403, 403, 403, 403, 200, 200], [403, 403, 403, 403, 404, 200]),
    ("POST",   "/v1/teams/{t}/members/{u}/restore", [403, 403, 403, 403, 200, 200], [403, 403, 403, 403, 404, 200]),
    ("GET",    "/v1/teams/{t}/services/bot/keys",   [403, 403, 403, 200, 200, 200], [403, 403, 403, 404, 404, 200]),
    ("POST",   "/v1/teams/{t}/services/bot/remove", [403, 403, 403, 403, 200, 200], [403, 403, 403, 403, 404, 200]),
    ("POST",   "/v1/teams/{t}/services/bot/restore", [403, 403, 403, 403, 200, 200], [403, 403, 403, 403, 404, 200]),
    ("POST",   "/v1/teams/{t}/revocations",         [403, 403, 403, 403, 200, 200], [403, 403, 403, 403, 404, 200]),
    ("GET",    "/v1/teams/{t}/audit",               [403, 403, 403, 200, 200, 200], [403, 403, 403, 404, 404, 200]),
    ("GET",    "/v1/teams/{t}/legacy",              [403, 403, 403, 200, 200, 200], [403, 403, 403, 404, 404, 200]),
    ("GET",    "/v1/teams/{t}/usage",               [403, 403, 403, 200, 200, 200], [403, 403, 403, 404, 404, 200]),
    ("GET",    "/v1/audit",                         [403, 403, 403, 403, 403, 200], [403, 403, 403, 403, 403, 200]),
    ("GET",    "/v1/audit/verification",            [403, 403, 403, 403, 403, 200], [403, 403, 403, 403, 403, 200]),
    ("GET",    "/v1/legacy",                        [403, 403, 403, 403, 403, 200], [403, 403, 403, 403, 403, 200]),
    ("GET",    "/v1/policy",                        [403, 403, 403, 403, 403, 200], [403, 403, 403, 403, 403, 200]),
    ("PUT",    "/v1/legacy-policy",                 [403, 403, 403, 403, 403, 200], [403, 403, 403, 403, 403, 200]),
    ("POST",   "/v1/leaks",                         [403, 200, 200, 200, 200, 200], [403, 200, 200, 200, 200, 200]),
    ("GET",    "/v1/caller",                        [200, 200, 200, 200, 200, 200], [200, 200, 200, 200, 200, 200]),
];

/// Alice of acme, with these rights, in a control plane with Bob of acme and Rita of the rival team.
async fn plane_with(rights: impl IntoIterator<Item = Right>) -> (Fixture, String) {
    let plane = Fixture::new();
    plane.key("acme", "fn-a", "carol", "hers").await;
    plane.key("rival", "fn-r", "rita", "hers").await;
    let owner = Owner::User(UserId::new("alice").unwrap());
    let rights = rights.into_iter();
    let scopes = rights.map(|right| Scope::new(right.as_str()).unwrap());
    let scopes = Scopes::only(scopes.collect::<Vec<_>>()).unwrap();
    let alice = plane.control_key_of("acme", owner, scopes).await;
    (plane, alice)
}

#[tokio::test]
async fn every_call_on_a_key_has_the_status_in_the_table() {
    let both = vec![Right::FunctionAdmin, Right::TeamRead];
    for (method, call, of, row, with_both) in ON_A_KEY {
        let roles = ROLES.map(|role| role.into_iter().collect());
        let of_roles = roles.into_iter().zip(row);
        for (role, expected) in of_roles.chain([(both.clone(), with_both)]) {
            let (plane, alice) = plane_with(role.iter().copied()).await;
            let (team, namespace, user) = match of {
                Of::Herself => ("acme", "fn-a", "alice"),
                Of::Bob => ("acme", "fn-a", "bob"),
                Of::Rival => ("rival", "fn-r", "rita"),
            };
            let keys = format!("/v2/functions/namespaces/{namespace}/keys");
            let answer = if method == "CREATE" {
                let owner = format!("user:{user}");
                let body = json!({"name": "new", "owner": owner});
                plane.ask(&alice, "POST", &keys, body).await
            } else {
                let (_, info) = plane.key(team, namespace, user, "old").await;
                let path = format!("{keys}/{}{call}", plane.keyring.format().key_id(info.id));
                let body = match method {
                    "PUT" => json!({"name": "renamed"}),
                    _ => Value::Null,
                };
                plane.ask(&alice, method, &path, body).await
            };
            assert_eq!(
                answer.status, expected,
                "{method} {call} of {of:?} as {role:?}: {}",
                answer.text
            );
        }
    }
}

#[tokio::test]
async fn every_other_call_has_the_status_in_the_table() {
    for (method, path, own, other) in OF_A_TEAM {
        for (role, (own, other)) in ROLES.into_iter().zip(own.into_iter().zip(other)) {
            for (team, namespace, user, expected) in [
                ("acme", "fn-a", "bob", own),
                ("rival", "fn-r", "rita", other),
            ] {
                let (plane, alice) = plane_with(role).await;
                plane.key("acme", "fn-a", "bob", "his").await;
                for (team, namespace) in [("acme", "fn-a"), ("rival", "fn-r")] {
                    let bot = NewKey::for_service(team, namespace, "bot", "deploy");
                    plane.make(bot.unwrap()).await;
                }
                let context = plane.context();
                let path = path
                    .replace("{t}", team)
                    .replace("{n}", namespace)
                    .replace("{u}", user);
                let keyring = &plane.keyring;
                let tenant = crate::fixture::tenant(team, namespace);
                if path.ends_with("/restore") {
                    if path.contains("/namespaces/") {
                        keyring.remove_namespace(&context, &tenant).await.unwrap();
                    } else if path.contains("/members/") {
                        let user = UserId::new(user).unwrap();
                        keyring
                            .remove_member(&context, &tenant.team, &user)
                            .await
                            .unwrap();
                    } else {
                        let bot = keyfob::name::ServiceId::new("bot").unwrap();
                        keyring
                            .remove_service(&context, &tenant.team, &bot)
                            .await
                            .unwrap();
                    }
                }
                let body = match (method, path.rsplit('/').next().unwrap()) {
                    ("POST", "namespaces") => {
                        json!({"label": "new", "region": "blr1", "team": team})
                    }
                    ("POST", "revocations") => json!({"of": "user", "id": user}),
                    ("POST", "leaks") => json!([]),
                    ("PUT", "policy") => json!({}),
                    ("PUT", "legacy-policy") => json!({"sunset": null}),
                    _ => Value::Null,
                };
                let answer = plane.ask(&alice, method, &path, body).await;
                assert_eq!(
                    answer.status, expected,
                    "{method} {path} as {role:?}: {}",
                    answer.text
                );
            }
        }
    }
}

/// Every call of the document must be in a table or have separate tests.
#[test]
fn every_documented_call_is_in_a_table_or_tested_elsewhere() {
    use keyfob_api::ControlPlane;

    let own_tests = [
        // Tested as the calls on a namespace, or as the other operator calls.
        ("DELETE", "/v2/functions/namespaces/{namespace_id}"),
        ("PUT", "/v1/policy"),
        ("DELETE", "/v1/policy"),
        ("GET", "/v1/legacy-policy"),
        ("DELETE", "/v1/legacy-policy"),
        // Tested in other files.
        (
            "POST",
            "/v2/functions/namespaces/{namespace_id}/legacy/{legacy_id}/revoke",
        ),
        ("POST", "/v1/teams/{team_id}/remove"),
        ("POST", "/v1/teams/{team_id}/restore"),
        ("POST", "/v1/introspect"),
        ("POST", "/v1/revoke"),
        ("GET", "/v1/fleet"),
    ];
    let key = "/v2/functions/namespaces/{namespace_id}/keys";
    let mut known: Vec<(String, String)> = own_tests
        .iter()
        .map(|(method, path)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    known.extend(ON_A_KEY.iter().map(|(method, call, ..)| match *method {
        "CREATE" => ("POST".to_owned(), key.to_owned()),
        method => (method.to_owned(), format!("{key}/{{key_id}}{call}")),
    }));
    known.extend(OF_A_TEAM.iter().map(|(method, path, ..)| {
        let path = path
            .replace("?team={t}", "")
            .replace("{t}", "{team_id}")
            .replace("{n}", "{namespace_id}")
            .replace("/members/{u}/", "/{kind}/{name}/")
            .replace("/services/bot/", "/{kind}/{name}/")
            .replace("{team_id}/members", "{team_id}/{kind}")
            .replace("{team_id}/services", "{team_id}/{kind}");
        ((*method).to_owned(), path)
    }));
    let document = ControlPlane::openapi();
    for (path, calls) in document["paths"].as_object().unwrap() {
        for method in calls.as_object().unwrap().keys() {
            let call = (method.to_uppercase(), path.clone());
            assert!(known.contains(&call), "{call:?} is in no table");
        }
    }
}

/// As published: `function:create` or `function:delete` suffices, and gives nothing else.
#[tokio::test]
async fn the_published_rights_create_and_delete_namespaces() {
    let spaces = "/v2/functions/namespaces";
    let keys = format!("{spaces}/fn-a/keys");
    for (right, create, delete, list) in [
        (Right::FunctionRead, 403, 403, 200),
        (Right::FunctionCreate, 200, 403, 403),
        (Right::FunctionDelete, 403, 204, 403),
        (Right::FunctionAdmin, 200, 204, 200),
    ] {
        let (plane, alice) = plane_with(Some(right)).await;
        let body = json!({"label": "x", "region": "blr1"});
        let created = plane.ask(&alice, "POST", spaces, body).await;
        assert_eq!(created.status, create, "{right:?}");
        let listed = plane.ask(&alice, "GET", spaces, ()).await;
        assert_eq!(listed.status, list, "{right:?}");
        let named = plane.ask(&alice, "POST", &keys, json!({"name": "x"})).await;
        let expected = if right == Right::FunctionAdmin {
            201
        } else {
            403
        };
        assert_eq!(named.status, expected, "{right:?}");
        let restored = format!("{spaces}/fn-a/restore");
        let restored = plane.ask(&alice, "POST", &restored, ()).await;
        assert_eq!(
            restored.refused(403, "forbidden"),
            "the credential lacks the right team:admin"
        );
        let deleted = plane
            .ask(&alice, "DELETE", &format!("{spaces}/fn-a"), ())
            .await;
        assert_eq!(deleted.status, delete, "{right:?}");
    }
}

/// The right that the document names for a call is the one that a 403 names, and suffices.
#[tokio::test]
async fn a_refusal_names_the_right_that_the_document_names() {
    let document = keyfob_api::ControlPlane::openapi();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            let Some(right) = operation["x-rights"]["own"].as_str() else {
                assert!(["show_caller", "revoke_by_holder"].contains(&id), "{id}");
                continue;
            };
            let path = [
                ("{namespace_id}", "fn-a"),
                ("{team_id}", "acme"),
                ("{kind}", "members"),
                ("{name}", "bob"),
                ("{key_id}", "dof_v1_d79e8aeb42e5476893c7d4c59a166264"),
                ("{legacy_id}", "23bc46b1-71f6-4ed5-8c54-816aa4f8c502"),
            ]
            .into_iter()
            .fold(path.clone(), |path, (name, value)| {
                path.replace(name, value)
            });
            let body = match id {
                "create_key" | "update_key" => json!({"name": "x"}),
                "create_namespace" => json!({"label": "x"}),
                "set_legacy_policy" | "set_default_legacy_policy" => json!({"sunset": null}),
                "revoke_all" => json!({"of": "user", "id": "bob"}),
                "introspect" => json!({"token": "x"}),
                "report_leaks" => json!([]),
                "set_policy" | "set_default_policy" => json!({}),
                _ => Value::Null,
            };
            let method = method.to_uppercase();
            let (plane, alice) = plane_with(None).await;
            let refused = plane.ask(&alice, &method, &path, body.clone()).await;
            assert_eq!(
                refused.refused(403, "forbidden"),
                format!("the credential lacks the right {right}"),
                "{id}"
            );
            let (plane, alice) = plane_with(Right::parse(right)).await;
            let passed = plane.ask(&alice, &method, &path, body).await;
            assert!(
                ![401, 403].contains(&passed.status),
                "{id}: {}",
                passed.text
            );
        }
    }
}

#[tokio::test]
async fn a_list_contains_only_what_the_caller_may_see() {
    for (right, expected) in [
        (Right::FunctionRead, &["own"][..]),
        (Right::FunctionAdmin, &["own"]),
        (Right::TeamRead, &["hers", "own"]),
        (Right::Operator, &["hers", "own"]),
    ] {
        let (plane, alice) = plane_with(Some(right)).await;
        plane.key("acme", "fn-a", "alice", "own").await;
        let path = "/v2/functions/namespaces/fn-a/keys";
        let list = plane.ask(&alice, "GET", path, ()).await.expect(200);
        let keys = list["access_keys"].as_array().unwrap();
        let names: Vec<_> = keys
            .iter()
            .map(|key| key["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, expected, "{right:?}");
        assert_eq!(list["count"], expected.len());
        // The owner filter returns no more keys.
        let others = plane
            .ask(&alice, "GET", &format!("{path}?owner=user:carol"), ())
            .await;
        let count = &others.expect(200)["count"];
        let sees_all = Rights::new([right]).hold(Right::TeamRead);
        assert_eq!(*count, u8::from(sees_all), "{right:?}");
    }
}

#[tokio::test]
async fn only_admins_create_control_keys_and_none_with_more_rights_than_they_have() {
    let keys = "/v2/functions/namespaces/control:acme/keys";
    for (role, scopes, expected) in [
        (Right::FunctionAdmin, json!(["function:read"]), 403),
        (Right::TeamAdmin, json!(["team:admin"]), 201),
        (Right::TeamAdmin, json!(["function:read", "team:read"]), 201),
        (Right::TeamAdmin, json!([]), 201),
        (Right::TeamAdmin, json!(["operator"]), 403),
        (Right::TeamAdmin, json!(["function:read", "operator"]), 403),
        (Right::Operator, json!(["operator"]), 201),
        // Every scope, or a scope that is not a right, cannot be requested.
        (Right::TeamAdmin, json!(["*"]), 400),
        (Right::Operator, json!(["*"]), 400),
        (Right::TeamAdmin, json!(["function:invoke"]), 400),
        (Right::TeamAdmin, Value::Null, 400),
    ] {
        let (plane, alice) = plane_with(Some(role)).await;
        let body = json!({"name": "new", "scopes": scopes});
        let answer = plane.ask(&alice, "POST", keys, body).await;
        assert_eq!(
            answer.status, expected,
            "{role:?} {scopes}: {}",
            answer.text
        );
        // Nor can an update add them.
        let (_, info) = plane.make(control_key(&["function:read"])).await;
        let one = format!("{keys}/{}", plane.keyring.format().key_id(info.id));
        if role != Right::FunctionAdmin && !scopes.is_null() {
            let changed = plane
                .ask(&alice, "PUT", &one, json!({"scopes": scopes}))
                .await;
            let expected = if expected == 201 { 200 } else { expected };
            assert_eq!(
                changed.status, expected,
                "{role:?} {scopes}: {}",
                changed.text
            );
        }
    }
}

#[tokio::test]
async fn a_control_key_with_more_rights_than_the_caller_cannot_be_changed() {
    for (role, held, expected) in [
        // Alice's other key, which has more rights than the one that she presents.
        (Right::FunctionAdmin, "team:admin", 403),
        (Right::FunctionAdmin, "function:admin", 200),
        (Right::TeamAdmin, "operator", 403),
        (Right::TeamAdmin, "team:admin", 200),
        (Right::Operator, "operator", 200),
    ] {
        let (plane, alice) = plane_with(Some(role)).await;
        let (_, info) = plane.make(control_key(&[held])).await;
        let id = plane.keyring.format().key_id(info.id);
        let one = format!("/v2/functions/namespaces/control:acme/keys/{id}");
        for (method, path, body) in [
            ("POST", format!("{one}/rotate"), Value::Null),
            ("POST", format!("{one}/enable"), Value::Null),
            ("PUT", one.clone(), json!({"scopes": ["function:read"]})),
        ] {
            let answer = plane.ask(&alice, method, &path, body).await;
            assert_eq!(answer.status, expected, "{role:?} {held} {path}");
        }
        // Revoking it is always allowed.
        plane
            .ask(&alice, "POST", &format!("{one}/revoke"), ())
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_caller_without_team_admin_cannot_extend_control_keys() {
    for (role, expected) in [(Right::FunctionAdmin, 403), (Right::TeamAdmin, 200)] {
        let (plane, alice) = plane_with(Some(role)).await;
        let (_, info) = plane.make(control_key(&["function:read"])).await;
        let id = plane.keyring.format().key_id(info.id);
        let one = format!("/v2/functions/namespaces/control:acme/keys/{id}");
        for (method, path, body) in [
            (
                "POST",
                format!("{one}/rotate"),
                json!({"expires_in": "3650d"}),
            ),
            ("PUT", one.clone(), json!({"scopes": ["function:admin"]})),
        ] {
            let answer = plane.ask(&alice, method, &path, body).await;
            assert_eq!(answer.status, expected, "{role:?} {path}: {}", answer.text);
        }
    }
}

/// A control key of Alice.
fn control_key(scopes: &[&str]) -> NewKey {
    let scopes = scopes.iter().map(|scope| Scope::new(scope).unwrap());
    let owner = Owner::User(UserId::new("alice").unwrap());
    let name = keyfob::name::KeyName::new("another").unwrap();
    NewKey::new(crate::fixture::tenant("acme", "control:acme"), owner, name)
        .with_scopes(Scopes::only(scopes).unwrap())
}

#[tokio::test]
async fn a_namespace_named_like_another_teams_control_namespace_grants_no_access() {
    let plane = Fixture::new();
    // The rival team used the name first.
    let same_name = plane
        .key("rival", "control:acme", "rita", "same_name")
        .await;
    let own = plane.key("rival", "control", "rita", "none").await;
    let plain = plane.key("rival", "fn-r", "rita", "plain").await;
    for (key, _) in [&same_name, &own, &plain] {
        let answer = plane.ask(key.expose(), "GET", "/v1/caller", ()).await;
        answer.refused(403, "forbidden");
    }
    // Nor does it give access to the team after which it is named.
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    let keys = "/v2/functions/namespaces/control:acme/keys";
    plane
        .ask(&operator, "GET", keys, ())
        .await
        .refused(404, "not_found");
    let body = json!({"name": "ada", "scopes": ["team:admin"]});
    plane
        .ask(&operator, "POST", keys, body)
        .await
        .refused(404, "not_found");
    // Every scope grants every right in the team, and none outside it.
    let (all, _) = plane.key("rival", "control:rival", "rita", "all").await;
    let caller = plane
        .ask(all.expose(), "GET", "/v1/caller", ())
        .await
        .expect(200);
    let rights = Right::ALL.map(Right::as_str);
    let rights = rights.into_iter().filter(|right| *right != "operator");
    let rights: Vec<_> = rights.collect();
    assert_eq!(caller["rights"], json!(rights));
    assert_eq!(
        (&caller["team"], &caller["control_namespace"]),
        (&json!("rival"), &json!("control:rival"))
    );
    assert_eq!(caller["expires_at"], Value::Null);
    plane
        .ask(all.expose(), "GET", "/v1/audit", ())
        .await
        .refused(403, "forbidden");
}

#[tokio::test]
async fn a_removed_right_is_refused_at_once() {
    let plane = Fixture::new();
    let alice = plane
        .control_key("acme", "alice", Right::FunctionRead)
        .await;
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    plane.ask(&alice, "GET", "/v1/caller", ()).await.expect(200);
    let remove = "/v1/teams/acme/members/alice/remove";
    plane.ask(&admin, "POST", remove, ()).await.expect(200);
    plane
        .ask(&alice, "GET", "/v1/caller", ())
        .await
        .refused(401, "unauthorized");
}
