//! What every part of the table works on, and how it reports.

use std::{
    fmt::Display,
    mem,
    time::{Duration, Instant},
};

use keyfob_proxies::{Backend, Gateway, Kind, Places};
use keyfob_testkit::link::Link;

use crate::keyfob::Keyfob;

/// A gateway between the test and a backend.
pub(crate) struct Setup {
    pub(crate) kind: Kind,
    pub(crate) gateway: Gateway,
    pub(crate) keyfob: Keyfob,
    pub(crate) backend: Backend,
    /// Whether identities are signed, and the public key.
    pub(crate) signs: bool,
    pub(crate) identity_key: Vec<u8>,
    /// A key of `orders`.
    pub(crate) key: String,
    /// A key of `other`.
    pub(crate) other: String,
}

impl Setup {
    /// Starts everything else. Returns `None` if the gateway is not installed, unless `CI=true`.
    pub(crate) fn start(kind: Kind, keyfob: Keyfob) -> Option<Self> {
        Self::start_changed(kind, keyfob, &[])
    }

    /// The same, with changes of the gateway's configuration.
    pub(crate) fn start_changed(
        kind: Kind,
        keyfob: Keyfob,
        changes: &[(&str, &str)],
    ) -> Option<Self> {
        let backend = Backend::start();
        let places = Places {
            authorizers: keyfob.addresses(),
            backend: backend.address(),
        };
        let gateway = Gateway::start(kind, &places, changes)?;
        let key = keyfob.create("orders", "laptop");
        let other = keyfob.create("other", "laptop");
        let setup = Self {
            kind,
            gateway,
            signs: keyfob.signs(),
            identity_key: keyfob.identity_key(),
            keyfob,
            backend,
            key,
            other,
        };
        for (key, namespace) in [(&setup.key, "orders"), (&setup.other, "other")] {
            setup.await_status(key, namespace, 200);
        }
        Some(setup)
    }

    /// Runs this with another gateway, which reaches the authorizers over links, and has these changes of its
    /// configuration.
    pub(crate) fn over_links(
        &mut self,
        changes: &[(&str, &str)],
        run: impl FnOnce(&Self, &[Link; 2]),
    ) {
        let links = self.keyfob.addresses().map(Link::to);
        let places = Places {
            authorizers: links.each_ref().map(Link::address),
            backend: self.backend.address(),
        };
        let Some(gateway) = Gateway::start(self.kind, &places, changes) else {
            return;
        };
        let direct = mem::replace(&mut self.gateway, gateway);
        run(self, &links);
        self.gateway = direct;
    }
}

/// The faults that were found.
pub(crate) struct Report {
    part: &'static str,
    faults: Vec<String>,
    checks: u32,
    times: Vec<String>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            part: "",
            faults: Vec::new(),
            checks: 0,
            times: Vec::new(),
        }
    }

    /// Runs a part of the table.
    pub(crate) fn part(&mut self, name: &'static str, run: impl FnOnce(&mut Self)) {
        self.part = name;
        let began = Instant::now();
        run(self);
        self.note(format_args!(
            "{name} took {:.1} s",
            began.elapsed().as_secs_f32()
        ));
    }

    /// Records a fault unless `holds`.
    pub(crate) fn check(&mut self, holds: bool, what: impl Display) {
        self.checks += 1;
        if !holds {
            self.faults.push(format!("{}: {what}", self.part));
        }
    }

    /// Records a figure of interest.
    pub(crate) fn note(&mut self, figure: impl Display) {
        self.times.push(figure.to_string());
    }

    /// Prints the figures, and panics if there is a fault.
    #[expect(clippy::print_stdout, reason = "the figures of a test are of interest")]
    pub(crate) fn finish(self, setup: &Setup) {
        let kind = setup.kind;
        println!("{kind}: {} checks; {}", self.checks, self.times.join(", "));
        if !self.faults.is_empty() {
            let log = setup.gateway.log();
            let from = log.char_indices().rev().nth(3_000).map_or(0, |(at, _)| at);
            panic!(
                "{kind}: {} of {} checks failed\n{}\n--- the end of its log\n{}",
                self.faults.len(),
                self.checks,
                self.faults.join("\n"),
                &log[from..]
            );
        }
    }
}

/// The time limit for every step that is not a fault of its own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
