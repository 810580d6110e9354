//! A relay between an authority and readers.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use keyfob::{KeyId, key::CredentialId, name::TeamId, store::async_trait};
use keyfob_feed::{
    Filter, Limits, ObjectName, Position, SignedLine,
    server::{Hub, KeyRights, Relay, RelayError, Upstream, UpstreamError},
};
use tokio::time::sleep;

use crate::{
    client::{Response, get, request},
    fixture::{Fixture, Reader, Server, listen, now, replica_key, tenant},
};

/// The authority, by HTTP.
struct Client {
    address: SocketAddr,
    key: String,
}

impl Client {
    async fn get(&self, path: &str) -> Result<Response, UpstreamError> {
        let response = get(self.address, path, &self.key).await;
        match response.status {
            200 => Ok(response),
            410 | 404 => Err(UpstreamError::Gone),
            status => Err(UpstreamError::Unavailable(status.to_string())),
        }
    }

    async fn line(&self, path: &str) -> Result<SignedLine, UpstreamError> {
        let line = self.get(path).await?.line().await;
        let line = line.ok_or_else(|| UpstreamError::Unavailable("no line".into()))?;
        Ok(SignedLine::received(&line))
    }
}

#[async_trait]
impl Upstream for Client {
    async fn frame(&self, _: &Filter, after: Position) -> Result<SignedLine, UpstreamError> {
        self.line(&format!("/v1/feed/frame?after={after}")).await
    }

    async fn manifest(&self, _: &Filter) -> Result<SignedLine, UpstreamError> {
        self.line("/v1/feed/snapshot").await
    }

    async fn object(&self, name: ObjectName) -> Result<Bytes, UpstreamError> {
        let path = format!("/v1/feed/snapshots/{name}.ndjson.zst");
        Ok(self.get(&path).await?.body().await.into())
    }

    async fn signers(&self) -> Result<Vec<SignedLine>, UpstreamError> {
        Ok(vec![self.line("/v1/feed/signers").await?])
    }

    async fn report(&self, body: Bytes) -> Result<(), UpstreamError> {
        let path = "/v1/feed/report";
        let response = request(self.address, "POST", path, &self.key, &[], &body).await;
        match response.status {
            204 => Ok(()),
            status => Err(UpstreamError::Unavailable(status.to_string())),
        }
    }
}

/// A relay that follows the fixture's authority, with its address.
async fn relay(fixture: &Fixture) -> (Relay, SocketAddr, Server, Server) {
    relay_with(fixture, &fixture.key).await
}

/// The same, with this key.
async fn relay_with(fixture: &Fixture, key: &str) -> (Relay, SocketAddr, Server, Server) {
    relay_within(fixture, key, Limits::default()).await
}

/// The same, with these bounds on its memory.
async fn relay_within(
    fixture: &Fixture,
    key: &str,
    limits: Limits,
) -> (Relay, SocketAddr, Server, Server) {
    let client = Client {
        address: fixture.address,
        key: key.to_owned(),
    };
    let relay = Relay::new(client, fixture.trust.clone(), [Filter::All], limits);
    let mut reader = fixture.reader();
    reader.load().await;
    let follower = relay.clone();
    let following = tokio::spawn(async move {
        let mut stream = reader.connect().await;
        while let Some(line) = stream.line().await {
            reader.apply(&line).unwrap();
            follower.accept(&Filter::All, &line).unwrap();
        }
    });
    let operators = TeamId::new("operators").unwrap();
    let rights = KeyRights::new(fixture.keyring.unbounded_verifier(), operators);
    let (address, server) = listen(with_tenants(fixture, relay.hub()).router(rights)).await;
    while !relay.hub().is_current() {
        sleep(Duration::from_millis(5)).await;
    }
    (relay, address, server, Server::of(following))
}

