//! Members, services and teams.

use keyfob::{
    Access, NewKey, Owner,
    gateway::UsageDelta,
    key::CredentialId,
    name::{KeyName, ServiceId},
};
use keyfob_api::Right;
use serde_json::{Value, json};

use crate::fixture::{Fixture, tenant};

fn works(plane: &Fixture, namespace: &str, credential: &str) -> bool {
    let access = Access::to(namespace);
    let verdict = plane
        .verifier
        .verify_text(credential.as_bytes(), &access, plane.now());
    verdict.is_ok()
}

#[tokio::test]
async fn removing_a_member_revokes_only_their_keys() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let bob = plane.control_key("acme", "bob", Right::FunctionAdmin).await;
    let (one, info) = plane.key("acme", "fn-a", "bob", "one").await;
    let (two, _) = plane.key("acme", "fn-b", "bob", "two").await;
    let (rival, _) = plane.key("rival", "fn-r", "bob", "another team").await;
    let (carol, _) = plane.key("acme", "fn-a", "carol", "hers").await;
    let gone = plane.key("acme", "fn-a", "bob", "gone").await.1;
    plane
        .keyring
        .revoke(&plane.context(), &gone.tenant, gone.id, None)
        .await
        .unwrap();
    let usage = [UsageDelta::accepted(
        CredentialId::Key(info.id),
        plane.now(),
    )];
    plane.record_usage(usage.to_vec()).await;

    let member = "/v1/teams/acme/members/bob";
    let preview = plane
        .ask(&admin, "GET", &format!("{member}/keys"), ())
        .await
        .expect(200);
    assert_eq!(preview["count"], 3);
    let keys = preview["access_keys"].as_array().unwrap();
    let mut last_uses: Vec<_> = keys
        .iter()
        .map(|key| (key["namespace"].as_str().unwrap(), &key["last_used_at"]))
        .collect();
    last_uses.sort_by_key(|(namespace, _)| *namespace);
    let used = json!("2025-12-19T10:30:00Z");
    let expected = [
        ("control:acme", &Value::Null),
        ("fn-a", &used),
        ("fn-b", &Value::Null),
    ];
    assert_eq!(last_uses, expected);

    plane
        .ask(
            &admin,
            "POST",
            &format!("{member}/remove"),
            json!({"reason": "left"}),
        )
        .await
        .expect(200);
    assert!(!works(&plane, "fn-a", one.expose()) && !works(&plane, "fn-b", two.expose()));
    assert!(works(&plane, "fn-r", rival.expose()) && works(&plane, "fn-a", carol.expose()));
    plane
        .ask(&bob, "GET", "/v1/caller", ())
        .await
        .refused(401, "unauthorized");
    let preview = plane
        .ask(&admin, "GET", &format!("{member}/keys"), ())
        .await
        .expect(200);
    assert_eq!(preview["count"], 0);
    // No keys can be created for him until he is restored, and old keys stay revoked.
    let keys = "/v2/functions/namespaces/fn-a/keys";
    let new = json!({"name": "new", "owner": "user:bob"});
    let refused = plane
        .ask(&admin, "POST", keys, new.clone())
        .await
        .refused(409, "conflict");
    assert_eq!(refused, "the owner was removed");
    plane
        .ask(&admin, "POST", &format!("{member}/restore"), ())
        .await
        .expect(200);
    plane.ask(&admin, "POST", keys, new).await.expect(201);
    assert!(!works(&plane, "fn-a", one.expose()));
    let listed = plane
        .ask(
            &admin,
            "GET",
            &format!("{keys}?owner=user:bob&name=one&status=all"),
            (),
        )
        .await;
    let revocation = &listed.expect(200)["access_keys"][0]["revocation"];
    assert_eq!(
        (&revocation["cause"], &revocation["reason"]),
        (&json!("owner"), &json!("left"))
    );
}

