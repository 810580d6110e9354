//! A tonic client in the place of Envoy, over the network.

#[path = "../../src/message.rs"]
mod message;

mod answers;
mod fixture;
mod health;
mod peers;
mod questions;
