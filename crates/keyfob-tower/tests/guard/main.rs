//! What a guard lets through, what it refuses and how.

mod admitted;
#[cfg(feature = "axum")]
mod axum_app;
mod fixture;
mod grpc;
mod hyper_server;
mod namespaces;
mod refusals;