#[tokio::test]
async fn the_preview_of_a_removal_excludes_expired_keys() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let bob = Owner::User(keyfob::name::UserId::new("bob").unwrap());
    let names = ["short", "long", "off"].map(|name| KeyName::new(name).unwrap());
    for (name, hours) in names.into_iter().zip([1, 2, 2]) {
        let new = NewKey::new(tenant("acme", "fn-a"), bob.clone(), name)
            .with_expiry(keyfob::Expiry::In(keyfob::Ttl::hours(hours).unwrap()));
        let (_, info) = plane.make(new).await;
        if info.name.as_str() == "off" {
            let disabled = plane
                .keyring
                .disable(&plane.context(), &info.tenant, info.id, None)
                .await;
            disabled.unwrap();
        }
    }
    plane.pass(3_600);
    let path = "/v1/teams/acme/members/bob/keys";
    let preview = plane.ask(&admin, "GET", path, ()).await.expect(200);
    assert_eq!(preview["count"], 2);
    let keys = preview["access_keys"].as_array().unwrap();
    let keys: Vec<_> = keys
        .iter()
        .map(|key| (&key["name"], &key["status"]))
        .collect();
    let expected = [("long", "active"), ("off", "disabled")];
    let expected = expected.map(|(name, status)| (json!(name), json!(status)));
    assert_eq!(
        keys,
        expected.each_ref().map(|(name, status)| (name, status))
    );
}

#[tokio::test]
async fn a_service_keeps_its_keys_when_their_creator_is_removed() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let boss = plane.control_key("acme", "boss", Right::TeamAdmin).await;
    plane.key("acme", "fn-a", "ada", "hers").await;
    let keys = "/v2/functions/namespaces/fn-a/keys";
    let body = json!({"name": "deploy", "owner": "service:bot"});
    let made = plane.ask(&admin, "POST", keys, body).await.expect(201);
    let key = &made["access_key"];
    let key = format!(
        "{}:{}",
        key["id"].as_str().unwrap(),
        key["secret"].as_str().unwrap()
    );
    plane
        .ask(&boss, "POST", "/v1/teams/acme/members/ada/remove", ())
        .await
        .expect(200);
    assert!(works(&plane, "fn-a", &key));
    // A user with the same name is a different owner.
    let in_advance = json!({"in_advance": true});
    plane
        .ask(
            &boss,
            "POST",
            "/v1/teams/acme/members/bot/remove",
            in_advance,
        )
        .await
        .expect(200);
    assert!(works(&plane, "fn-a", &key));
    let service = "/v1/teams/acme/services/bot";
    for (method, call) in [("GET", "keys"), ("POST", "remove"), ("POST", "restore")] {
        let path = format!("/v1/teams/acme/robots/bot/{call}");
        let answer = plane.ask(&boss, method, &path, ()).await;
        answer.refused(404, "not_found");
    }
    let preview = plane
        .ask(&boss, "GET", &format!("{service}/keys"), ())
        .await
        .expect(200);
    assert_eq!(
        (&preview["count"], &preview["owner"]),
        (&json!(1), &json!("service:bot"))
    );
    plane
        .ask(&boss, "POST", &format!("{service}/remove"), ())
        .await
        .expect(200);
    assert!(!works(&plane, "fn-a", &key));
    plane
        .ask(&boss, "POST", &format!("{service}/restore"), ())
        .await
        .expect(200);
    plane
        .ask(&boss, "POST", &format!("{service}/restore"), ())
        .await
        .refused(409, "conflict");
}

