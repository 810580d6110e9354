//! Against the server of `keyfob-feed`: the same protocol on both sides.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{http::StatusCode, middleware::map_response, response::Response};
use keyfob::{
    Context, DenyReason, Expiry, KeyId, Keyring, MemoryStore, NewKey, Scopes, Tenant,
    key::{CredentialId, SystemRandom},
    name::{KeyName, Scope, TeamId},
};
use keyfob_feed::{
    FeedKeys, Filter, Trust,
    server::{Authority, AuthorityBuilder, KeyRights},
};
use keyfob_listen::{Limits, Listener, Routes, Server, Tls};
use keyfob_replica::{HttpSource, HttpSourceBuilder};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::sleep};

use crate::{Gateway, authority::Created, following::until};

pub(crate) struct Fixture {
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) authority: Authority,
    pub(crate) trust: Trust,
    pub(crate) address: String,
    server: JoinHandle<()>,
    /// How many connections were upgraded.
    pub(crate) upgrades: Arc<AtomicUsize>,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::over(None).await
    }

    pub(crate) async fn over(tls: Option<Tls>) -> Self {
        Self::with(tls, |authority| authority).await
    }

    pub(crate) async fn with(
        tls: Option<Tls>,
        set: impl FnOnce(AuthorityBuilder) -> AuthorityBuilder,
    ) -> Self {
        let store = Arc::new(MemoryStore::new());
        let keyring = Keyring::open(Arc::clone(&store), "acme").await.unwrap();
        let keyring = Arc::new(keyring);
        let keys = FeedKeys::generate(&SystemRandom).unwrap();
        let trust = Trust::pinned(keys.signers()).unwrap();
        let authority = Authority::over(store, keys, "acme".parse().unwrap());
        let authority = set(authority).start().await.unwrap();
        let operators = TeamId::new("operators").unwrap();
        let rights = KeyRights::new(keyring.unbounded_verifier(), operators);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://{}", listener.local_addr().unwrap());
        let upgrades = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&upgrades);
        let router = authority.hub().router(rights);
        let router = router.layer(map_response(move |response: Response| {
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                counted.fetch_add(1, SeqCst);
            }
            ready(response)
        }));
        let listening =
            Server::new("feed", Listener::Tcp(listener), Routes::of(router)).with_tls(tls);
        let server = tokio::spawn(async move {
            let (_stop, stopped) = watch::channel(());
            let limits = Limits::for_streams();
            listening.with_limits(limits).serve(stopped).await;
        });
        Self {
            keyring,
            authority,
            trust,
            address,
            server,
            upgrades,
        }
    }

    fn context() -> Context {
        Context::system(keyfob::now())
    }

    pub(crate) async fn create(&self, name: &str) -> Created {
        let new = NewKey::for_user("team", "orders", "alice", name).unwrap();
        let created = self.keyring.create(&Self::context(), new).await.unwrap();
        Created {
            secret: created.secret,
            info: created.info,
        }
    }

    /// A key with which a replica may read everything, or a team.
    pub(crate) async fn replica_key(&self, team: &str) -> (KeyId, String) {
        let new = NewKey::new(
            Tenant::parse(team, &format!("control:{team}")).unwrap(),
            "service:gateway".parse().unwrap(),
            KeyName::new("replica").unwrap(),
        )
        .with_scopes(Scopes::only([Scope::new("replica").unwrap()]).unwrap())
        .with_expiry(Expiry::Never);
        let created = self.keyring.create(&Self::context(), new).await.unwrap();
        (created.secret.id(), created.secret.expose().to_owned())
    }

    pub(crate) async fn revoke(&self, key: &Created) {
        let (context, info) = (Self::context(), &key.info);
        let revoked = self.keyring.revoke(&context, &info.tenant, info.id, None);
        revoked.await.unwrap();
    }

    pub(crate) fn builder(&self, key: &str) -> HttpSourceBuilder {
        HttpSource::builder(self.trust.clone())
            .upstream(self.address.parse().unwrap())
            .key(key)
            .name("gateway-7")
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tokio::test]
async fn a_replica_follows_the_server_and_reports_to_it() {
    let fixture = Fixture::new().await;
    let (_, key) = fixture.replica_key("operators").await;
    let alice = fixture.create("laptop").await;
    let gateway = Gateway::start(fixture.builder(&key)).await;
    let verifier = gateway.replica.verifier();
    assert_eq!(alice.refused(&verifier), None);
    let later = fixture.create("desktop").await;
    let took = later.until(&verifier, None).await;
    // A memory store tells nobody of its changes.
    assert!(took < Duration::from_secs(2), "{took:?}");
    let info = &alice.info;
    let (context, keyring) = (Fixture::context(), &fixture.keyring);
    let revoked = keyring.revoke(&context, &info.tenant, info.id, None);
    revoked.await.unwrap();
    alice.until(&verifier, Some(DenyReason::Revoked)).await;
    sleep(Duration::from_secs(4)).await;
    assert_eq!(later.refused(&verifier), None, "bookmarks confirm it");

    gateway.replica.stop().await;
    let credential = CredentialId::Key(later.info.id);
    let usage = fixture.keyring.usage(&[credential]).await.unwrap();
    assert!(usage[0].accepted >= 2, "{usage:?}");
    let fleet = fixture.authority.hub().fleet().replicas(0);
    assert_eq!(fleet.len(), 1);
    assert_eq!(fleet[0].state.name, "gateway-7");
    assert_eq!(fleet[0].state.position, gateway.source.status().position);
    assert_eq!(fleet[0].state.refused.total(), 0);
}

