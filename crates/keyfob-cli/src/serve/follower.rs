//! Following the store.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use keyfob::gateway::{FollowError, Index};
use metrics::{counter, gauge};
use tokio::sync::watch;

use crate::{
    exit::Exit,
    failure::{Failure, with_sources},
    store::Store,
};

use super::{closed, freshness::Freshness, measures};

/// Keeps the index up to date.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) store: Store,
    pub(super) index: Arc<Index>,
    pub(super) freshness: Arc<Freshness>,
    /// How often it looks, at least.
    pub(super) every: Duration,
}

impl Follower {
    /// Reads the whole population.
    pub(super) async fn begin(&self) -> Result<(), Failure> {
        match self.follow().await {
            Ok(()) => Ok(()),
            Err(FollowError::Store(error)) => Err(error.into()),
            Err(error) => Err(cannot(&error)),
        }
    }

    /// Follows until the server stops. A store that cannot be read is asked again; one that went
    /// back in time, since it was restored from a backup, ends the server: a new start builds the
    /// index anew.
    pub(super) async fn run(self, stopped: watch::Receiver<()>) -> Result<(), Failure> {
        let mut watch = self.store.watch();
        let mut stop = pin!(closed(stopped));
        let mut failing = false;
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                () = watch.changed(self.every) => {}
            }
            match self.follow().await {
                Ok(()) => {
                    if failing {
                        tracing::info!("the store can be followed again");
                    }
                    failing = false;
                }
                Err(FollowError::Store(error)) => {
                    counter!(measures::FOLLOW_FAILED).increment(1);
                    if !failing {
                        let error = with_sources(&error);
                        tracing::error!(error, "the store cannot be followed");
                    }
                    failing = true;
                    // A store that fails at once must not be asked without a pause.
                    tokio::time::sleep(self.every.min(RETRY)).await;
                }
                Err(error) => {
                    tracing::error!(%error, "the index cannot be kept up to date");
                    return Err(cannot(&error));
                }
            }
        }
    }

    async fn follow(&self) -> Result<(), FollowError> {
        let asked = Instant::now();
        let revision = self.index.follow(&self.store).await?;
        self.freshness.mark(asked);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        gauge!(measures::REVISION).set(revision.get() as f64);
        Ok(())
    }
}

fn cannot(error: &FollowError) -> Failure {
    Failure::new(Exit::Store, with_sources(error))
        .hint("start again: the index is built anew from the store")
}

const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use keyfob::{
        Actor, Context, Keyring, Tenant, Timestamp,
        key::KeyFormat,
        name::{NamespaceId, TeamId},
    };

    use super::*;

    #[tokio::test]
    async fn a_store_that_went_back_in_time_ends_the_server() {
        let later = Store::Memory(Arc::default());
        let keyring = Keyring::new(later.clone(), KeyFormat::new("dof").unwrap());
        let context = Context::new(Actor::system(), Timestamp::from_unix(0));
        let tenant = Tenant::new(TeamId::new("a").unwrap(), NamespaceId::new("b").unwrap());
        keyring.remove_namespace(&context, &tenant).await.unwrap();
        let index = Arc::new(Index::new());
        index.follow(&later).await.unwrap();

        // What a backup that was made before holds.
        let follower = Follower {
            store: Store::Memory(Arc::default()),
            index,
            freshness: Arc::new(Freshness::new(Duration::from_secs(10))),
            every: Duration::from_millis(1),
        };
        let (_running, stopped) = watch::channel(());
        let ended = follower.run(stopped).await;
        assert_eq!(ended.unwrap_err().exit(), Exit::Store);
    }

    #[tokio::test]
    async fn it_ends_when_the_server_stops() {
        let follower = Follower {
            store: Store::Memory(Arc::default()),
            index: Arc::new(Index::new()),
            freshness: Arc::new(Freshness::new(Duration::from_secs(10))),
            every: Duration::from_millis(1),
        };
        let freshness = Arc::clone(&follower.freshness);
        let (running, stopped) = watch::channel(());
        let ran = tokio::spawn(follower.run(stopped));
        while !freshness.is_fresh() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(running);
        assert!(ran.await.unwrap().is_ok());
    }
}
