//! A run: who there is, what happens in each step, and the end without faults.

use std::fmt;

use clap::ValueEnum;
use keyfob_feed::SKEW_MS;

use crate::{
    authority::Authority,
    broker::Broker,
    bug::Bug,
    clock::{Machine, START},
    context::Context,
    model::Scope,
    network::{Envelope, Node, Weather},
    oracle::{Invariant, Violation},
    random::Rng,
    relay::{Hostile, Relay},
    replica::Replica,
};

/// What a run is made from.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// How many steps there are with faults.
    pub steps: u64,
    /// The planted bug.
    pub bug: Option<Bug>,
    /// Only this invariant is checked.
    pub only: Option<Invariant>,
}

impl Settings {
    /// The default of [`Settings::steps`].
    pub const STEPS: u64 = 100;
    /// How many steps without faults follow, within which every replica must become ready.
    pub const HEALING_STEPS: u64 = 50;

    /// Runs of this many steps.
    pub fn new(steps: u64) -> Self {
        Self {
            steps,
            bug: None,
            only: None,
        }
    }

    /// Plants a bug.
    #[must_use]
    pub fn with_bug(mut self, bug: Bug) -> Self {
        self.bug = Some(bug);
        self
    }

    /// Checks one invariant, and no other.
    #[must_use]
    pub fn with_only(mut self, invariant: Invariant) -> Self {
        self.only = Some(invariant);
        self
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new(Self::STEPS)
    }
}

/// A run that violated an invariant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The step, from one.
    pub step: u64,
    /// What does not hold.
    pub violation: Violation,
    /// What was played.
    pub settings: Settings,
    /// The last events, if a trace was wanted.
    pub trace: Vec<String>,
}

/// The last events, what does not hold, and the command that replays it.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.trace {
            writeln!(f, "{event}")?;
        }
        let Self {
            seed,
            step,
            violation,
            settings,
            ..
        } = self;
        let Violation { invariant, text } = violation;
        writeln!(f, "seed {seed}, step {step}: {invariant:?} does not hold")?;
        writeln!(f, "{text}")?;
        write!(
            f,
            "replay: cargo run -p keyfob-simulation -- --seed {seed} --trace"
        )?;
        if settings.steps != Settings::STEPS {
            write!(f, " --steps {}", settings.steps)?;
        }
        if let Some(bug) = settings.bug.and_then(|bug| bug.to_possible_value()) {
            write!(f, " --bug {}", bug.get_name())?;
        }
        if let Some(only) = settings.only.and_then(|only| only.to_possible_value()) {
            write!(f, " --only {}", only.get_name())?;
        }
        Ok(())
    }
}

/// What happened in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// How many revisions the store got.
    pub revisions: u64,
    /// How many verdicts were compared with the model.
    pub verdicts: u64,
    /// How many of them accepted a credential.
    pub accepted: u64,
    /// How many lines and snapshots replicas applied.
    pub applied: u64,
}

/// Plays one seed. Returns what happened and, if a trace is wanted, the last events.
///
/// # Errors
///
/// [`Failure`] if an invariant does not hold.
pub fn run(
    seed: u64,
    settings: &Settings,
    traced: bool,
) -> Result<(Summary, Vec<String>), Box<Failure>> {
    let mut world = World::new(seed, settings, traced);
    let mut step = 0;
    let faulty = (1..=settings.steps).map(|step| (step, false));
    let healing = (1..=Settings::HEALING_STEPS).map(|step| (settings.steps + step, true));
    for (number, healed) in faulty.chain(healing) {
        step = number;
        world.context.begin_step(step);
        if healed && !world.context.healed {
            world.heal();
        }
        // In the last steps there are no calls, so that all usage is reported.
        let left = settings.steps + Settings::HEALING_STEPS - step;
        world.step(left < Settings::HEALING_STEPS / 3);
        if world.context.oracle.violation().is_some() {
            break;
        }
    }
    world.finish();
    match world.context.oracle.violation().cloned() {
        None => Ok((world.context.oracle.summary(), world.context.take_trace())),
        Some(violation) => Err(Box::new(Failure {
            seed,
            step,
            violation,
            settings: *settings,
            trace: world.context.take_trace(),
        })),
    }
}

struct World {
    context: Context,
    authority: Authority,
    broker: Broker,
    relays: Vec<Relay>,
    replicas: Vec<Replica>,
    /// Whether each replica was ready and had everything at some time after the faults.
    arrived: Vec<bool>,
    moods: Moods,
}

