//! Gateways under load, while their authority or the way to it fails: they decide until the bound,
//! then refuse with 503, then recover by themselves, and no answer of the whole run is wrong.

pub(crate) mod witness;

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use keyfob_testkit::{
    link::{Link, Mode},
    postgres as database, process,
};

use self::witness::{Fate, Witness};
use crate::{
    gateway::Authority,
    program::{Program, id},
    server::Server,
};

/// The gateways' bound on staleness.
const BOUND: Duration = Duration::from_secs(3);
/// What clocks in whole seconds and a busy machine add to it.
const MARGIN: Duration = Duration::from_secs(4);
/// How much earlier than the bound a gateway may refuse: a bookmark comes each second, and what it signs has
/// whole seconds.
const EARLY: Duration = Duration::from_secs(2);
/// The keys that work all the time; after them come those that are revoked, and a wrong secret.
const STEADY: usize = 6;
const REVOCABLE: usize = 4;

/// An authority, a relay, and two gateways under load: one that the authority feeds, and one that the
/// relay feeds. Everything that comes from the authority takes one path.
struct Stage {
    authority: Authority,
    server: Option<Server>,
    path: Link,
    witness: Witness,
    /// Those that are not revoked yet, by their place.
    revocable: Vec<(usize, String)>,
    _gateways: [Server; 2],
    _relay: Server,
}

impl Stage {
    fn new(program: Program) -> Self {
        let authority = Authority::with(program);
        let names = (0..STEADY + REVOCABLE).map(|n| format!("key-{n}"));
        let mut keys: Vec<String> = names
            .map(|name| authority.program.create(&[&name]))
            .collect();
        let revocable = keys.iter().cloned().enumerate().skip(STEADY).collect();
        // The id of one with the secret of another.
        let (_, secret) = keys[1].split_once(':').unwrap();
        keys.push(format!("{}:{secret}", id(&keys[0])));

        let all = authority.replica_key("operators", "control:operators");
        let server = authority.serve();
        let path = Link::to(authority.feed.parse().unwrap());
        let upstream = format!("http://{}", path.address());
        let bound = format!("{}s", BOUND.as_secs());
        let follow = |command, upstream: &str| {
            let args = ["--stale-after", &bound];
            // Those who are refused are asked about too, and often.
            let program = Program::bare().with("KEYFOB_AUTH_REFUSED_PER_MINUTE", "0");
            authority.reader(&program, command, upstream, &all, &args)
        };
        let relay = follow("relay", &upstream);
        let relayed = format!("http://{}", relay.address);
        let gateways = [follow("gateway", &upstream), follow("gateway", &relayed)];
        for gateway in &gateways {
            gateway.await_auth(&keys[0], "orders", 200);
        }
        let last = keys.len() - 1;
        let fates = keys.into_iter().enumerate().map(|(n, key)| {
            let fate = if n == last { Fate::Never } else { Fate::Works };
            (key, fate)
        });
        let addresses = gateways.each_ref().map(|gateway| gateway.address);
        let witness = Witness::of(&addresses, BOUND, fates);
        Self {
            authority,
            server: Some(server),
            path,
            witness,
            revocable,
            _gateways: gateways,
            _relay: relay,
        }
    }

    /// Revokes the next key, and returns its place.
    fn revoke(&mut self) -> usize {
        let (n, key) = self.revocable.pop().expect("there are enough");
        self.witness.set(n, Fate::Ends);
        self.authority.program.done(&["keys", "revoke", id(&key)]);
        self.witness.set(n, Fate::Ended(Instant::now()));
        n
    }

    /// Both gateways decide by what they know until about the bound after the fault, and then refuse.
    fn await_refusal(&self, fault: Instant) {
        let start = Instant::now();
        for gateway in 0..2 {
            self.witness.await_acceptance(gateway);
        }
        for gateway in 0..2 {
            self.witness.await_refusal(gateway);
        }
        assert!(start.elapsed() < BOUND + MARGIN, "{:?}", start.elapsed());
        for gateway in 0..2 {
            let last = self.witness.last_accepted(gateway).expect("it did");
            let lasted = last.saturating_duration_since(fault);
            assert!(
                lasted + EARLY >= BOUND,
                "gateway {gateway} gave up {lasted:?} after the fault"
            );
        }
    }

