//! A replica that follows a feed over HTTP, on the loopback and in real time.

mod authority;
mod folder;
mod following;
mod relay;
mod restart;
mod server;
mod settings;
mod stopped;
mod transport;
mod upgrade;
mod usage;

use std::{sync::Arc, time::Duration};

use keyfob_replica::{Follower, HttpSource, HttpSourceBuilder, Replica};

use authority::{Authority, KEY, Server};

const STALE_AFTER: Duration = Duration::from_secs(3);

/// A replica, and the source that it follows.
struct Gateway {
    replica: Replica,
    source: Arc<HttpSource>,
}

fn builder(authority: &Authority, servers: &[&Server]) -> HttpSourceBuilder {
    servers
        .iter()
        .fold(HttpSource::builder(authority.trust()), |builder, server| {
            builder.upstream(server.address.parse().unwrap())
        })
        .key(KEY)
        .name("gateway-1")
        .silence(Duration::from_millis(600))
        .lag_max(Duration::from_secs(1))
}

impl Gateway {
    async fn start(builder: HttpSourceBuilder) -> Self {
        Self::try_start(builder).await.unwrap()
    }

    async fn try_start(builder: HttpSourceBuilder) -> Result<Self, keyfob_replica::StartError> {
        let source = Arc::new(builder.build().unwrap());
        let replica = Follower::from_source(Arc::clone(&source), "acme")
            .stale_after(STALE_AFTER)
            .flush_usage_every(Duration::from_millis(200))
            .start()
            .await?;
        Ok(Self { replica, source })
    }
}