fn with_tenants(fixture: &Fixture, hub: &Hub) -> Hub {
    let index = Arc::clone(fixture.keyring.index());
    hub.clone()
        .with_tenants(move |credential| index.tenant_of(credential))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_behind_a_relay_gets_what_the_authority_signed() {
    let fixture = Fixture::new().await;
    for n in 0..3 {
        fixture.create(n).await;
    }
    let mut limits = Limits::default();
    limits.lines = 8;
    let (_relay, address, _server, _following) = relay_within(&fixture, &fixture.key, limits).await;
    let mut reader = Reader::new(fixture.trust.clone(), Filter::All, address, &fixture.key);
    reader.load().await;
    let mut stream = reader.connect().await;
    for _ in 0..5 {
        fixture.create(0).await;
        reader
            .until(&mut stream, fixture.keyring.index().as_of())
            .await;
    }
    // Away for longer than the relay has lines for: it asks the authority, once for all.
    drop(stream);
    for _ in 0..40 {
        fixture.create(1).await;
        sleep(Duration::from_millis(8)).await;
    }
    let before = fixture.probe.queries();
    let readers: Vec<_> = (0..20).map(|_| reader.connect()).collect();
    for stream in readers {
        assert!(stream.await.line().await.is_some());
    }
    let queries = fixture.probe.queries() - before;
    assert!(queries <= 4, "{queries}");
    let mut stream = reader.connect().await;
    reader
        .until(&mut stream, fixture.keyring.index().as_of())
        .await;
    for (tenant, text) in fixture.created() {
        assert!(reader.accepts(&tenant, &text));
    }
    assert_eq!(reader.receiver.refusals().total(), 0);
}

/// A gateway that starts without anything: first the relay's upstream makes a snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_behind_a_relay_gets_a_snapshot_that_takes_the_authority_long_to_make() {
    let often = Duration::from_millis(1);
    let fixture = Fixture::with(|builder| builder.snapshot_every(often)).await;
    for n in 0..1_100_u16 {
        fixture.create(u8::from(n % 2 == 0)).await;
    }
    let (_relay, address, _server, _following) = relay(&fixture).await;
    // A snapshot has two pages then.
    fixture.probe.slow_down(Duration::from_secs(4));
    let mut reader = Reader::new(fixture.trust.clone(), Filter::All, address, &fixture.key);
    let start = Instant::now();
    reader.load().await;
    assert!(start.elapsed() > Duration::from_secs(5), "it was quick");
    let (tenant, text) = fixture.created().pop().unwrap();
    assert!(reader.accepts(&tenant, &text));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_hands_on_reports_signers_and_what_is_gone() {
    let fixture = Fixture::new().await;
    let (relay, address, _server, _following) = relay(&fixture).await;
    let mut signers = get(address, "/v1/feed/signers", &fixture.key).await;
    let line = signers.line().await.unwrap();
    let mut trust = fixture.trust.clone();
    assert_eq!(trust.update(&line, now()), Ok(true));
    relay.set_trust(&trust);

    let report = format!(
        r#"{{"source":"{}","sequence":1,"replica":{{"name":"gw-2"}}}}"#,
        "ab".repeat(16)
    );
    let path = "/v1/feed/report";
    let sent = request(address, "POST", path, &fixture.key, &[], report.as_bytes()).await;
    assert_eq!(sent.status, 204);
    for hub in [relay.hub(), fixture.authority.hub()] {
        assert_eq!(hub.fleet().replicas(0)[0].state.name, "gw-2");
    }

    let position = fixture.authority.hub().position().unwrap();
    let gone = format!("/v1/feed?after=0-{}", position.mark);
    let gone = get(address, &gone, &fixture.key).await;
    assert_eq!(gone.status, 410);
    assert!(gone.text().await.contains("/v1/feed/snapshot"));
    let other = format!("/v1/feed?after={position}&team=acme");
    assert_eq!(get(address, &other, &fixture.key).await.status, 403);
    let unknown = format!("/v1/feed/snapshots/{}.ndjson.zst", "0".repeat(64));
    assert_eq!(get(address, &unknown, &fixture.key).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_serves_no_line_that_the_authority_did_not_sign() {
    let fixture = Fixture::new().await;
    let (relay, ..) = relay(&fixture).await;
    let other = Fixture::new().await;
    let mut reader = other.reader();
    reader.load().await;
    let line = reader.connect().await.line().await.unwrap();
    let refused = relay.accept(&Filter::All, &line).unwrap_err();
    assert!(matches!(refused, RelayError::Line(_)));
    let mut altered = line.clone();
    altered[150] ^= 1;
    assert!(relay.accept(&Filter::All, &altered).is_err());
    let team = Filter::Team(TeamId::new("acme").unwrap());
    let mut own = fixture.reader();
    own.load().await;
    let line = own.connect().await.line().await.unwrap();
    assert_eq!(relay.accept(&team, &line), Err(RelayError::OtherFilter));
    let _ = Arc::new(relay);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_lost_its_upstream_is_answered_503() {
    let fixture = Fixture::new().await;
    let (relay, address, _server, following) = relay(&fixture).await;
    let position = relay.hub().position().unwrap();
    drop(following);
    sleep(Duration::from_millis(5_500)).await;
    let path = format!("/v1/feed?after={position}");
    assert_eq!(get(address, &path, &fixture.key).await.status, 503);
    assert!(!relay.hub().is_current());
}

/// A report of one use of a key.
fn report(source: u8, sequence: u64, used: KeyId, rest: &str) -> String {
    let source = format!("{source:02x}").repeat(16);
    format!(
        r#"{{"source":"{source}","sequence":{sequence},"hour":1700000000,"usage":[
        {{"credential":"key:{used}","outcome":"accepted","count":1,"last_used":1700000000}}],
        "replica":{{"name":"gw"}}{rest}}}"#
    )
}

async fn send(to: SocketAddr, key: &str, report: &str) {
    let path = "/v1/feed/report";
    let sent = request(to, "POST", path, key, &[], report.as_bytes()).await;
    assert_eq!(sent.status, 204);
}

async fn accepted(fixture: &Fixture, id: KeyId) -> u64 {
    let usage = fixture.keyring.usage(&[CredentialId::Key(id)]).await;
    usage.unwrap().first().map_or(0, |usage| usage.accepted)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_counted_once_although_it_was_sent_on_several_ways() {
    let fixture = Fixture::new().await;
    let (used, _) = fixture.create(0).await;
    let (id, key) = replica_key(&fixture.keyring, tenant(0)).await;
    let (_, other) = replica_key(&fixture.keyring, tenant(0)).await;
    let (_, second) = replica_key(&fixture.keyring, tenant(3)).await;
    let (_first, one, _s1, _f1) = relay(&fixture).await;
    let (_second, two, _s2, _f2) = relay_with(&fixture, &second).await;
    let operators = TeamId::new("operators").unwrap();
    let rights = KeyRights::new(fixture.keyring.unbounded_verifier(), operators);
    let hub = with_tenants(&fixture, fixture.authority.hub());
    let (authority, _server) = listen(hub.router(rights)).await;
    // The answer of one was lost, so it was sent to the next.
    for address in [one, two, authority, one] {
        send(address, &key, &report(0x0c, 1, used, "")).await;
    }
    assert_eq!(accepted(&fixture, used).await, 1);
    // Another credential has its own numbers.
    send(one, &other, &report(0x0c, 1, used, "")).await;
    assert_eq!(accepted(&fixture, used).await, 2);
    let fleet = fixture.authority.hub().fleet().replicas(0);
    let own = Filter::namespaces([tenant(0)]).unwrap();
    assert_eq!(fleet.len(), 2, "{fleet:?}");
    assert!(fleet.iter().all(|replica| replica.right == own));
    let credentials: Vec<_> = fleet.iter().map(|replica| replica.credential).collect();
    assert!(credentials.contains(&Some(CredentialId::Key(id))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_hands_on_reports_of_credentials_within_its_right_only() {
    let fixture = Fixture::new().await;
    let (used, _) = fixture.create(0).await;
    let (id, key) = replica_key(&fixture.keyring, tenant(0)).await;
    let (_, of_team) = replica_key(&fixture.keyring, tenant(4)).await;
    let (_, foreign) = replica_key(&fixture.keyring, tenant(2)).await;
    let operators = TeamId::new("operators").unwrap();
    let rights = KeyRights::new(fixture.keyring.unbounded_verifier(), operators);
    let hub = with_tenants(&fixture, fixture.authority.hub());
    let (authority, _server) = listen(hub.router(rights)).await;
    let origin =
        |reads: &str| format!(r#","origin":{{"credential":"key:{id}","reads":"{reads}"}}"#);
    // Neither another team nor a wider part: the numbers of the credential stay as they are.
    let last = u64::try_from(i64::MAX).unwrap();
    for (sender, reads) in [
        (&foreign, "namespace=umbrella/fn-c"),
        (&foreign, ""),
        (&of_team, "team=umbrella"),
    ] {
        let sent = report(0x0d, last, used, &origin(reads));
        send(authority, sender, &sent).await;
    }
    let before = accepted(&fixture, used).await;
    let own = origin("namespace=acme/fn-a");
    send(authority, &of_team, &report(0x0d, 1, used, &own)).await;
    send(authority, &key, &report(0x0d, 1, used, "")).await;
    assert_eq!(accepted(&fixture, used).await, before + 1);
    send(authority, &key, &report(0x0d, 2, used, "")).await;
    assert_eq!(accepted(&fixture, used).await, before + 2);
}
