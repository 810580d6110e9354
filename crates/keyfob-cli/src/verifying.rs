//! A verifier over a store, for commands that ask about credentials.

use std::sync::Arc;

use keyfob::{
    KeyStore, Verifier,
    gateway::{FollowError, Index},
};

use crate::{
    desk::Desk,
    exit::Exit,
    failure::{Failure, with_sources},
};

/// Reads the whole population of the store, and judges by it. Nothing that it judges is counted as
/// a use.
pub(crate) async fn verifier(desk: &Desk) -> Result<Verifier, Failure> {
    let index = Arc::new(Index::new());
    follow(&index, desk.keyring.store()).await?;
    Ok(desk.keyring.verifier(index))
}

/// Reads the whole population of a store into an index.
pub(crate) async fn follow<S: KeyStore>(index: &Index, store: &S) -> Result<(), Failure> {
    match index.follow(store).await {
        Ok(_) => Ok(()),
        Err(FollowError::Store(error)) => Err(error.into()),
        Err(error) => Err(Failure::new(Exit::Store, with_sources(&error))),
    }
}
