//! Who may read what.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::{HeaderMap, Request},
};
use bytes::Bytes;
use futures_util::stream;
use keyfob::{
    Context, MemoryStore, Tenant,
    gateway::UsageRecorder,
    key::{CredentialId, SystemRandom},
    name::TeamId,
};
use keyfob_feed::{
    FeedKeys, Filter,
    server::{Authority, Authorize as _, KeyRights, ReplicaRight},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tower::ServiceExt as _;

use crate::{
    client::{get, request},
    fixture::{Fixture, Reader, format, listen, now, replica_key, tenant},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_bounded_by_the_right_of_the_key() {
    let fixture = Fixture::new().await;
    for n in 0..3 {
        fixture.create(n).await;
    }
    let namespace = Filter::namespaces([tenant(0)]).unwrap();
    let team = Filter::Team(tenant(0).team);
    let (_, of_namespace) = replica_key(&fixture.keyring, tenant(0)).await;
    let (_, of_team) = replica_key(&fixture.keyring, tenant(4)).await;
    for (key, right) in [(&of_namespace, &namespace), (&of_team, &team)] {
        // Without a filter: what the key may read.
        let mut response = get(fixture.address, "/v1/feed/snapshot", key).await;
        assert_eq!(response.status, 200);
        let line = response.line().await.unwrap();
        let mut reader = Reader::new(fixture.trust.clone(), right.clone(), fixture.address, key);
        reader.receiver.manifest(&line, now()).unwrap();
        reader.load().await;
        let mut stream = reader.connect().await;
        reader.step(&mut stream).await.unwrap();
        for (tenant, text) in fixture.created() {
            let covered = right.covers(&Filter::namespaces([tenant.clone()]).unwrap());
            assert_eq!(reader.accepts(&tenant, &text), covered);
        }
    }
    let after = fixture.authority.hub().position().unwrap();
    for (key, filter, status) in [
        (&of_namespace, "&namespace=acme/fn-a", 200),
        (
            &of_namespace,
            "&namespace=acme/fn-a&namespace=acme/fn-b",
            403,
        ),
        (&of_namespace, "&team=acme", 403),
        (&of_team, "&team=acme", 200),
        (&of_team, "&namespace=acme/fn-b", 200),
        (&of_team, "&namespace=umbrella/fn-c", 403),
        (&of_team, "&team=umbrella", 403),
        (&of_team, "&team=acme&namespace=acme/fn-a", 400),
        (&of_team, "&namespace=acme", 400),
        (&fixture.key, "", 200),
        (&fixture.key, "&team=umbrella", 200),
    ] {
        for path in ["/v1/feed", "/v1/feed/frame", "/v1/feed/snapshot"] {
            let path = format!("{path}?after={after}{filter}");
            let response = get(fixture.address, &path, key).await;
            assert_eq!(response.status, status, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_the_scope_by_name_reads_nothing() {
    let fixture = Fixture::new().await;
    // It has all scopes, but is no key of a replica.
    let (_, ordinary) = fixture.create(0).await;
    let (_, operator) = fixture.create(3).await;
    // A control namespace of another team's name opens nothing.
    let foreign = Tenant::parse("umbrella", "control:other").unwrap();
    let (_, foreign) = replica_key(&fixture.keyring, foreign).await;
    let after = fixture.authority.hub().position().unwrap();
    for (key, status) in [
        (ordinary.as_str(), 403),
        (&operator, 403),
        (&foreign, 403),
        ("", 401),
        ("dof_v1_nothing", 401),
    ] {
        for path in ["", "/frame", "/snapshot", "/signers"] {
            let path = format!("/v1/feed{path}?after={after}");
            let response = get(fixture.address, &path, key).await;
            assert_eq!(response.status, status, "{path}");
            let challenge = response.header("www-authenticate");
            assert_eq!(challenge.is_some(), status == 401);
        }
        let report = request(fixture.address, "POST", "/v1/feed/report", key, &[], b"{}").await;
        assert_eq!(report.status, status);
    }
    let unknown = format!("/v1/feed/snapshots/{}.ndjson.zst", "0".repeat(64));
    assert_eq!(get(fixture.address, &unknown, "").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_a_revoked_key_ends_within_a_bookmark() {
    let fixture = Fixture::new().await;
    let mut reader = fixture.reader();
    reader.load().await;
    let mut stream = reader.connect().await;
    reader.step(&mut stream).await.unwrap();
    let context = Context::system(keyfob::now());
    let (keyring, of) = (&fixture.keyring, tenant(3));
    let revoked = keyring.revoke(&context, &of, fixture.key_id, None).await;
    revoked.unwrap();
    let started = Instant::now();
    while reader.step(&mut stream).await.is_some() {
        assert!(started.elapsed() < Duration::from_millis(1_500));
    }
    assert_eq!(reader.connect().await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_reports_only_what_it_may_read() {
    let fixture = Fixture::new().await;
    let (own, _) = fixture.create(0).await;
    let (other, _) = fixture.create(2).await;
    let (_, key) = replica_key(&fixture.keyring, tenant(0)).await;
    let index = Arc::clone(fixture.keyring.index());
    let hub = fixture.authority.hub().clone();
    let with_tenants = hub.clone().with_tenants(move |id| index.tenant_of(id));
    let operators = TeamId::new("operators").unwrap();
    let rights = KeyRights::new(fixture.keyring.unbounded_verifier(), operators);
    let mut sequence = 0;
    for (hub, counted) in [(with_tenants, 7), (hub, 7)] {
        sequence += 1;
        let (address, _server) = listen(hub.router(rights.clone())).await;
        let usage = |id| {
            format!(
                r#"{{"credential":"key:{id}","outcome":"accepted","count":7,"last_used":1800000000}}"#
            )
        };
        let report = format!(
            r#"{{"source":"{}","sequence":{sequence},"hour":1800000000,"usage":[{},{}]}}"#,
            "0a".repeat(16),
            usage(own),
            usage(other),
        );
        let path = "/v1/feed/report";
        let sent = request(address, "POST", path, &key, &[], report.as_bytes()).await;
        assert_eq!(sent.status, 204);
        // Without knowing tenants, nothing is counted.
        let ids = [CredentialId::Key(own), CredentialId::Key(other)];
        let usage = fixture.keyring.usage(&ids).await.unwrap();
        assert_eq!(usage.len(), 1);
        assert_eq!(usage[0].credential, CredentialId::Key(own));
        assert_eq!(usage[0].accepted, counted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signers_document_is_signed_and_a_report_is_recorded_and_kept() {
    let fixture = Fixture::new().await;
    let mut response = fixture.get("/v1/feed/signers").await;
    let line = response.line().await.unwrap();
    assert_eq!(fixture.trust.clone().update(&line, now()), Ok(true));

    let (id, _) = fixture.create(0).await;
    let position = fixture.authority.hub().position().unwrap();
    let report = format!(
        r#"{{"source":"000102030405060708090a0b0c0d0e0f","sequence":1,
            "hour":1800000000,"usage":[{{"credential":"key:{id}","outcome":"accepted","count":7,
            "last_used":1800000000}},{{"credential":"key:{id}","outcome":"expired","count":1}}],
            "replica":{{"name":"gw-1","position":"{position}","lag_ms":12,
            "refused":{{"forged":2}},"version":"0.1.0"}}}}"#
    );
    for _ in 0..2 {
        let response = request(
            fixture.address,
            "POST",
            "/v1/feed/report",
            &fixture.key,
            &[("Content-Type", "application/json")],
            report.as_bytes(),
        );
        assert_eq!(response.await.status, 204);
    }
    let replicas = fixture.authority.hub().fleet().replicas(0);
    assert_eq!(replicas.len(), 1);
    let state = &replicas[0].state;
    assert_eq!((state.name.as_str(), state.lag_ms), ("gw-1", 12));
    assert_eq!(state.refused.forged, 2);
    assert_eq!(state.position, Some(position));
    let usage = fixture
        .keyring
        .usage(&[CredentialId::Key(id)])
        .await
        .unwrap();
    assert_eq!((usage[0].accepted, usage[0].refused), (7, 1));
    let bad = request(
        fixture.address,
        "POST",
        "/v1/feed/report",
        &fixture.key,
        &[],
        b"{}",
    );
    assert_eq!(bad.await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_of_a_source_are_those_of_its_credential() {
    let fixture = Fixture::new().await;
    let (id, _) = fixture.create(0).await;
    let (_, other) = replica_key(&fixture.keyring, tenant(0)).await;
    let index = Arc::clone(fixture.keyring.index());
    let hub = fixture.authority.hub().clone();
    let hub = hub.with_tenants(move |id| index.tenant_of(id));
    let operators = TeamId::new("operators").unwrap();
    let rights = KeyRights::new(fixture.keyring.unbounded_verifier(), operators);
    let (address, _server) = listen(hub.router(rights)).await;
    // The other one knows the source, and would end its numbers.
    let last = u64::try_from(i64::MAX).unwrap();
    for (key, sequence) in [(&other, last), (&fixture.key, 1), (&fixture.key, 2)] {
        let report = format!(
            r#"{{"source":"{}","sequence":{sequence},"hour":1800000000,"usage":[
            {{"credential":"key:{id}","outcome":"accepted","count":1,"last_used":1800000000}}]}}"#,
            "0b".repeat(16),
        );
        let path = "/v1/feed/report";
        let sent = request(address, "POST", path, key, &[], report.as_bytes()).await;
        assert_eq!(sent.status, 204);
    }
    let usage = fixture.keyring.usage(&[CredentialId::Key(id)]).await;
    assert_eq!(usage.unwrap()[0].accepted, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_of_a_report_without_a_right() {
    let fixture = Fixture::new().await;
    let (_, ordinary) = fixture.create(0).await;
    for (key, status) in [("", 401), (ordinary.as_str(), 403)] {
        let mut stream = TcpStream::connect(fixture.address).await.unwrap();
        let head = format!(
            "POST /v1/feed/report HTTP/1.1\r\nHost: feed\r\nAuthorization: Bearer {key}\r\nContent-Length: 4194304\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The body never comes. The connection is closed with the answer.
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        timeout(Duration::from_secs(5), read)
            .await
            .unwrap()
            .unwrap();
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_that_does_not_arrive_is_given_up_and_one_that_is_too_long_is_not_read() {
    let keys = FeedKeys::generate(&SystemRandom).unwrap();
    let authority = Authority::over(MemoryStore::new(), keys, format());
    let authority = authority.start().await.unwrap();
    let rights = |_: &HeaderMap, _| Ok(ReplicaRight::new(Filter::All, |_| true));
    let router = authority.hub().router(rights);
    let stalled = stream::pending::<Result<Bytes, std::io::Error>>();
    let stalled = Request::post("/v1/feed/report").body(Body::from_stream(stalled));
    let answer = router.clone().oneshot(stalled.unwrap());
    let answer = timeout(Duration::from_mins(1), answer).await.unwrap();
    assert_eq!(answer.unwrap().status(), 408);
    let long = Request::post("/v1/feed/report")
        .header("content-length", (4 << 20) + 1)
        .body(Body::empty());
    let answer = router.oneshot(long.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_credential_cannot_use_all_filters() {
    let fixture = Fixture::new().await;
    let (_, of_team) = replica_key(&fixture.keyring, tenant(4)).await;
    let (_, of_namespace) = replica_key(&fixture.keyring, tenant(0)).await;
    let after = fixture.authority.hub().position().unwrap();
    let mut streams = Vec::new();
    for n in 0..40 {
        let path = format!("/v1/feed?after={after}&namespace=acme/n{n}");
        let stream = get(fixture.address, &path, &of_team).await;
        if stream.status != 200 {
            assert_eq!((n, stream.status), (32, 503));
            break;
        }
        streams.push(stream);
    }
    assert_eq!(streams.len(), 32);
    let path = format!("/v1/feed?after={after}");
    assert_eq!(get(fixture.address, &path, &of_namespace).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_judged_works_for_a_few_seconds_more_only() {
    let fixture = Fixture::new().await;
    let mut reader = fixture.reader();
    reader.load().await;
    let mut stream = reader.connect().await;
    reader.step(&mut stream).await.unwrap();
    // From here on, nothing confirms its index.
    let start = keyfob::now();
    let operators = TeamId::new("operators").unwrap();
    let verifier = reader.index.verifier(Some(Duration::from_secs(5)));
    let rights = KeyRights::new(verifier, operators);
    let mut headers = HeaderMap::new();
    let field = format!("Bearer {}", fixture.key).parse().unwrap();
    headers.insert("authorization", field);
    let right = rights.authorize(&headers, start).unwrap();
    let later = |seconds| right.still_works(start.plus_seconds(seconds));
    assert!(later(2));
    assert_eq!(
        rights.authorize(&headers, start.plus_seconds(9)).err(),
        Some(axum::http::StatusCode::SERVICE_UNAVAILABLE)
    );
    assert!(later(9));
    assert!(!later(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_one_use_of_its_key() {
    let fixture = Fixture::new().await;
    let recorder = Arc::new(UsageRecorder::new(100));
    let verifier = fixture.keyring.unbounded_verifier();
    let verifier = verifier.with_usage(Arc::clone(&recorder));
    let operators = TeamId::new("operators").unwrap();
    let rights = KeyRights::new(verifier, operators);
    let (address, _server) = listen(fixture.authority.hub().router(rights)).await;
    let after = fixture.authority.hub().position().unwrap();
    let path = format!("/v1/feed?after={after}");
    let mut stream = get(address, &path, &fixture.key).await;
    for _ in 0..3 {
        assert!(stream.line().await.is_some());
    }
    let batch = recorder.batch(&SystemRandom, keyfob::now());
    let usage = batch.unwrap().unwrap().usage;
    let uses: u64 = usage.iter().map(|usage| usage.count).sum();
    assert_eq!(uses, 1, "it is judged again at each bookmark");
}
