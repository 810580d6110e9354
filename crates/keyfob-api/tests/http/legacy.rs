//! Legacy credentials over HTTP.

use keyfob::{
    Access, Tenant,
    gateway::{UsageDelta, UsageOutcome},
    key::{CredentialId, Peppers},
    legacy::{LegacyId, LegacyPolicy, read_subjects},
};
use keyfob_api::Right;
use serde_json::json;

use crate::fixture::{Fixture, tenant};

/// The public example credential of `OpenWhisk`.
const SUBJECTS: &str = r#"{"_id": "guest", "subject": "guest", "namespaces": [{"name": "guest", "uuid": "23bc46b1-71f6-4ed5-8c54-816aa4f8c502", "key": "123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"}]}"#;
pub(crate) const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

/// Imports the legacy credential of namespace `guest` for acme, accepted for an hour.
pub(crate) async fn import_guest(plane: &Fixture) -> Tenant {
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
async fn the_report_lists_uses_of_legacy_credentials() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    import_guest(&plane).await;
    let uuid = GUEST.split_once(':').unwrap().0;
    let id = CredentialId::Legacy(LegacyId::parse(uuid.as_bytes()).unwrap());
    let used = [
        UsageDelta::accepted(id, plane.now()),
        UsageDelta::refused(id, UsageOutcome::Expired),
    ];
    plane.record_usage(used.to_vec()).await;
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
    for (query, status, number) in [
        ("namespace=guest", 200, 1),
        ("namespace=other", 200, 0),
        ("namespace=%0A", 400, 0),
    ] {
        let path = format!("/v1/teams/acme/legacy?{query}");
        let answer = plane.ask(&admin, "GET", &path, ()).await.expect(status);
        let shown = answer["namespaces"].as_array();
        assert_eq!(shown.map_or(0, Vec::len), number, "{query}");
    }
    let every = plane
        .ask(&operator, "GET", "/v1/legacy", ())
        .await
        .expect(200);
    assert_eq!(every, report);
}

#[tokio::test]
async fn legacy_credentials_have_brownouts_and_can_be_cut_off_and_restored() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    import_guest(&plane).await;
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
    let works = |plane: &Fixture| {
        let access = Access::to("guest");
        plane
            .verifier
            .verify_text(GUEST.as_bytes(), &access, plane.now())
            .is_ok()
    };
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
            "credentials": 1,
            "inherited": false,
        })
    );
    assert!(!works(&plane));
    // The response of the cut-off restores the previous policy.
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
}

#[tokio::test]
async fn restoring_after_a_cut_off_can_remove_the_namespaces_policy() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    import_guest(&plane).await;
    let policy = "/v2/functions/namespaces/guest/legacy-policy";
    plane.ask(&admin, "DELETE", policy, ()).await.expect(200);
    let of_all = async |sunset: &str| {
        let body = json!({"sunset": sunset});
        let set = plane.ask(&operator, "PUT", "/v1/legacy-policy", body).await;
        set.expect(200);
    };
    of_all("2026-06-03T00:00:00Z").await;
    let cut = plane
        .ask(&admin, "POST", &format!("{policy}/cut-off"), ())
        .await;
    let cut = cut.expect(200);
    assert_eq!(cut["previous"]["sunset"], "2026-06-03T00:00:00Z");
    assert_eq!(cut["inherited"], true);
    plane.ask(&admin, "DELETE", policy, ()).await.expect(200);
    // The namespace follows the default policy, as before.
    of_all("2026-01-01T00:00:00Z").await;
    let shown = plane.ask(&admin, "GET", policy, ()).await.expect(200);
    assert_eq!(shown["policy"]["sunset"], "2026-01-01T00:00:00Z");
}

#[tokio::test]
async fn invalid_legacy_policies_and_credentials_are_refused() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    import_guest(&plane).await;
    let uuid = GUEST.split_once(':').unwrap().0;
    let policy = "/v2/functions/namespaces/guest/legacy-policy";
    for (bad, message) in [
        (json!({}), "sunset: missing"),
        (
            json!({"sunset": "soon"}),
            "sunset: must be a time in RFC 3339, as in 2025-12-19T10:30:00Z",
        ),
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
}
