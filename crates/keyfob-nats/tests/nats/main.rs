//! Authorities, relays and gateways with real NATS servers, on the loopback and in real time.

mod broadcast;
mod brokers;
mod cluster;
mod hostile;
mod packaged;
mod world;
