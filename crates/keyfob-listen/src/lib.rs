#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod head;
mod head_timer;
mod leaving;
mod log_limit;
mod metrics;
mod protocol;
mod room;
mod server;
mod socket;
mod tls;
mod workers;

pub use address::{Address, AddressError, BindError, Listener};
pub use head::Head;
pub use leaving::Leaving;
pub use metrics::{CONNECTIONS, REFUSED_HEADS, describe};
pub use server::{Limits, Peer, Routes, Server};
pub use tls::{ClientCertificate, Tls, TlsError};