#[tokio::test]
async fn a_revoked_key_of_a_replica_ends_its_stream_and_calls_are_refused_in_time() {
    let fixture = Fixture::new().await;
    let (id, key) = fixture.replica_key("operators").await;
    let alice = fixture.create("laptop").await;
    let gateway = Gateway::start(fixture.builder(&key)).await;
    let verifier = gateway.replica.verifier();
    until(|| gateway.source.status().is_connected).await;
    let tenant = Tenant::parse("operators", "control:operators").unwrap();
    let (context, keyring) = (Fixture::context(), &fixture.keyring);
    let revoked = keyring.revoke(&context, &tenant, id, None);
    revoked.await.unwrap();
    alice.until(&verifier, Some(DenyReason::Stale)).await;
    let error = gateway.replica.status().last_error.unwrap();
    assert!(error.ends_with("401 Unauthorized"), "{error}");
}

#[tokio::test]
async fn a_replica_of_a_team_receives_the_team_only() {
    let fixture = Fixture::new().await;
    let (_, key) = fixture.replica_key("team").await;
    let alice = fixture.create("laptop").await;
    let other = NewKey::for_user("other", "elsewhere", "bob", "laptop").unwrap();
    let context = Fixture::context();
    fixture.keyring.create(&context, other).await.unwrap();
    let error = Gateway::try_start(fixture.builder(&key)).await;
    assert!(error.is_err(), "it asked for everything");
    let filter = Filter::Team(TeamId::new("team").unwrap());
    let gateway = Gateway::start(fixture.builder(&key).filter(filter)).await;
    assert_eq!(alice.refused(&gateway.replica.verifier()), None);
    // Two namespaces of a team, and a name with a colon in a query.
    let tenants = ["orders", "control:team"].map(|name| Tenant::parse("team", name).unwrap());
    let filter = Filter::namespaces(tenants).unwrap();
    let gateway = Gateway::start(fixture.builder(&key).filter(filter)).await;
    let verifier = gateway.replica.verifier();
    assert_eq!(alice.refused(&verifier), None);
    let later = fixture.create("desktop").await;
    later.until(&verifier, None).await;
}

#[tokio::test]
async fn the_longest_filter_can_be_asked_for() {
    let fixture = Fixture::new().await;
    let (_, key) = fixture.replica_key("operators").await;
    let alice = fixture.create("laptop").await;
    let team = "t".repeat(128);
    let longest = (1..Filter::NAMESPACES_MAX).map(|n| {
        let namespace = format!("{n:03}{}", "-".repeat(125));
        Tenant::parse(&team, &namespace).unwrap()
    });
    let own = Tenant::parse("team", "orders").unwrap();
    let filter = Filter::namespaces(longest.chain([own])).unwrap();
    assert!(filter.to_query().len() > 20_000);
    let gateway = Gateway::start(fixture.builder(&key).filter(filter)).await;
    assert_eq!(alice.refused(&gateway.replica.verifier()), None);
    until(|| gateway.source.status().is_connected).await;
}
