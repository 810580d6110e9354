//! The feed for gateways and relays, on a listener of its own.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use keyfob::{KeyStore, Keyring, Timestamp, Verifier, name::TeamId};
use keyfob_api::{Fleet, Replica};
use keyfob_feed::{
    Filter,
    server::{Authority, AuthorityError, KeyRights, ReplicaReport},
};
use keyfob_listen::Limits;

use crate::{
    exit::Exit,
    failure::{Failure, with_sources},
    feed,
    nats::{Nats, Publication},
    server::{Frontend, health},
    settings::FeedSettings,
    terminal::count,
};

/// A feed that is served.
pub(super) struct Feed {
    authority: Authority,
    /// What is published over NATS, if it is.
    publication: Option<Publication>,
    frontend: Frontend,
}

impl Feed {
    /// Serves the feed of the store, if the settings say so.
    pub(super) async fn start(
        settings: FeedSettings,
        store: Arc<dyn KeyStore>,
        keyring: &Keyring,
        verifier: Verifier,
        operators: TeamId,
    ) -> Result<Option<Self>, Failure> {
        let unused = settings.unused();
        if settings.listen.is_none()
            && let Some(name) = unused
        {
            return Err(Failure::usage(format!("feed_listen: needed with {name}")));
        }
        if settings.nats.servers.is_empty() {
            let unused = settings.nats.unused();
            let carries = !settings.nats_carry.is_empty();
            if let Some(name) = unused.or(carries.then_some("nats_carry")) {
                return Err(Failure::usage(format!("nats: needed with {name}")));
            }
        }
        let FeedSettings {
            listen,
            keys,
            connections,
            tls,
            nats,
            nats_carry,
        } = settings;
        let Some(listen) = listen else {
            return Ok(None);
        };
        let keys = keys.ok_or_else(|| {
            Failure::usage("feed_keys: the keys that sign the feed are needed")
                .hint("`keyfob feed create FILE` makes them")
        })?;
        let keys = feed::read(&keys)?;
        let tls = tls.load(&listen)?;
        let authority = Authority::over(store, keys, *keyring.format()).start();
        let authority = authority.await.map_err(|error| cannot_publish(&error))?;
        let limits = Limits::for_streams().with_connections(connections);
        let index = Arc::clone(keyring.index());
        let hub = authority.hub().clone();
        let hub = hub.with_tenants(move |credential| index.tenant_of(credential));
        let routes = hub.router(KeyRights::new(verifier, operators));
        let publication = match Nats::connect(nats, "keyfob serve").await? {
            Some(nats) => {
                let mut parts = nats_carry;
                if !parts.contains(&Filter::All) {
                    parts.push(Filter::All);
                }
                Some(nats.publish(&hub, parts)?)
            }
            None => None,
        };
        let frontend = Frontend::open("feed", &listen, limits, tls, health::not_yet()).await?;
        frontend.ready(routes);
        tracing::info!(address = %frontend.address, "feeding gateways");
        Ok(Some(Self {
            authority,
            publication,
            frontend,
        }))
    }

    /// Waits until the feed cannot be published any more.
    pub(super) async fn failed(&self) -> Failure {
        cannot_publish(&self.authority.failed().await)
    }

    /// Ends all streams.
    pub(super) async fn stop(self) {
        drop(self.publication);
        // Streams do not end by themselves.
        drop(self.authority);
        self.frontend.stop().await;
    }
}

/// The replicas that the feed serves, once it does.
#[derive(Clone, Default)]
pub(super) struct FedReplicas(Arc<OnceLock<keyfob_feed::server::Fleet>>);

impl FedReplicas {
    pub(super) fn are_fed_by(&self, feed: &Feed) {
        // There is one feed.
        let _ = self.0.set(feed.authority.hub().fleet().clone());
    }
}

impl Fleet for FedReplicas {
    fn replicas(&self, now: Timestamp) -> Vec<Replica> {
        let now = u64::try_from(now.as_unix()).unwrap_or_default() * 1_000;
        let reports = self
            .0
            .get()
            .map(|fleet| fleet.replicas(now.saturating_sub(SHOWN_MS)));
        let reports = reports.into_iter().flatten();
        reports.map(|report| view(report, now)).collect()
    }
}

fn view(report: ReplicaReport, now: u64) -> Replica {
    let ReplicaReport {
        source,
        state,
        right,
        received_at,
        ..
    } = report;
    let seconds = i64::try_from(received_at / 1_000).unwrap_or(i64::MAX);
    Replica {
        id: source.to_string(),
        name: state.name,
        version: state.version,
        reads: match right {
            Filter::All => "all".to_owned(),
            Filter::Team(team) => format!("team {team}"),
            Filter::Namespaces(tenants) => count(tenants.iter().count() as u64, "namespace"),
        },
        revision: state.position.map(|position| position.revision),
        lag_ms: state.lag_ms,
        bound_ms: state.bound_ms,
        reported_at: Timestamp::from_unix(seconds),
        age_ms: now.saturating_sub(received_at),
        refused: refused(&state.refused),
    }
}

/// The numbers of refused lines by their reasons, without those that did not happen.
fn refused(counts: &keyfob_feed::Refusals) -> BTreeMap<String, u64> {
    let counts = serde_json::to_value(counts).unwrap_or_default();
    let counts = counts.as_object().into_iter().flatten();
    let counts = counts.filter_map(|(reason, count)| Some((reason.clone(), count.as_u64()?)));
    counts.filter(|(_, count)| *count > 0).collect()
}

/// How long a replica is shown after its last report: an hour.
const SHOWN_MS: u64 = 3_600_000;

fn cannot_publish(error: &AuthorityError) -> Failure {
    Failure::new(Exit::Store, with_sources(error))
}
