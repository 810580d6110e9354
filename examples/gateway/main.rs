//! An HTTP gateway that serves `OpenWhisk`'s invocation interface and accepts Keyfob keys.
//!
//! ```text
//! cargo run --example gateway -- [--port N] [--sunset RFC3339] [--json]
//! ```
//!
//! - `main.rs`: the shared state, and how the gateway starts, records usage and stops
//! - `refusal.rs`: the responses to refused requests
//! - `openwhisk.rs`: the routes for users of functions
//! - `operate.rs`: the routes for operators
//! - `demo.rs`: the users and keys that it starts with
//!
//! It serves plain HTTP on the loopback interface. Put a proxy in front that terminates TLS and
//! closes slow connections; Basic credentials must not be sent over a network unencrypted.

mod demo;
mod openwhisk;
mod operate;
mod refusal;

use std::{error::Error, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, header::AUTHORIZATION},
};
use keyfob::{
    Access, Keyring, MemoryStore, Principal, Verifier, gateway::UsageRecorder, name::Scope,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{net::TcpListener, signal, time::interval};

use refusal::{Refusal, log};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let Options { port, sunset, json } = Options::parse(std::env::args().skip(1))?;

    let gateway = Arc::new(Gateway::open().await?);
    let keys = demo::populate(&gateway, sunset).await?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    if json {
        demo::print_json(address, &keys)?;
    } else {
        demo::print_guide(address, &keys)?;
    }
    // The plaintext keys were printed. Dropping them zeroizes them.
    drop(keys);

    let flusher = tokio::spawn(flush_every_second(Arc::clone(&gateway)));
    let routes = Router::new()
        .merge(openwhisk::routes())
        .merge(operate::routes())
        .with_state(Arc::clone(&gateway));
    axum::serve(listener, routes)
        .with_graceful_shutdown(interrupted())
        .await?;

    // The last requests were answered after the last flush: record them too.
    flusher.await?;
    gateway.flush_usage().await;
    Ok(())
}

/// The state that every request needs.
struct Gateway {
    keyring: Keyring,
    verifier: Verifier,
    usage: Arc<UsageRecorder>,
    rights: Rights,
}

/// The scopes that the routes require, created once.
struct Rights {
    invoke: [Scope; 1],
    read: [Scope; 1],
    remove_members: [Scope; 1],
    read_legacy: [Scope; 1],
}

impl Gateway {
    async fn open() -> Result<Self, Box<dyn Error>> {
        let keyring = Keyring::open(MemoryStore::new(), "dof").await?;
        let usage = Arc::new(UsageRecorder::new(4096));
        Ok(Self {
            // Each change by the keyring is in force in its verifier before the call returns. A
            // gateway whose store is changed by others runs a follower: see `keyfob-replica`.
            verifier: keyring.verifier().with_usage(Arc::clone(&usage)),
            keyring,
            usage,
            rights: Rights {
                invoke: [Scope::new("function:invoke")?],
                read: [Scope::new("function:read")?],
                remove_members: [Scope::new("members:remove")?],
                read_legacy: [Scope::new("legacy:read")?],
            },
        })
    }

    /// Verifies the credential of a request and returns the caller. Called for every request.
    ///
    /// All `Authorization` fields are passed to the verifier, which refuses a request with two of
    /// them: a proxy in front may have checked the other one.
    fn admit(
        &self,
        headers: &HeaderMap,
        access: &Access<'_>,
        now: OffsetDateTime,
    ) -> Result<Principal<'_>, Refusal> {
        let fields = headers.get_all(AUTHORIZATION);
        self.verifier
            .verify_headers(fields.iter().map(HeaderValue::as_bytes), access, now)
            .map_err(|denied| Refusal::denied(&denied, self.keyring.format()))
    }

    async fn flush_usage(&self) {
        // If the store fails, the counts stay in the recorder until the next flush.
        match self.keyring.flush_usage(&self.usage, keyfob::now()).await {
            Ok(0) => {}
            Ok(lost) => log(format_args!("usage_lost count={lost}")),
            Err(error) => log(format_args!("usage_not_kept error={error:?}")),
        }
    }
}

/// Writes usage to the store: one batch per second, however many requests there were.
///
/// It stops between two flushes, so no batch is interrupted.
async fn flush_every_second(gateway: Arc<Gateway>) {
    let mut stop = pin!(interrupted());
    let mut second = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            biased;
            () = &mut stop => return,
            _ = second.tick() => gateway.flush_usage().await,
        }
    }
}

/// Completes when the gateway has to stop: at ctrl-c, or if ctrl-c cannot be handled.
async fn interrupted() {
    if let Err(error) = signal::ctrl_c().await {
        log(format_args!("no_interrupt error={error:?}"));
    }
}

/// The options of the command line.
struct Options {
    port: u16,
    sunset: OffsetDateTime,
    json: bool,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            port: 0,
            sunset: OffsetDateTime::now_utc() + Duration::from_secs(365 * 24 * 60 * 60),
            json: false,
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                "--port" => {
                    options.port = value()?.parse().map_err(|e| format!("--port: {e}"))?;
                }
                "--sunset" => {
                    options.sunset = OffsetDateTime::parse(&value()?, &Rfc3339)
                        .map_err(|e| format!("--sunset: {e}"))?;
                }
                "--json" => options.json = true,
                _ => return Err("usage: gateway [--port N] [--sunset RFC3339] [--json]".into()),
            }
        }
        Ok(options)
    }
}
