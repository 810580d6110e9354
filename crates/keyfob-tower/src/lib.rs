#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod body;
mod caller;
mod future;
mod guard;
mod layer;
mod namespace;
mod refusal;
mod response;
mod service;

#[cfg(feature = "axum")]
pub use caller::CallerMissing;
pub use {
    body::GuardedBody,
    caller::Caller,
    future::ResponseFuture,
    guard::Guard,
    layer::GuardLayer,
    namespace::{
        CanonicalPath, NamespaceFault, NamespacePath, PathMatch, PathPattern, PatternError,
    },
    refusal::Refusal,
    service::Guarded,
};
