//! People, services and teams; what was done; and the shared credentials of the old model.

use keyfob::{
    Access, CredentialId, KeyName, NewKey, Owner, Peppers, ServiceId, Tenant, Usage,
    legacy::{LegacyId, LegacyPolicy, read_subjects},
    store::KeyStore as _,
};
use keyfob_api::Right;
use serde_json::{Value, json};

use crate::fixture::{NOW, Plane, tenant};

fn works(plane: &Plane, namespace: &str, credential: &str) -> bool {
    let access = Access::to(namespace);
    let verdict = plane
        .verifier
        .verify_text(credential.as_bytes(), &access, plane.now());
    verdict.is_ok()
}

#[tokio::test]
async fn a_member_who_leaves_loses_all_keys_and_nobody_else_does() {
    let plane = Plane::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let bob = plane.control_key("acme", "bob", Right::FunctionAdmin).await;
    let (one, info) = plane.key("acme", "fn-a", "bob", "one").await;
    let (two, _) = plane.key("acme", "fn-b", "bob", "two").await;
    let (rival, _) = plane.key("rival", "fn-r", "bob", "another team").await;
    let (carol, _) = plane.key("acme", "fn-a", "carol", "hers").await;
    let gone = plane.key("acme", "fn-a", "bob", "gone").await.1;
    plane
        .keyring
        .revoke(&plane.context(), &gone.tenant, gone.id)
        .await
        .unwrap();
    let usage = [Usage::accepted(CredentialId::Key(info.id), plane.now())];
    plane.keyring.store().record_usage(&usage).await.unwrap();

    let member = "/v1/teams/acme/members/bob";
    let preview = plane
        .ask(&admin, "GET", &format!("{member}/keys"), ())
        .await
        .expect(200);
    assert_eq!(preview["count"], 3);
    let spaces = preview["namespaces"].as_array().unwrap();
    let names: Vec<_> = spaces
        .iter()
        .map(|space| space["namespace"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["control:acme", "fn-a", "fn-b"]);
    assert_eq!(
        spaces[1]["access_keys"][0]["last_used_at"],
        "2025-12-19T10:30:00Z"
    );
    assert_eq!(spaces[2]["access_keys"][0]["last_used_at"], Value::Null);

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
    // Nothing can be made for him, until he is back; and then nothing old works.
    let keys = "/v2/functions/namespaces/fn-a/keys";
    let new = json!({"name": "new", "owner": {"type": "user", "id": "bob"}});
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
            &format!("{keys}?owner=user:bob&name=one"),
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
async fn a_service_survives_its_maker_and_can_be_removed_itself() {
    let plane = Plane::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let boss = plane.control_key("acme", "boss", Right::TeamAdmin).await;
    plane.key("acme", "fn-a", "ada", "hers").await;
    let keys = "/v2/functions/namespaces/fn-a/keys";
    let body = json!({"name": "deploy", "owner": {"type": "service", "id": "bot"}});
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
    // A person of the same name is somebody else.
    plane
        .ask(&boss, "POST", "/v1/teams/acme/members/bot/remove", ())
        .await
        .expect(200);
    assert!(works(&plane, "fn-a", &key));
    let service = "/v1/teams/acme/services/bot";
    let preview = plane
        .ask(&boss, "GET", &format!("{service}/keys"), ())
        .await
        .expect(200);
    assert_eq!(
        (&preview["count"], &preview["owner"]["type"]),
        (&json!(1), &json!("service"))
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
async fn keys_are_revoked_by_the_realm() {
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
        let plane = Plane::new();
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
        // It goes on.
        let (new, _) = plane.key("acme", "fn-a", "bob", "new").await;
        assert!(works(&plane, "fn-a", new.expose()));
    }
    let plane = Plane::new();
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    plane.key("rival", "fn-r", "rita", "hers").await;
    let path = "/v1/teams/acme/revocations";
    for (body, status) in [
        (json!({"of": "user"}), 400),
        (json!({"of": "team", "id": "acme"}), 400),
        (json!({"of": "world"}), 400),
        // Another team's than the path says, and one that does not exist.
        (json!({"of": "namespace", "id": "fn-r"}), 404),
        (json!({"of": "namespace", "id": "fn-x"}), 404),
    ] {
        let answer = plane.ask(&operator, "POST", path, body.clone()).await;
        assert_eq!(answer.status, status, "{body}");
    }
}

#[tokio::test]
async fn a_team_ends_and_begins_again() {
    let plane = Plane::new();
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
async fn what_was_done_is_told_to_those_whom_it_concerns() {
    let plane = Plane::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    plane.key("rival", "fn-r", "rita", "hers").await;
    let (_, info) = plane.key("acme", "fn-a", "bob", "his").await;
    let id = plane.keyring.format().key_id(info.id);
    plane.pass(60);
    let one = format!("/v2/functions/namespaces/fn-a/keys/{id}");
    plane
        .ask(
            &admin,
            "POST",
            &format!("{one}/disable"),
            json!({"reason": "holidays"}),
        )
        .await
        .expect(200);
    plane.pass(60);
    plane
        .ask(&operator, "POST", &format!("{one}/enable"), ())
        .await
        .expect(200);

    let actions = |page: &Value| -> Vec<String> {
        let events = page["events"].as_array().unwrap();
        events
            .iter()
            .map(|event| event["action"].as_str().unwrap().to_owned())
            .collect()
    };
    let trail = "/v1/teams/acme/audit";
    let all = plane.ask(&admin, "GET", trail, ()).await.expect(200);
    assert_eq!(
        actions(&all),
        ["key_created", "key_created", "key_disabled", "key_enabled"]
    );
    assert!(!all.to_string().contains("rival"));
    let event = &all["events"][2];
    assert_eq!(event["at"], "2025-12-19T10:31:00Z");
    assert_eq!(event["actor"]["owner"]["id"], "ada");
    assert_eq!(
        event["actor"]["credential"],
        admin.split_once(':').unwrap().0
    );
    assert_eq!(
        (&event["credential"], &event["owner"]["id"]),
        (&json!(id), &json!("bob"))
    );
    assert_eq!(
        (&event["reason"], &event["namespace"]),
        (&json!("holidays"), &json!("fn-a"))
    );
    assert_eq!(event["hash"].as_str().unwrap().len(), 64);
    for (query, expected) in [
        ("actor=user:ada", &["key_disabled"][..]),
        ("actor=user:olga", &["key_enabled"]),
        (
            "namespace=fn-a",
            &["key_created", "key_disabled", "key_enabled"],
        ),
        (
            &format!("key={id}&since=2025-12-19T10:31:00Z"),
            &["key_disabled", "key_enabled"],
        ),
        (
            &format!("key={id}&until=2025-12-19T10:32:00Z"),
            &["key_created", "key_disabled"],
        ),
        (
            "since=2025-12-19T10:31:00Z&until=2025-12-19T10:31:01Z",
            &["key_disabled"],
        ),
    ] {
        let page = plane
            .ask(&admin, "GET", &format!("{trail}?{query}"), ())
            .await
            .expect(200);
        assert_eq!(actions(&page), expected, "{query}");
    }
    let first = plane
        .ask(&admin, "GET", &format!("{trail}?limit=3"), ())
        .await
        .expect(200);
    let next = first["next_cursor"].as_str().unwrap();
    let rest = plane
        .ask(&admin, "GET", &format!("{trail}?cursor={next}"), ())
        .await
        .expect(200);
    assert_eq!(
        (actions(&first).len(), actions(&rest)),
        (3, vec!["key_enabled".to_owned()])
    );

    let whole = plane
        .ask(&operator, "GET", "/v1/audit", ())
        .await
        .expect(200);
    assert_eq!(whole["events"].as_array().unwrap().len(), 6);
    let verified = plane
        .ask(&operator, "GET", "/v1/audit/verification", ())
        .await
        .expect(200);
    assert_eq!(
        verified,
        json!({
            "intact": true,
            "last_hash": whole["events"][5]["hash"],
            "broken_at": null,
        })
    );
}

/// `OpenWhisk`'s own public example.
const SUBJECTS: &str = r#"{"_id": "guest", "subject": "guest", "namespaces": [{"name": "guest", "uuid": "23bc46b1-71f6-4ed5-8c54-816aa4f8c502", "key": "123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"}]}"#;
pub(crate) const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

/// Gives acme the namespace `guest` with its legacy credential, accepted for an hour.
pub(crate) async fn import_guest(plane: &Plane) -> Tenant {
    let guest = tenant("acme", "guest");
    let context = plane.context();
    let team = guest.team.clone();
    let import = read_subjects(SUBJECTS, &context, &Peppers::none(), |_| Some(team.clone()));
    for record in import.records {
        plane.keyring.import_legacy(&context, record).await.unwrap();
    }
    let policy = Some(LegacyPolicy::until(plane.now().plus_seconds(3_600)));
    plane
        .keyring
        .set_legacy_policy(&context, Some(&guest), policy)
        .await
        .unwrap();
    guest
}

#[tokio::test]
async fn the_old_model_is_watched_rehearsed_cut_off_and_taken_back() {
    let plane = Plane::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    import_guest(&plane).await;
    let uuid = GUEST.split_once(':').unwrap().0;
    let id = CredentialId::Legacy(LegacyId::parse(uuid.as_bytes()).unwrap());
    let used = [Usage::accepted(id, plane.now()), Usage::refused(id)];
    plane.keyring.store().record_usage(&used).await.unwrap();
    let report = plane
        .ask(&admin, "GET", "/v1/teams/acme/legacy", ())
        .await
        .expect(200);
    assert_eq!(
        report["namespaces"],
        json!([{
            "team": "acme",
            "namespace": "guest",
            "last_used_at": "2025-12-19T10:30:00Z",
            "accepted": 1,
            "refused": 1,
            "policy": {"sunset": "2025-12-19T11:30:00Z", "brownouts": []},
            "credentials": [{
                "id": uuid,
                "subject": "guest",
                "blocked": false,
                "revoked": false,
                "imported_at": "2025-12-19T10:30:00Z",
                "last_used_at": "2025-12-19T10:30:00Z",
            }],
        }])
    );
    let every = plane
        .ask(&operator, "GET", "/v1/legacy", ())
        .await
        .expect(200);
    assert_eq!(every, report);

    let policy = "/v2/functions/namespaces/guest/legacy-policy";
    let rehearsed = json!({
        "sunset": "2026-06-03T00:00:00Z",
        "brownouts": [{"start": "2025-12-19T10:31:00Z", "end": "2025-12-19T10:32:00Z"}],
    });
    let set = plane
        .ask(&admin, "PUT", policy, rehearsed.clone())
        .await
        .expect(200);
    assert_eq!(set["policy"], rehearsed);
    let works = |plane: &Plane| works(plane, "guest", GUEST);
    assert!(works(&plane));
    plane.pass(60);
    assert!(!works(&plane));
    plane.pass(60);
    assert!(works(&plane));
    let cut = plane
        .ask(
            &admin,
            "POST",
            &format!("{policy}/cut-off"),
            json!({"reason": "time"}),
        )
        .await;
    let cut = cut.expect(200);
    assert_eq!(
        cut,
        json!({
            "policy": {"sunset": null, "brownouts": []},
            "previous": rehearsed,
        })
    );
    assert!(!works(&plane));
    // What the cut-off answered is what takes it back.
    plane
        .ask(&admin, "PUT", policy, cut["previous"].clone())
        .await
        .expect(200);
    assert!(works(&plane));
    plane.ask(&admin, "DELETE", policy, ()).await.expect(200);
    assert!(!works(&plane), "without a policy they are off");
    let sunset = json!({"sunset": "2026-06-03T00:00:00Z"});
    plane
        .ask(&operator, "PUT", "/v1/legacy-policy", sunset)
        .await
        .expect(200);
    let shown = plane
        .ask(&operator, "GET", "/v1/legacy-policy", ())
        .await
        .expect(200);
    assert_eq!(shown["policy"]["sunset"], "2026-06-03T00:00:00Z");
    assert!(works(&plane));
    plane
        .ask(&operator, "DELETE", "/v1/legacy-policy", ())
        .await
        .expect(200);
    assert!(!works(&plane));

    for (bad, message) in [
        (json!({}), "sunset: missing"),
        (json!({"sunset": "soon"}), "sunset: not RFC 3339"),
        (
            json!({"sunset": null, "brownouts": [{"start": "x", "end": "y"}]}),
            "brownouts: none without a sunset",
        ),
        (
            json!({"sunset": "2026-06-03T00:00:00Z", "brownouts": [{"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}]}),
            "brownouts: a brownout must end after it starts",
        ),
    ] {
        let answer = plane.ask(&admin, "PUT", policy, bad).await;
        assert_eq!(answer.refused(400, "bad_request"), message);
    }
    let one = format!("/v2/functions/namespaces/guest/legacy/{uuid}/revoke");
    let member = plane.control_key("acme", "bob", Right::FunctionAdmin).await;
    plane
        .ask(&member, "POST", &one, ())
        .await
        .refused(403, "forbidden");
    plane
        .ask(&admin, "POST", &one, json!({"reason": "leaked"}))
        .await
        .expect(200);
    let none = one.replace("23bc46b1", "00000000");
    plane
        .ask(&admin, "POST", &none, ())
        .await
        .refused(404, "not_found");
    let report = plane
        .ask(&admin, "GET", "/v1/teams/acme/legacy", ())
        .await
        .expect(200);
    assert_eq!(report["namespaces"][0]["credentials"][0]["revoked"], true);
    assert_eq!(plane.now().as_unix(), NOW + 120);
}
