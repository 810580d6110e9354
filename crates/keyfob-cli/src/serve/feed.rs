//! The feed for gateways and relays, on a listener of its own.

use std::sync::Arc;

use keyfob::{KeyStore, Keyring, Verifier, name::TeamId};
use keyfob_feed::server::{Authority, AuthorityError, KeyRights};
use keyfob_listen::Limits;

use crate::{
    exit::Exit,
    failure::{Failure, with_sources},
    feed,
    server::{Frontend, health},
    settings::FeedSettings,
};

/// A feed that is served.
pub(super) struct Feed {
    authority: Authority,
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
        let FeedSettings {
            listen,
            keys,
            connections,
            tls,
        } = settings;
        let Some(listen) = listen else {
            return match keys {
                Some(_) => Err(Failure::usage("feed_listen: needed with feed_keys")),
                None => Ok(None),
            };
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
        let frontend = Frontend::open("feed", &listen, limits, tls, health::not_yet()).await?;
        frontend.ready(routes);
        tracing::info!(address = %frontend.address, "feeding gateways");
        Ok(Some(Self {
            authority,
            frontend,
        }))
    }

    /// Waits until the feed cannot be published any more.
    pub(super) async fn failed(&self) -> Failure {
        cannot_publish(&self.authority.failed().await)
    }

    /// Ends all streams.
    pub(super) async fn stop(self) {
        // Streams do not end by themselves.
        drop(self.authority);
        self.frontend.stop().await;
    }
}

fn cannot_publish(error: &AuthorityError) -> Failure {
    Failure::new(Exit::Store, with_sources(error))
}