#[tokio::test]
async fn all_keys_of_a_target_are_revoked() {
    for (of, id, survivors) in [
        (
            "namespace",
            json!("fn-a"),
            ["other namespace", "service elsewhere"].as_slice(),
        ),
        (
            "user",
            json!("bob"),
            &["carol", "service", "service elsewhere"],
        ),
        (
            "service",
            json!("bot"),
            &["bob", "carol", "other namespace"],
        ),
        ("team", Value::Null, &[]),
    ] {
        let plane = Fixture::new();
        let operator = plane.control_key("ops", "olga", Right::Operator).await;
        let mut keys = Vec::new();
        for (name, namespace, user) in [
            ("bob", "fn-a", "bob"),
            ("carol", "fn-a", "carol"),
            ("other namespace", "fn-b", "bob"),
        ] {
            let key = plane.key("acme", namespace, user, name).await.0;
            keys.push((name, namespace, key));
        }
        for (name, namespace) in [("service", "fn-a"), ("service elsewhere", "fn-b")] {
            let bot = Owner::Service(ServiceId::new("bot").unwrap());
            let new = NewKey::new(tenant("acme", namespace), bot, KeyName::new(name).unwrap());
            keys.push((name, namespace, plane.make(new).await.0));
        }
        let (rival, _) = plane.key("rival", "fn-r", "bob", "rival").await;
        let body = json!({"of": of, "id": id, "reason": "leaked"});
        let path = "/v1/teams/acme/revocations";
        plane.ask(&operator, "POST", path, body).await.expect(200);
        let alive: Vec<_> = keys
            .iter()
            .filter(|(_, namespace, key)| works(&plane, namespace, key.expose()))
            .map(|(name, ..)| *name)
            .collect();
        assert_eq!(alive, survivors, "{of}");
        assert!(works(&plane, "fn-r", rival.expose()));
        // New keys can be created.
        let (new, _) = plane.key("acme", "fn-a", "bob", "new").await;
        assert!(works(&plane, "fn-a", new.expose()));
    }
    let plane = Fixture::new();
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    plane.key("rival", "fn-r", "rita", "hers").await;
    let path = "/v1/teams/acme/revocations";
    for (body, status) in [
        (json!({"of": "user"}), 400),
        (json!({"of": "team", "id": "acme"}), 400),
        (json!({"of": "world"}), 400),
        // A target in another team than the path's, and one that does not exist.
        (json!({"of": "namespace", "id": "fn-r"}), 404),
        (json!({"of": "namespace", "id": "fn-x"}), 404),
    ] {
        let answer = plane.ask(&operator, "POST", path, body.clone()).await;
        assert_eq!(answer.status, status, "{body}");
    }
}

#[tokio::test]
async fn a_team_is_removed_and_restored() {
    let plane = Fixture::new();
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let (key, _) = plane.key("acme", "fn-a", "bob", "his").await;
    plane
        .ask(&admin, "POST", "/v1/teams/acme/remove", ())
        .await
        .refused(403, "forbidden");
    plane
        .ask(&operator, "POST", "/v1/teams/acme/restore", ())
        .await
        .refused(409, "conflict");
    plane
        .ask(&operator, "POST", "/v1/teams/acme/remove", ())
        .await
        .expect(200);
    assert!(!works(&plane, "fn-a", key.expose()));
    plane
        .ask(&admin, "GET", "/v1/caller", ())
        .await
        .refused(401, "unauthorized");
    let body = json!({"label": "x", "region": "blr1", "team": "acme"});
    let made = plane
        .ask(&operator, "POST", "/v2/functions/namespaces", body)
        .await;
    assert_eq!(made.refused(409, "conflict"), "the team was removed");
    plane
        .ask(&operator, "POST", "/v1/teams/acme/restore", ())
        .await
        .expect(200);
}

