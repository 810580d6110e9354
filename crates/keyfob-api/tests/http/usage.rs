//! Use over time over HTTP, and the replicas of the feed.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use keyfob::{
    Timestamp,
    gateway::{UsageBatch, UsageDelta, UsageOutcome},
    key::{CredentialId, SystemRandom},
    legacy::LegacyId,
    store::Revision,
};
use keyfob_api::{ControlPlane, Fleet, Limits, Replica, Right, control_namespace};
use serde_json::{Value, json};

use crate::{
    failing::Failing,
    fixture::{Answer, Fixture, NOW, tenant},
    legacy::{GUEST, import_guest},
};

const TEAM: &str = "/v1/teams/acme/usage";
const DAY: i64 = 86_400;

fn accepted(credential: CredentialId, count: u64) -> UsageDelta {
    UsageDelta {
        count,
        ..UsageDelta::accepted(credential, Timestamp::from_unix(NOW))
    }
}

fn previous(credential: CredentialId, count: u64) -> UsageDelta {
    UsageDelta {
        outcome: UsageOutcome::AcceptedPrevious,
        ..accepted(credential, count)
    }
}

fn refused(credential: CredentialId, outcome: UsageOutcome, count: u64) -> UsageDelta {
    UsageDelta {
        count,
        ..UsageDelta::refused(credential, outcome)
    }
}

/// Records uses of the hour of `at`.
async fn record(plane: &Fixture, at: i64, usage: &[UsageDelta]) {
    let at = Timestamp::from_unix(at);
    let batch = UsageBatch::single(usage.to_vec(), at, &SystemRandom).unwrap();
    let recorded = plane.keyring.record_usage(&batch, plane.now()).await;
    recorded.unwrap();
}

fn of_guest() -> CredentialId {
    let uuid = GUEST.split_once(':').unwrap().0;
    CredentialId::Legacy(LegacyId::parse(uuid.as_bytes()).unwrap())
}

/// Accepted and refused calls of keys and of legacy credentials in each part that has any, by its place.
fn used(shown: &Value) -> Vec<(usize, [u64; 4])> {
    let buckets = shown["buckets"].as_array().unwrap().iter().enumerate();
    let counts = buckets.map(|(at, bucket)| {
        let count = |kind: &str, what: &str| bucket[kind][what].as_u64().unwrap();
        let keys = [count("keys", "accepted"), count("keys", "refused")];
        (
            at,
            [
                keys[0],
                keys[1],
                count("legacy", "accepted"),
                count("legacy", "refused"),
            ],
        )
    });
    counts.filter(|(_, counts)| *counts != [0; 4]).collect()
}

#[tokio::test]
async fn use_is_shown_by_hour_and_day_for_a_team_a_namespace_and_a_credential() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    import_guest(&plane).await;
    let (_, laptop) = plane.key("acme", "guest", "alice", "laptop").await;
    let (_, other) = plane.key("acme", "fn-b", "alice", "other").await;
    let key = CredentialId::Key(laptop.id);
    let today = [
        previous(key, 5),
        refused(key, UsageOutcome::WrongNamespace, 2),
        refused(key, UsageOutcome::Expired, 1),
        accepted(of_guest(), 40),
        refused(of_guest(), UsageOutcome::LegacyOff, 4),
        accepted(CredentialId::Key(other.id), 7),
    ];
    record(&plane, NOW, &today).await;
    record(&plane, NOW - DAY, &[accepted(key, 100)]).await;
    let ask = async |query: &str| {
        let path = format!("{TEAM}?{query}");
        plane.ask(&admin, "GET", &path, ()).await.expect(200)
    };
    let shown = ask("").await;
    assert_eq!(shown["by"], "day");
    assert_eq!(shown["from"], "2025-11-20T00:00:00Z");
    assert_eq!(shown["to"], "2025-12-20T00:00:00Z");
    assert_eq!(shown["buckets"].as_array().unwrap().len(), 30);
    assert_eq!(used(&shown), [(28, [100, 0, 0, 0]), (29, [12, 3, 40, 4])]);
    assert_eq!(
        shown["total"],
        json!({
            "keys": {"accepted": 112, "accepted_previous": 5, "refused": 3, "reasons": {"expired": 1, "wrong_namespace": 2}},
            "legacy": {"accepted": 40, "accepted_previous": 0, "refused": 4, "reasons": {"legacy_off": 4}},
        })
    );
    let last = &shown["buckets"][29];
    assert_eq!(last["start"], "2025-12-19T00:00:00Z");
    let shown = ask("namespace=guest&by=hour").await;
    assert_eq!(shown["from"], "2025-12-18T11:00:00Z");
    assert_eq!(shown["to"], "2025-12-19T11:00:00Z");
    assert_eq!(
        used(&shown),
        [(23, [5, 3, 40, 4])],
        "24 hours ago is no more shown"
    );
    let id = plane.keyring.format().key_id(laptop.id);
    let range = "from=2025-12-18T10:59:59Z&to=2025-12-19T10:00:01Z&by=hour";
    let shown = ask(&format!("{range}&key={id}")).await;
    assert_eq!(used(&shown), [(0, [100, 0, 0, 0]), (24, [5, 3, 0, 0])]);
    let shown = ask(&format!("key={id}&namespace=guest")).await;
    assert_eq!(used(&shown), [(28, [100, 0, 0, 0]), (29, [5, 3, 0, 0])]);
    let uuid = GUEST.split_once(':').unwrap().0;
    let shown = ask(&format!("legacy={uuid}")).await;
    assert_eq!(used(&shown), [(29, [0, 0, 40, 4])]);
    let shown = ask("to=2025-12-19T00:00:00Z").await;
    assert_eq!(shown["to"], "2025-12-19T00:00:00Z");
    assert_eq!(used(&shown), [(29, [100, 0, 0, 0])]);
}