    /// Both gateways accept calls again, and apply what is new.
    fn await_recovery(&mut self) {
        for gateway in 0..2 {
            self.witness.await_acceptance(gateway);
        }
        self.revoke();
        // Past the bound a call that passes with that key is a wrong answer.
        thread::sleep(BOUND + Duration::from_secs(2));
        for gateway in 0..2 {
            self.witness.await_acceptance(gateway);
        }
    }

    fn end(self, fault: &str) {
        let answers = self.witness.right();
        assert!(answers > 2_000, "{answers}");
        process::count(format_args!("{fault}: {answers} answers, none wrong"));
    }
}

#[test]
fn an_authority_that_is_killed() {
    let mut stage = Stage::new(Program::new());
    let fault = Instant::now();
    stage.server = None;
    stage.revoke();
    stage.await_refusal(fault);
    stage.server = Some(stage.authority.serve());
    stage.await_recovery();
    stage.end("killed");
}

#[test]
fn an_authority_that_is_stopped() {
    let mut stage = Stage::new(Program::new());
    let server = stage.server.take().unwrap();
    let fault = Instant::now();
    server.signal("-STOP");
    stage.await_refusal(fault);
    server.signal("-CONT");
    stage.revoke();
    stage.await_recovery();
    stage.end("stopped");
}

#[test]
fn an_authority_that_is_cut_off() {
    let mut stage = Stage::new(Program::new());
    let fault = Instant::now();
    stage.path.set(Mode::Silent);
    stage.revoke();
    stage.await_refusal(fault);
    stage.path.set(Mode::Open);
    stage.await_recovery();
    let fault = Instant::now();
    stage.path.set(Mode::Closed);
    stage.await_refusal(fault);
    stage.path.set(Mode::Open);
    stage.await_recovery();
    stage.end("cut off");
}

/// Somebody between the authority and the gateways alters and repeats what it sends.
#[test]
fn a_path_that_is_hostile() {
    let mut stage = Stage::new(Program::new());
    for mode in [Mode::Corrupt, Mode::Replay] {
        // Pieces that can be repeated are kept while the path carries.
        thread::sleep(Duration::from_secs(2));
        let before = stage.path.altered();
        stage.path.set(mode);
        stage.revoke();
        thread::sleep(BOUND + Duration::from_secs(2));
        assert!(stage.path.altered() > before, "{mode:?}");
        stage.path.set(Mode::Open);
        for gateway in 0..2 {
            stage.witness.await_acceptance(gateway);
        }
    }
    stage.await_recovery();
    stage.end("hostile");
}

#[test]
fn an_authority_that_is_restored_from_a_backup() {
    let mut stage = Stage::new(Program::new());
    let program = &stage.authority.program;
    program.done(&["backup", "backup.db"]);
    stage.revoke();
    thread::sleep(BOUND);
    stage.server = None;
    let program = &stage.authority.program;
    for file in ["keyfob.db", "keyfob.db-wal", "keyfob.db-shm"] {
        let _ = fs::remove_file(program.path(file));
    }
    fs::rename(program.path("backup.db"), program.path("keyfob.db")).unwrap();
    // The revocation is lost, as the documents say.
    stage.witness.set(STEADY + REVOCABLE - 1, Fate::Ends);
    // Further than before, so that the revisions tell nothing.
    program.create(&["kept"]);
    program.create(&["more"]);
    stage.server = Some(stage.authority.serve());
    stage.await_recovery();
    stage.end("restored");
}

#[test]
fn an_authority_that_fails_over_to_an_older_standby() {
    database::run(async {
        let (primary, standby, _database, url) = crate::postgres::cluster().await;
        let program = Program::new().with("KEYFOB_STORE", &url);
        // A stage blocks its thread.
        let mut stage = tokio::task::block_in_place(|| Stage::new(program));
        let all = "replay_lsn >= pg_current_wal_flush_lsn()";
        primary.await_replication(all).await;
        standby.cut_off().await;
        tokio::task::block_in_place(|| {
            // The standby does not get it, and it is lost, as the documents say.
            let lost = stage.revoke();
            thread::sleep(BOUND);
            stage.witness.set(lost, Fate::Ends);
            primary.down("immediate");
            standby.promote();
            let server = stage.server.take().unwrap();
            let (code, log) = server.ended();
            assert_eq!(code, Some(5), "{log}");
            stage.server = Some(stage.authority.serve());
            stage.await_recovery();
            stage.end("failed over");
        });
    });
}
