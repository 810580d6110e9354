//! Every behaviour of the contract, each on a database of its own.

keyfob_conformance::suite!(
    run = crate::server::run,
    store = crate::server::store().await,
    reopen = |store| store.reopened().await,
);
