//! Calls through the gateway.

use std::{
    fmt::Write as _,
    io, thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keyfob_proxies::{Connection, Response, Seen};

use crate::setup::{PATIENCE, Setup};

/// A path of a namespace.
pub(crate) fn path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/actions/x")
}

/// The field with a credential as `OpenWhisk`'s clients send it.
pub(crate) fn basic(credential: &str) -> String {
    format!("Authorization: Basic {}", STANDARD.encode(credential))
}

/// The field with a credential.
pub(crate) fn bearer(credential: &str) -> String {
    format!("Authorization: Bearer {credential}")
}

/// A request without a body, on a connection of its own.
pub(crate) fn request(method: &str, target: &str, fields: &[&str]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: gw.test\r\n");
    for field in fields {
        let _ = write!(head, "{field}\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// What came of a call.
pub(crate) struct Outcome {
    pub(crate) answer: Response,
    /// The request that the backend answered.
    pub(crate) seen: Option<Seen>,
}

impl Outcome {
    pub(crate) fn status(&self) -> u16 {
        self.answer.status
    }
}

impl Setup {
    /// Sends a request without a body.
    pub(crate) fn call(&self, method: &str, target: &str, fields: &[&str]) -> io::Result<Outcome> {
        let bytes = request(method, target, &[fields, &["Connection: close"]].concat());
        self.send(&bytes, method == "HEAD", PATIENCE)
    }

    /// Sends bytes, and reads one response.
    pub(crate) fn send(
        &self,
        bytes: &[u8],
        bodiless: bool,
        patience: Duration,
    ) -> io::Result<Outcome> {
        let mut connection = Connection::open(self.gateway.address(), patience)?;
        connection.send(bytes)?;
        let answer = connection.response(bodiless)?;
        let seen = self.backend.seen(&answer.body);
        Ok(Outcome { answer, seen })
    }

    /// The status of a call with a credential; 0 if there is no answer.
    pub(crate) fn status(&self, credential: &str, namespace: &str) -> u16 {
        let outcome = self.call("GET", &path(namespace), &[&basic(credential)]);
        outcome.map_or(0, |outcome| outcome.status())
    }

    /// Repeats a call until it has this status three times in a row, so that both authorizers know, and
    /// returns how long that took.
    pub(crate) fn await_status(&self, credential: &str, namespace: &str, status: u16) -> Duration {
        let began = Instant::now();
        let mut same = 0;
        loop {
            let now = self.status(credential, namespace);
            same = if now == status { same + 1 } else { 0 };
            if same == 3 {
                return began.elapsed();
            }
            if same > 0 {
                continue;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{}: still {now}, and not {status}: {}\n{}",
                self.kind,
                self.gateway.log(),
                self.keyfob.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}