/// What kinds of faults a run has.
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
struct Moods {
    network: bool,
    clocks: bool,
    crashes: bool,
    failover: bool,
    rotation: bool,
    /// Signers are replaced as fast as readers know of them.
    hasty: bool,
    /// Clocks stay within the allowance.
    mild: bool,
}

impl World {
    /// No clock is further off than this, so that two of them differ by the allowance at most.
    const MILD_MS: i64 = 1_000;

    fn new(seed: u64, settings: &Settings, traced: bool) -> Self {
        let rng = Rng::new(seed);
        let mut context = Context::new(START, rng, settings, traced);
        let rng = &mut context.rng;
        let moods = Moods {
            network: rng.chance(70),
            clocks: rng.chance(50),
            crashes: rng.chance(60),
            failover: rng.chance(30),
            rotation: rng.chance(40),
            mild: rng.chance(50),
            // Of a generator of its own, so that the other runs are what they were without it.
            hasty: Rng::new(!seed).chance(40),
        };
        let (processes, relays, replicas) = (1 + rng.index(2), rng.index(3), 2 + rng.index(2));
        let hostile = (relays > 0 && rng.chance(60)).then(|| rng.index(relays));
        let mut authority = Authority::new(&mut context, processes);
        authority.furnish(&mut context);
        let origins: Vec<Node> = (0..processes).map(Node::Authority).collect();
        let rng = &mut context.rng;
        // One that only lags gives no other reason to turn away from it.
        let broker = match rng.below(10) {
            0..=2 => Broker::hostile(rng.within(10, 60), 0),
            3 => Broker::hostile(0, rng.within(3_500, 6_000)),
            _ => Broker::default(),
        };
        let mut world = Self {
            broker,
            relays: Vec::new(),
            replicas: Vec::new(),
            arrived: vec![false; replicas],
            moods,
            authority,
            context,
        };
        for n in 0..relays {
            let machine = Machine::new(world.context.rng.around(900), START);
            let mut upstreams = origins.clone();
            if n > 0 && world.context.rng.chance(30) {
                upstreams = vec![Node::Relay(0)];
                upstreams.extend(origins.first());
            }
            let (trust, _) = world.authority.pins();
            let mut relay = Relay::new(n, machine, upstreams, trust);
            if hostile == Some(n) {
                let rng = &mut world.context.rng;
                // One that only lags gives no other reason to turn away from it.
                let (zeal, lag) = if rng.chance(25) {
                    (0, rng.within(3_500, 6_000))
                } else {
                    (rng.within(5, 40), 0)
                };
                relay.hostile = Some(Hostile::new(zeal, lag));
            } else {
                relay.has_broker = world.context.rng.chance(50);
            }
            world.relays.push(relay);
        }
        for n in 0..replicas {
            let rng = &mut world.context.rng;
            let machine = Machine::new(rng.around(900), START);
            let scope = Scope::numbered(rng.below(8));
            let mut upstreams: Vec<Node> = (0..relays).map(Node::Relay).collect();
            upstreams.extend(&origins);
            while upstreams.len() > 1 + rng.index(2) {
                upstreams.remove(rng.index(upstreams.len()));
            }
            if rng.chance(50) {
                upstreams.reverse();
            }
            let mut replica = Replica::new(n, machine, scope, upstreams);
            let pins = world.authority.pins();
            replica.start(&mut world.context, pins);
            world.replicas.push(replica);
        }
        world
    }

    /// Time passes, what is due arrives, everybody does what timers make them do, and something
    /// happens.
    fn step(&mut self, is_last: bool) {
        let until = self.context.now + 30 + self.context.rng.below(500);
        while let Some((at, envelope)) = self.context.network.arrival(until) {
            self.context.now = self.context.now.max(at);
            self.deliver(envelope);
        }
        self.context.now = until;
        let has_broker = self.relays.iter().any(|relay| relay.has_broker);
        for n in 0..self.authority.processes.len() {
            self.authority.tick(&mut self.context, n, has_broker);
        }
        for relay in &mut self.relays {
            relay.tick(&mut self.context);
        }
        for n in 0..self.replicas.len() {
            if self.replicas[n]
                .down_until
                .is_some_and(|until| until <= self.context.now)
            {
                let pins = self.authority.pins();
                self.replicas[n].start(&mut self.context, pins);
            }
            self.replicas[n].tick(&mut self.context);
        }
        if !is_last {
            for _ in 0..3 {
                self.call();
            }
        }
        let swept = self.context.rng.index(self.replicas.len());
        self.replicas[swept].sweep(&mut self.context);
        if self.context.healed {
            self.arrive();
        } else {
            if self.context.rng.chance(35) {
                self.authority.change(&mut self.context);
            }
            self.fault();
        }
        self.rotate();
        self.authority.check_usage(&mut self.context, false);
    }