#[tokio::test]
async fn a_mistyped_name_is_not_found_and_removes_nobody() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    let (key, _) = plane.key("acme", "fn-a", "bob", "his").await;
    plane.key("rival", "fn-r", "rita", "hers").await;
    let before = plane.keyring.sync(plane.now()).await.unwrap();
    for (path, message) in [
        (
            "acme/members/bbo/remove",
            "name: no such person in the team",
        ),
        (
            "acme/members/Bob/remove",
            "name: no such person in the team",
        ),
        (
            "acme/members/user:bbo/remove",
            "name: no such person in the team",
        ),
        (
            "acme/members/rita/remove",
            "name: no such person in the team",
        ),
        (
            "acme/services/bob/remove",
            "name: no such service in the team",
        ),
        (
            "amce/members/bob/remove",
            "name: no such person in the team",
        ),
        ("amce/remove", "team_id: no such team"),
    ] {
        let path = format!("/v1/teams/{path}");
        let refused = plane.ask(&operator, "POST", &path, ()).await;
        assert_eq!(refused.refused(404, "not_found"), message, "{path}");
    }
    for (kind, name) in [("members", "bbo"), ("members", "Bob"), ("services", "bob")] {
        let path = format!("/v1/teams/acme/{kind}/{name}/keys");
        let refused = plane.ask(&admin, "GET", &path, ()).await;
        refused.refused(404, "not_found");
    }
    for (body, message) in [
        (
            json!({"of": "user", "id": "bbo"}),
            "id: no such person in the team",
        ),
        (
            json!({"of": "service", "id": "bob"}),
            "id: no such service in the team",
        ),
    ] {
        let path = "/v1/teams/acme/revocations";
        let refused = plane.ask(&admin, "POST", path, body).await;
        assert_eq!(refused.refused(404, "not_found"), message);
    }
    let team = plane
        .ask(
            &operator,
            "POST",
            "/v1/teams/amce/revocations",
            json!({"of": "team"}),
        )
        .await;
    assert_eq!(team.refused(404, "not_found"), "team_id: no such team");
    // A control key for a team that does not exist would create the team.
    for (method, body) in [
        ("GET", Value::Null),
        ("POST", json!({"name": "x", "scopes": ["team:admin"]})),
    ] {
        let keys = "/v2/functions/namespaces/control:amce/keys";
        let answer = plane.ask(&operator, method, keys, body).await;
        answer.refused(404, "not_found");
    }
    assert_eq!(plane.keyring.sync(plane.now()).await.unwrap(), before);
    assert!(works(&plane, "fn-a", key.expose()));

    // Who never had a key is removed if that is asked for.
    let in_advance = json!({"in_advance": true});
    let removed = plane
        .ask(
            &admin,
            "POST",
            "/v1/teams/acme/members/mallory/remove",
            in_advance,
        )
        .await
        .expect(200);
    assert_eq!(removed["keys_revoked"], 0);
    let late = json!({"name": "late", "owner": "user:mallory"});
    plane
        .ask(&admin, "POST", "/v2/functions/namespaces/fn-a/keys", late)
        .await
        .refused(409, "conflict");
}

#[tokio::test]
async fn an_owner_is_the_same_with_and_without_its_kind() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let (key, _) = plane.key("acme", "fn-a", "bob", "his").await;
    let bot = NewKey::for_service("acme", "fn-a", "bot", "deploy").unwrap();
    let (bots, _) = plane.make(bot).await;
    for (path, body) in [
        ("/v1/teams/acme/members/service:bot/remove", Value::Null),
        ("/v1/teams/acme/services/user:bob/remove", Value::Null),
        (
            "/v1/teams/acme/revocations",
            json!({"of": "user", "id": "service:bot"}),
        ),
        (
            "/v1/teams/acme/revocations",
            json!({"of": "service", "id": "user:bob"}),
        ),
    ] {
        let refused = plane.ask(&admin, "POST", path, body).await;
        let message = refused.refused(400, "bad_request");
        assert!(
            message.contains("a person") && message.contains("a service"),
            "{message}"
        );
    }
    assert!(works(&plane, "fn-a", key.expose()) && works(&plane, "fn-a", bots.expose()));
    for (path, body) in [
        ("/v1/teams/acme/members/user:bob/remove", Value::Null),
        (
            "/v1/teams/acme/revocations",
            json!({"of": "service", "id": "service:bot"}),
        ),
    ] {
        let ended = plane.ask(&admin, "POST", path, body).await.expect(200);
        assert_eq!(ended["keys_revoked"], 1, "{path}");
    }
    assert!(!works(&plane, "fn-a", key.expose()) && !works(&plane, "fn-a", bots.expose()));
    plane
        .ask(
            &admin,
            "POST",
            "/v1/teams/acme/members/user:bob/restore",
            (),
        )
        .await
        .expect(200);
}

#[tokio::test]
async fn a_removal_answers_how_many_keys_it_ended() {
    let plane = Fixture::new();
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    let ada = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    plane.key("acme", "fn-a", "ada", "hers").await;
    plane.key("acme", "fn-b", "bob", "his").await;
    let body = json!({"name": "deploy", "owner": "service:bot"});
    let keys = "/v2/functions/namespaces/fn-a/keys";
    plane.ask(&ada, "POST", keys, body).await.expect(201);
    crate::legacy::import_guest(&plane).await;
    for (path, body, expected) in [
        ("/v1/teams/acme/members/ada/remove", Value::Null, [2, 0, 1]),
        ("/v1/teams/acme/members/ada/remove", Value::Null, [0, 0, 1]),
        (
            "/v1/teams/acme/revocations",
            json!({"of": "namespace", "id": "fn-a"}),
            [1, 0, 0],
        ),
        (
            "/v2/functions/namespaces/guest/remove",
            Value::Null,
            [0, 1, 0],
        ),
        ("/v1/teams/acme/remove", Value::Null, [1, 0, 0]),
    ] {
        let ended = plane.ask(&operator, "POST", path, body).await.expect(200);
        let [keys, legacy, kept] = expected;
        let expected = json!({
            "keys_revoked": keys,
            "legacy_revoked": legacy,
            "keys_created_for_others": kept,
        });
        assert_eq!(ended, expected, "{path}");
    }
}

