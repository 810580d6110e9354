#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod metrics;
mod room;
mod server;
mod tls;

pub use address::{Address, AddressError, BindError, Listener};
pub use metrics::{CONNECTIONS, REFUSED_HEADS, describe};
pub use server::{Limits, Peer, Routes, Server};
pub use tls::{ClientCertificate, Tls, TlsError};