#[tokio::test]
async fn a_teams_use_leaves_out_its_control_keys() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let (_, laptop) = plane.key("acme", "fn-a", "alice", "laptop").await;
    let team = tenant("acme", "fn-a").team;
    let control = control_namespace(&team).unwrap();
    let id = plane
        .keyring
        .format()
        .parse_key_id(admin.split_once(':').unwrap().0);
    let control_key = CredentialId::Key(id.unwrap());
    record(&plane, NOW, &[accepted(control_key, 50)]).await;
    record(&plane, NOW, &[accepted(CredentialId::Key(laptop.id), 3)]).await;
    let shown = plane.ask(&admin, "GET", TEAM, ()).await.expect(200);
    assert_eq!(used(&shown), [(29, [3, 0, 0, 0])]);
    let of_control = format!("{TEAM}?namespace={control}");
    let shown = plane.ask(&admin, "GET", &of_control, ()).await.expect(200);
    assert_eq!(used(&shown), [(29, [50, 0, 0, 0])]);
}

#[tokio::test]
async fn use_is_shown_to_those_who_may_see_the_key_or_the_team() {
    let plane = Fixture::new();
    let alice = plane
        .control_key("acme", "alice", Right::FunctionRead)
        .await;
    let bob = plane.control_key("acme", "bob", Right::FunctionRead).await;
    let reader = plane.control_key("acme", "ruth", Right::TeamRead).await;
    let stranger = plane.control_key("umbrella", "eve", Right::TeamAdmin).await;
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    let (_, laptop) = plane.key("acme", "fn-a", "alice", "laptop").await;
    plane.key("umbrella", "fn-u", "eve", "other").await;
    let id = plane.keyring.format().key_id(laptop.id);
    let of_key = format!("{TEAM}?key={id}");
    let ask = async |token: &str, path: &str| plane.ask(token, "GET", path, ()).await;
    for token in [&alice, &reader, &operator] {
        ask(token, &of_key).await.expect(200);
    }
    for token in [&bob, &stranger] {
        ask(token, &of_key).await.refused(404, "not_found");
    }
    for path in [TEAM, "/v1/teams/acme/usage?namespace=fn-a"] {
        ask(&reader, path).await.expect(200);
        ask(&operator, path).await.expect(200);
        let message = ask(&alice, path).await.refused(403, "forbidden");
        assert!(message.contains("team:read"), "{message}");
        ask(&stranger, path).await.refused(404, "not_found");
    }
    let unknown = [
        "namespace=fn-u",
        "namespace=nothing",
        "key=dof_v1_00000000000000000000000000000000",
        "key=nonsense",
        "legacy=23bc46b1-71f6-4ed5-8c54-816aa4f8c502",
        "legacy=nonsense",
        &format!("key={id}&namespace=fn-b"),
    ];
    for query in unknown {
        let path = format!("{TEAM}?{query}");
        ask(&reader, &path).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_range_is_checked_and_bounded() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let refused = async |query: &str| {
        let path = format!("{TEAM}?{query}");
        let answer = plane.ask(&admin, "GET", &path, ()).await;
        answer.refused(400, "bad_request")
    };
    for (query, told) in [
        ("by=week", "by: must be hour or day"),
        ("from=yesterday", "from: "),
        ("to=12", "to: "),
        (
            "from=2025-12-19T00:00:00Z&to=2025-12-19T00:00:00Z",
            "to: must be after from",
        ),
        ("from=2026-12-19T00:00:00Z", "to: must be after from"),
        (
            "from=2024-11-13T23:59:59Z&to=2025-12-19T00:00:00Z",
            "from: must be at most 400 days before to",
        ),
        (
            "by=hour&from=2025-11-17T23:00:00Z&to=2025-12-19T00:00:00Z",
            "from: must be at most 744 hours before to",
        ),
        (
            "from=0000-01-01T00:00:00Z&to=9999-12-31T23:59:59Z",
            "from: must be at most",
        ),
    ] {
        let message = refused(query).await;
        assert!(message.starts_with(told), "{query}: {message}");
    }
    for (query, len) in [
        ("from=2024-11-14T00:00:00Z&to=2025-12-19T00:00:00Z", 400),
        (
            "by=hour&from=2025-11-18T00:00:00Z&to=2025-12-19T00:00:00Z",
            744,
        ),
    ] {
        let path = format!("{TEAM}?{query}");
        let shown = plane.ask(&admin, "GET", &path, ()).await.expect(200);
        assert_eq!(shown["buckets"].as_array().unwrap().len(), len, "{query}");
    }
    for (path, told) in [
        (
            "/v2/functions/namespaces/fn-a/keys?usage=1y",
            "usage: must be",
        ),
        (
            "/v1/teams/acme/members/alice/keys?usage=7",
            "usage: must be",
        ),
        ("/v1/teams/acme/legacy?days=0", "days: "),
        ("/v1/teams/acme/legacy?days=401", "days: "),
        ("/v1/teams/acme/legacy?days=ten", "days: "),
    ] {
        plane.key("acme", "fn-a", "alice", path).await;
        let message = plane.ask(&admin, "GET", path, ()).await;
        let message = message.refused(400, "bad_request");
        assert!(message.starts_with(told), "{path}: {message}");
    }
}

#[tokio::test]
async fn a_list_shows_the_use_of_each_key_with_one_call_of_the_store() {
    let store = Arc::new(Failing::default());
    let plane = Fixture::over(Arc::clone(&store), Limits::default());
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let mut ids = Vec::new();
    for n in 0..20 {
        let (_, info) = plane
            .key("acme", "fn-a", "alice", &format!("key {n}"))
            .await;
        ids.push(CredentialId::Key(info.id));
    }
    let uses: Vec<_> = (1..)
        .zip(&ids[1..])
        .map(|(n, id)| accepted(*id, n))
        .collect();
    record(&plane, NOW, &uses).await;
    let more = [
        accepted(ids[3], 30),
        refused(ids[3], UsageOutcome::Disabled, 4),
    ];
    record(&plane, NOW - 6 * DAY, &more).await;
    for path in [
        "/v2/functions/namespaces/fn-a/keys?",
        "/v1/teams/acme/members/alice/keys?",
        "/v1/teams/acme/keys?namespace=fn-a&",
    ] {
        let plain = plane.ask(&admin, "GET", path, ()).await.expect(200);
        assert_eq!(plain["access_keys"][0].get("usage"), None);
        for (window, by, len) in [("24h", "hour", 24), ("7d", "day", 7), ("30d", "day", 30)] {
            let before = store.usage_days.load(Ordering::SeqCst);
            let list = format!("{path}limit=20&usage={window}");
            let list = plane.ask(&admin, "GET", &list, ()).await.expect(200);
            assert_eq!(
                store.usage_days.load(Ordering::SeqCst) - before,
                1,
                "{path}"
            );
            let keys = list["access_keys"].as_array().unwrap();
            assert_eq!(keys.len(), 20);
            for (n, key) in keys.iter().enumerate() {
                let usage = &key["usage"];
                assert_eq!(usage["by"], by);
                let accepted = usage["accepted"].as_array().unwrap();
                assert_eq!(accepted.len(), len);
                assert_eq!(accepted[len - 1], n, "{window} of key {n}");
            }
        }
        let list = format!("{path}usage=7d");
        let list = plane.ask(&admin, "GET", &list, ()).await.expect(200);
        assert_eq!(
            list["access_keys"][3]["usage"],
            json!({
                "by": "day",
                "from": "2025-12-13T00:00:00Z",
                "accepted": [30, 0, 0, 0, 0, 0, 3],
                "refused": [4, 0, 0, 0, 0, 0, 0],
            })
        );
    }
}

#[tokio::test]
async fn the_legacy_report_shows_the_migration_by_day() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    import_guest(&plane).await;
    let (_, laptop) = plane.key("acme", "guest", "alice", "laptop").await;
    let key = CredentialId::Key(laptop.id);
    for (ago, keys, legacy) in [(3, 1, 90), (2, 10, 70), (0, 80, 2)] {
        let usage = [accepted(key, keys), accepted(of_guest(), legacy)];
        record(&plane, NOW - ago * DAY, &usage).await;
    }
    for (token, path) in [(&admin, "/v1/teams/acme/legacy"), (&operator, "/v1/legacy")] {
        let plain = plane.ask(token, "GET", path, ()).await.expect(200);
        assert_eq!(plain["namespaces"][0].get("days"), None);
        let report = format!("{path}?days=3");
        let report = plane.ask(token, "GET", &report, ()).await.expect(200);
        let days = json!({"buckets": report["namespaces"][0]["days"]});
        assert_eq!(days["buckets"].as_array().unwrap().len(), 3);
        assert_eq!(used(&days), [(0, [10, 0, 70, 0]), (2, [80, 0, 2, 0])]);
        assert_eq!(days["buckets"][0]["start"], "2025-12-17T00:00:00Z");
    }
}