    fn deliver(&mut self, envelope: Envelope) {
        let Envelope {
            from,
            to,
            call,
            message,
        } = envelope;
        let context = &mut self.context;
        match to {
            Node::Authority(n) => self.authority.receive(context, n, from, call, message),
            Node::Relay(n) => self.relays[n].receive(context, from, call, message),
            Node::Replica(n) => self.replicas[n].receive(context, from, call, message),
            Node::Broker => {
                let relays = self.relays.iter().enumerate();
                let relays = relays.filter(|(_, relay)| relay.has_broker);
                let relays: Vec<usize> = relays.map(|(n, _)| n).collect();
                self.broker.receive(context, &relays, from, call, message);
            }
        }
    }

    /// A client calls a gateway.
    fn call(&mut self) {
        let rng = &mut self.context.rng;
        let replica = rng.index(self.replicas.len());
        let credential = rng.index(self.context.oracle.credentials.len().max(1));
        if credential < self.context.oracle.credentials.len() {
            self.replicas[replica].call(&mut self.context, credential);
        }
    }

    fn any_node(&mut self) -> Node {
        let rng = &mut self.context.rng;
        let (processes, relays) = (self.authority.processes.len(), self.relays.len());
        let n = rng.index(processes + relays + self.replicas.len());
        if n < processes {
            Node::Authority(n)
        } else if n < processes + relays {
            Node::Relay(n - processes)
        } else {
            Node::Replica(n - processes - relays)
        }
    }

    fn machine(&mut self, node: Node) -> &mut Machine {
        match node {
            Node::Authority(n) => &mut self.authority.processes[n].machine,
            Node::Relay(n) => &mut self.relays[n].machine,
            Node::Replica(n) => &mut self.replicas[n].machine,
            Node::Broker => unreachable!("it has no clock that matters"),
        }
    }

    fn fault(&mut self) {
        match self.context.rng.below(16) {
            0 | 1 if self.moods.network => self.change_weather(),
            2 | 3 if self.moods.network => {
                let (a, b) = (self.any_node(), self.any_node());
                self.context
                    .note(|| format!("no messages between {a:?} and {b:?}"));
                self.context.network.cut_between(a, b);
            }
            4 if self.moods.network => self.context.network.cut.clear(),
            11 if self.moods.network => {
                let node = self.any_node();
                self.context
                    .note(|| format!("no messages between {node:?} and the broker"));
                self.context.network.cut_between(node, Node::Broker);
            }
            12 if self.moods.crashes => {
                self.context.note(|| "the broker is paused".to_owned());
                self.broker.paused_until = self.context.now + self.context.rng.below(8_000);
            }
            5 if self.moods.clocks => self.set_clock(),
            6 if self.moods.crashes => self.crash_replica(),
            7 if self.moods.crashes => self.pause(),
            8 if self.moods.crashes => {
                let n = self.context.rng.index(self.authority.processes.len());
                self.authority.restart(&mut self.context, n);
            }
            9 if self.moods.crashes && !self.relays.is_empty() => {
                let n = self.context.rng.index(self.relays.len());
                let (trust, _) = self.authority.pins();
                self.context.note(|| format!("relay {n} restarts"));
                self.relays[n].restart(trust);
            }
            10 if self.moods.failover && self.context.rng.chance(40) => {
                let lost = self.context.rng.below(8);
                let kept = self.authority.fail_over(&mut self.context, lost);
                for replica in &mut self.replicas {
                    replica.shadow.forget_refusals_after(kept);
                }
            }
            _ => {}
        }
    }

    fn change_weather(&mut self) {
        let rng = &mut self.context.rng;
        let mut percent = |most: u64| {
            if rng.chance(50) { 0 } else { rng.below(most) }
        };
        let weather = Weather {
            loss: percent(30),
            repeats: percent(30),
            reorders: percent(30),
            delay: percent(1_500),
        };
        self.context.note(|| format!("{weather:?}"));
        self.context.network.weather = weather;
    }

    fn set_clock(&mut self) {
        let node = self.any_node();
        let is_authority = matches!(node, Node::Authority(_));
        let most = match (self.moods.mild, is_authority) {
            (true, _) => Self::MILD_MS,
            (false, true) => 6_000,
            (false, false) => 20_000,
        };
        let error = self.context.rng.around(most);
        self.context
            .note(|| format!("the clock of {node:?} is off by {error} ms"));
        self.machine(node).error = error;
    }

