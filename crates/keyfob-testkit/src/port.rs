//! Ports on the loopback.

use std::{
    net::TcpListener,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// A port of the loopback that nothing listens on, and that this process was not given before.
///
/// It is below those that the system gives to outgoing connections, so that it is still free when a
/// program that is started later binds it.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..FIRST_EPHEMERAL {
        let number = process::id()
            .wrapping_mul(97)
            .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(LOWEST + number % (FIRST_EPHEMERAL - LOWEST)).unwrap_or(0);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("the loopback has a free port");
}

const LOWEST: u32 = 10_000;
/// The default of Linux's `ip_local_port_range`.
const FIRST_EPHEMERAL: u32 = 32_768;
