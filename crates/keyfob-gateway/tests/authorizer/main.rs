//! The authorizer, without a network.

mod answers;
mod fixture;
mod http;
mod identities;
mod readings;
mod targets;