    fn crash_replica(&mut self) {
        let n = self.context.rng.index(self.replicas.len());
        let replica = &mut self.replicas[n];
        if !replica.is_up() {
            return;
        }
        match self.context.rng.below(4) {
            0 => replica.lose_power(&mut self.context),
            1 => {
                replica.kill(&mut self.context);
                replica.lose_disk();
            }
            _ => replica.kill(&mut self.context),
        }
        replica.down_until = Some(self.context.now + self.context.rng.below(5_000));
    }

    fn pause(&mut self) {
        let until = self.context.now + self.context.rng.below(5_000);
        let node = self.any_node();
        self.context.note(|| format!("{node:?} is paused"));
        match node {
            Node::Authority(n) => self.authority.processes[n].paused_until = until,
            Node::Relay(n) => self.relays[n].paused_until = until,
            Node::Replica(n) => self.replicas[n].paused_until = until,
            Node::Broker => {}
        }
    }

    /// Goes on with the rotation of the signer.
    fn rotate(&mut self) {
        let version = self.authority.signers_version();
        let (deploys, goes_on) = if self.moods.hasty { (70, 50) } else { (20, 10) };
        for n in 0..self.authority.processes.len() {
            // The file of keys is deployed to one process after the other.
            let behind = self.authority.processes[n].signers_version() < version;
            if behind && self.context.rng.chance(deploys) {
                self.authority.restart(&mut self.context, n);
            }
        }
        if !self.moods.rotation || !self.context.rng.chance(goes_on) || self.context.healed {
            return;
        }
        let replicas = self
            .replicas
            .iter()
            .map(|replica| replica.signers().unwrap_or(0));
        let relays = self.relays.iter().filter_map(Relay::signers);
        let known = replicas.chain(relays).min().unwrap_or(0);
        self.authority.rotate_signer(&mut self.context, known);
        let is_useless = |stolen: &mut (_, u64)| known >= stolen.1;
        if let Some((keys, _)) = self.authority.stolen.take_if(is_useless) {
            let standby = self.authority.standby();
            for relay in &mut self.relays {
                relay.steal(&keys, standby.clone());
            }
        }
    }

    /// All faults are over. A hostile relay stays what it is.
    fn heal(&mut self) {
        let context = &mut self.context;
        context.healed = true;
        context.note(|| "the faults are over".to_owned());
        context.network.heal();
        for process in &mut self.authority.processes {
            process.paused_until = 0;
            process.machine.error = context.rng.around(Self::MILD_MS);
        }
        self.broker.paused_until = 0;
        for relay in &mut self.relays {
            relay.paused_until = 0;
            relay.machine.error = context.rng.around(Self::MILD_MS);
        }
        for replica in &mut self.replicas {
            replica.paused_until = 0;
            replica.machine.error = context.rng.around(Self::MILD_MS);
        }
    }

    /// Notes which replicas are ready and have everything.
    fn arrive(&mut self) {
        for (replica, arrived) in self.replicas.iter_mut().zip(&mut self.arrived) {
            let latest = replica
                .position()
                .is_some_and(|at| self.context.oracle.is_latest(at));
            *arrived |= latest && replica.is_ready(&self.context);
        }
    }

    fn is_honest(&self, node: Node) -> bool {
        match node {
            Node::Relay(n) => {
                self.relays[n].hostile.is_none()
                    && self.relays[n]
                        .upstreams
                        .iter()
                        .any(|node| self.is_honest(*node))
            }
            _ => true,
        }
    }

    fn finish(&mut self) {
        for (n, replica) in self.replicas.iter().enumerate() {
            if self.context.oracle.violation().is_some() {
                return;
            }
            let honest = replica
                .upstreams
                .iter()
                .filter(|node| self.is_honest(**node))
                .count();
            if honest > 0 && !self.arrived[n] && !replica.is_captured() {
                let text = format!("{} is not ready", replica.name);
                self.context
                    .oracle
                    .violate(Invariant::ReadyAfterFaults, || text);
            }
            if honest == replica.upstreams.len() && !replica.has_reported() {
                let text = format!("{} could not report its usage", replica.name);
                self.context
                    .oracle
                    .violate(Invariant::UsageCountsOnce, || text);
            }
        }
        for replica in &mut self.replicas {
            // What was counted in the last moments is not yet reported.
            replica.kill(&mut self.context);
        }
        self.authority.check_usage(&mut self.context, true);
        self.authority.check_usage_days(&mut self.context);
    }
}

/// The allowance between any two clocks that are right.
const _: () = assert!(2 * World::MILD_MS as u64 <= SKEW_MS);
