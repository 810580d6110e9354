//! What is measured for a row.

use std::time::{Duration, Instant};

use keyfob::{IssuedKey, KeyId, Keyring};
use keyfob_feed::Filter;
use keyfob_nats::Publication;
use keyfob_sqlite::SqliteStore;
use keyfob_testkit::nats;
use tokio::time::sleep;

use crate::{
    authority::{Fed, revoke},
    process::{Process, nanos},
    relay::{RelayProcess, connect},
    replicas,
};

pub(crate) struct Case {
    replicas: usize,
    /// Whether the replicas verify all the time.
    busy: bool,
    pub(crate) through: Through,
    cut: Cut,
    /// It has this part of the revocations.
    pub(crate) share: usize,
}

/// How a revocation comes to the replicas.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Through {
    Authority,
    /// Another process writes to the store; the authority's polls it.
    OtherProcess,
    /// The replicas read from one of two relays.
    Relays,
    /// The replicas read from two relays that NATS feeds.
    Nats,
}

/// What is cut just before each revocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Nothing,
    /// All connections to the authority are closed; it serves on.
    Streams,
    /// The relay from which the replicas read is killed.
    Relay,
}

impl Case {
    pub(crate) const fn of(replicas: usize) -> Self {
        Self {
            replicas,
            busy: false,
            through: Through::Authority,
            cut: Cut::Nothing,
            share: 1,
        }
    }

    pub(crate) const fn busy(mut self) -> Self {
        self.busy = true;
        self
    }

    pub(crate) const fn through(mut self, through: Through) -> Self {
        self.through = through;
        self
    }

    pub(crate) const fn cut(mut self, cut: Cut) -> Self {
        self.cut = cut;
        self
    }

    pub(crate) const fn every(mut self, share: usize) -> Self {
        self.share = share;
        self
    }

    pub(crate) fn name(&self) -> String {
        let replicas = match self.replicas {
            1 => "1 replica".to_owned(),
            many => format!("{many} replicas"),
        };
        let through = match self.through {
            Through::Authority => "",
            Through::OtherProcess => ", revoked by another process",
            Through::Relays => ", two relays",
            Through::Nats => ", NATS and two relays",
        };
        let cut = match self.cut {
            Cut::Nothing => "",
            Cut::Streams => ", all streams cut just before",
            Cut::Relay => ", theirs killed just before",
        };
        let busy = if self.busy {
            ", while they verify all the time"
        } else {
            ""
        };
        format!("{replicas}{through}{cut}{busy}")
    }

    /// Measures this number of revocations. Returns their times, and how many of them came when a relay
    /// was fed over HTTP because it had fallen out of step with NATS.
    pub(crate) async fn measure(&self, times: usize) -> (Vec<Duration>, usize) {
        let mut setting = Setting::of(self).await;
        let (mut measured, mut out_of_step) = (Vec::with_capacity(times), 0);
        let (mut keys, mut told) = (Vec::new(), Instant::now());
        while measured.len() < times {
            if told.elapsed() >= TELL_EVERY {
                eprintln!("{}: {} of {times}", self.name(), measured.len());
                told = Instant::now();
            }
            if keys.is_empty() {
                let done = measured.len();
                for number in done..times.min(done + KEYS_AT_ONCE) {
                    keys.push(setting.fed.create(number).await);
                }
            }
            let (id, key) = keys.pop().expect("there are keys");
            measured.push(setting.revocation(self.cut, id, &key).await);
            out_of_step += usize::from(!setting.is_fed());
        }
        assert!(out_of_step < times.div_ceil(10), "NATS fed the relays");
        (measured, out_of_step)
    }
}

/// The processes of a row.
struct Setting {
    fed: Fed,
    /// The keyring that revokes, if it is another one.
    other: Option<Keyring>,
    relays: Vec<RelayProcess>,
    /// The relay from which the replicas read.
    read: usize,
    fleet: Process,
    nats: Option<(nats::Server, Publication)>,
    // Removed after all that uses it.
    _folder: tempfile::TempDir,
}

impl Setting {
    async fn of(case: &Case) -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let path = folder.path().join("keyfob.db");
        let open = || SqliteStore::open(&path).expect("the file can be opened");
        let fed = Fed::over(open()).await;
        let (_, steady) = fed.create(usize::MAX).await;
        let mut other = None;
        if case.through == Through::OtherProcess {
            // Another store over the file tells this one of its commits no more than another process does.
            let keyring = Keyring::open(open(), "acme").await;
            other = Some(keyring.expect("the keyring can be opened"));
        }
        let mut nats = None;
        if case.through == Through::Nats {
            let server = nats::Server::start("nats-1", "");
            let broker = connect(&server.url()).await;
            let publication = broker.publish(fed.authority.hub(), [Filter::All]);
            nats = Some((server, publication.expect("everything is carried")));
        }
        let mut relays = Vec::new();
        if matches!(case.through, Through::Relays | Through::Nats) {
            for _ in 0..2 {
                let url = nats.as_ref().map(|(server, _)| server.url());
                relays.push(RelayProcess::start(&fed, url).await);
            }
        }
        let upstreams = if relays.is_empty() {
            fed.upstream.clone()
        } else {
            let upstreams: Vec<_> = relays.iter().map(RelayProcess::upstream).collect();
            upstreams.join(",")
        };
        let mut arguments = vec![case.replicas.to_string(), fed.signers.clone(), upstreams];
        if case.cut != Cut::Relay {
            arguments.push("spread".to_owned());
        }
        let mut fleet = Process::start(replicas::ROLE, &arguments);
        assert_eq!(fleet.next().await, "ready");
        if case.busy {
            fleet.tell(&format!("load {}", steady.expose()));
        }
        let mut setting = Self {
            fed,
            other,
            relays,
            read: 0,
            fleet,
            nats,
            _folder: folder,
        };
        while !setting.is_fed() {
            sleep(Duration::from_millis(10)).await;
        }
        setting
    }

    /// Whether the relays are fed as they should be since this was asked last.
    fn is_fed(&mut self) -> bool {
        // Each of them is asked.
        let relays = self.relays.iter_mut().map(RelayProcess::is_in_step);
        let in_step = relays.fold(true, |all, relay| all & relay);
        in_step || self.nats.is_none()
    }

    /// Revokes a key, and returns the time from the answer to the last refusal.
    async fn revocation(&mut self, cut: Cut, id: KeyId, key: &IssuedKey) -> Duration {
        self.fleet.tell(&format!("watch {}", key.expose()));
        assert_eq!(self.fleet.next().await, "accepted");
        match cut {
            Cut::Nothing => {}
            Cut::Streams => self.fed.cut().await,
            Cut::Relay => self.relays[self.read].kill(),
        }
        let keyring = self.other.as_ref();
        revoke(keyring.unwrap_or(&self.fed.keyring), id).await;
        let answered = nanos();
        let refused = self.fleet.next().await;
        let refused = refused.strip_prefix("refused ");
        let refused: u64 = refused
            .and_then(|nanos| nanos.parse().ok())
            .expect("it tells the time");
        if cut == Cut::Relay {
            self.relays[self.read].restart().await;
            self.read = (self.read + 1) % self.relays.len();
        }
        Duration::from_nanos(refused.saturating_sub(answered))
    }
}

/// How many keys are created before they are revoked.
const KEYS_AT_ONCE: usize = 100;
const TELL_EVERY: Duration = Duration::from_secs(10);