/// Two replicas.
struct Two;

impl Fleet for Two {
    fn replicas(&self, now: Timestamp) -> Vec<Replica> {
        let replica = |name: &str, revision| Replica {
            id: name.repeat(32),
            name: name.into(),
            version: "0.1.0".into(),
            reads: "all".into(),
            revision,
            lag_ms: 120,
            bound_ms: Some(10_000),
            reported_at: now,
            age_ms: 0,
            refused: BTreeMap::from([("forged".into(), 2), ("gap".into(), 1)]),
        };
        vec![replica("b", None), replica("a", Some(Revision::new(1)))]
    }
}

#[tokio::test]
async fn the_fleet_is_shown_to_operators_where_there_is_one() {
    let plane = Fixture::new();
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let none = plane.ask(&operator, "GET", "/v1/fleet", ()).await;
    none.refused(404, "not_found");
    let router = ControlPlane::new(Arc::clone(&plane.keyring))
        .with_clock(|| Timestamp::from_unix(NOW))
        .with_fleet(Two)
        .into_router();
    let ask = async |token: &str| {
        let request = axum::http::Request::get("/v1/fleet")
            .header("authorization", format!("Bearer {token}"))
            .body(axum::body::Body::empty());
        Answer::of(&router, request.unwrap()).await
    };
    ask(&admin).await.refused(403, "forbidden");
    let fleet = ask(&operator).await.expect(200);
    assert_eq!(fleet["revision"], 2);
    let replicas = fleet["replicas"].as_array().unwrap();
    assert_eq!(replicas.len(), 2);
    assert_eq!(
        replicas[0],
        json!({
            "id": "a".repeat(32),
            "name": "a",
            "version": "0.1.0",
            "reads": "all",
            "revision": 1,
            "behind": 1,
            "lag_ms": 120,
            "bound_ms": 10_000,
            "reported_at": "2025-12-19T10:30:00Z",
            "age_ms": 0,
            "refused": 3,
            "reasons": {"forged": 2, "gap": 1},
        })
    );
    assert_eq!(
        (&replicas[1]["revision"], &replicas[1]["behind"]),
        (&Value::Null, &Value::Null)
    );
}