#[tokio::test]
async fn teams_members_and_services_are_listed_page_by_page() {
    let plane = Fixture::new();
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    for user in ["bob", "alice", "carol"] {
        plane.key("acme", "fn-a", user, "key").await;
    }
    let bot = NewKey::for_service("acme", "fn-b", "bot", "deploy").unwrap();
    plane.make(bot).await;
    let remove = "/v1/teams/acme/members/carol/remove";
    plane.ask(&operator, "POST", remove, ()).await.expect(200);
    let list = async |path: &str, field: &str| -> Vec<Value> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("{path}?limit=1{cursor}");
            let page = plane.ask(&operator, "GET", &path, ()).await.expect(200);
            let items = page[field].as_array().unwrap();
            assert!(items.len() <= 1);
            all.extend(items.iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    };
    let member = |name, kind, removed| json!({"name": name, "owner": format!("{kind}:{name}"), "removed": removed});
    assert_eq!(
        list("/v1/teams/acme/members", "members").await,
        [
            member("alice", "user", false),
            member("bob", "user", false),
            member("carol", "user", true)
        ]
    );
    assert_eq!(
        list("/v1/teams/acme/services", "members").await,
        [member("bot", "service", false)]
    );
    let team = |name| json!({"team": name, "removed": false});
    assert_eq!(
        list("/v1/teams", "teams").await,
        [team("acme"), team("ops")]
    );
    let spaces = list("/v1/teams/acme/namespaces", "namespaces").await;
    let names: Vec<_> = spaces.iter().map(|one| one["namespace"].clone()).collect();
    assert_eq!(names, ["fn-a", "fn-b"]);
    for path in [
        "/v1/teams/acme/robots",
        "/v1/teams/acme/members?cursor=",
        "/v1/teams/acme/members?limit=0",
    ] {
        let status = plane.ask(&operator, "GET", path, ()).await.status;
        assert!([400, 404].contains(&status), "{path}: {status}");
    }
}

#[tokio::test]
async fn a_page_of_the_preview_of_a_removal_is_filled_with_keys_that_stop() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let bob = Owner::User(keyfob::name::UserId::new("bob").unwrap());
    for n in 0..30 {
        let name = KeyName::new(&format!("old {n}")).unwrap();
        let hours = if n % 2 == 0 { 1 } else { 9 };
        let new = NewKey::new(tenant("acme", "fn-a"), bob.clone(), name)
            .with_expiry(keyfob::Expiry::In(keyfob::Ttl::hours(hours).unwrap()));
        let (_, info) = plane.make(new).await;
        if hours == 9 {
            let revoked = plane
                .keyring
                .revoke(&plane.context(), &info.tenant, info.id, None)
                .await;
            revoked.unwrap();
        }
    }
    for n in 0..5 {
        plane.key("acme", "fn-a", "bob", &format!("live {n}")).await;
    }
    plane.pass(3_600);
    let (mut found, mut cursor) = (Vec::new(), String::new());
    for page in 0.. {
        let path = format!("/v1/teams/acme/members/bob/keys?limit=2{cursor}");
        let preview = plane.ask(&admin, "GET", &path, ()).await.expect(200);
        let keys = preview["access_keys"].as_array().unwrap();
        let full = if page == 2 { 1 } else { 2 };
        assert_eq!(keys.len(), full, "page {page}: {preview:?}");
        found.extend(
            keys.iter()
                .map(|key| key["name"].as_str().unwrap().to_owned()),
        );
        let Some(next) = preview["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(found, ["live 0", "live 1", "live 2", "live 3", "live 4"]);
}
