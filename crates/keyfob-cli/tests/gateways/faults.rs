//! Authorizers that are stopped, slow, killed and restarted: nothing passes that is not judged, the
//! client is answered 503 in bounded time, and calls pass again afterwards.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use keyfob_proxies::{Connection, Kind};

use crate::{
    calls::{basic, path, request},
    keyfob::id,
    setup::{PATIENCE, Report, Setup},
};

/// The longest time for an answer while authorizers are silent: see docs/gateways.md.
const LONGEST: Duration = Duration::from_secs(9);
/// The longest time until calls pass again.
const RECOVERY: Duration = Duration::from_secs(8);

/// What a busy machine adds to these times.
const MARGIN: Duration = Duration::from_millis(1_500);
/// For longer than this no gateway leaves out an authorizer that works.
const LEFT_OUT: Duration = Duration::from_millis(2_500);
/// Calls that wait during a pause.
const WAITING: usize = 4;

pub(crate) fn run(setup: &mut Setup, report: &mut Report) {
    // Until both answer, if they were without a feed before.
    thread::sleep(2 * LEFT_OUT);
    setup.keyfob.signal(0, "-STOP");
    failover(setup, report, "one is stopped", Fault::Silent);
    setup.keyfob.signal(1, "-STOP");
    unavailable(setup, report, "both are stopped");
    for which in [0, 1] {
        setup.keyfob.signal(which, "-CONT");
    }
    recovers(setup, report, "they go on");
    paused(setup, report);
    recovers(setup, report, "they go on again");
    restarted(setup, report);

    setup.keyfob.kill(0);
    failover(setup, report, "one is killed", Fault::Killed);
    setup.keyfob.kill(1);
    unavailable(setup, report, "both are killed");
    setup.keyfob.serve(1);
    recovers(setup, report, "the second is started again");
    setup.keyfob.serve(0);
    recovers(setup, report, "the first is started again");
    // Until every gateway asks the first one again.
    thread::sleep(LEFT_OUT);
    setup.keyfob.kill(1);
    failover(setup, report, "the second is killed", Fault::Killed);
}

/// Sends a call, which takes bounded time, and returns its status.
pub(crate) fn timed(setup: &Setup, report: &mut Report, what: &str, credential: &str) -> u16 {
    let began = Instant::now();
    let outcome = setup.call("GET", &path("orders"), &[&basic(credential)]);
    let took = began.elapsed();
    report.check(
        took < LONGEST,
        format_args!("{what}: an answer after {took:?}"),
    );
    let Ok(outcome) = outcome else {
        report.check(false, format_args!("{what}: no answer after {took:?}"));
        return 0;
    };
    if outcome.status() == 503 {
        let retry = outcome.answer.field("retry-after");
        // Traefik's and Envoy's own answers have none.
        let tells = matches!(setup.kind, Kind::Nginx | Kind::Caddy | Kind::Haproxy);
        let says = retry.is_some() || !tells;
        report.check(says, format_args!("{what}: 503 without Retry-After"));
    }
    outcome.status()
}

/// What is wrong with one of the authorizers.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// It accepts connections, and answers nothing in time.
    Silent,
    /// It is gone.
    Killed,
}

impl Fault {
    /// The longest call meanwhile: see docs/gateways.md.
    fn longest(self, kind: Kind) -> Duration {
        Duration::from_secs(match (self, kind) {
            (Self::Silent, _) => 1,
            (Self::Killed, Kind::Haproxy) => 3,
            (Self::Killed, _) => 0,
        })
    }
}

/// With one authorizer all calls are judged, some of them later.
pub(crate) fn failover(setup: &Setup, report: &mut Report, what: &str, fault: Fault) {
    let began = Instant::now();
    let (mut good, mut lost, mut longest) = (0, 0, Duration::ZERO);
    while good < 8 && began.elapsed() < RECOVERY {
        let asked = Instant::now();
        let status = timed(setup, report, what, &setup.key);
        longest = longest.max(asked.elapsed());
        good = if status == 200 { good + 1 } else { 0 };
        lost += usize::from(status != 200);
    }
    let figures = format!(
        "{what}: {lost} lost, the longest {} ms",
        longest.as_millis()
    );
    report.note(&figures);
    let in_time = longest < fault.longest(setup.kind) + MARGIN;
    report.check(good == 8 && lost == 0 && in_time, &figures);
    let refused = timed(setup, report, what, &setup.other);
    report.check(
        matches!(refused, 401 | 403 | 503),
        format_args!("{what}: another's key: {refused}"),
    );
}

/// Without an authorizer every call is answered 503.
pub(crate) fn unavailable(setup: &Setup, report: &mut Report, what: &str) {
    let before = setup.backend.count();
    let results: Vec<(Result<u16, String>, Duration)> = thread::scope(|scope| {
        let calls: Vec<_> = [&setup.key, &setup.other, &setup.key]
            .into_iter()
            .map(|key| {
                scope.spawn(move || {
                    let began = Instant::now();
                    let call = || setup.call("GET", &path("orders"), &[&basic(key)]);
                    // A connection can break at the very moment, on a busy machine.
                    let status = call().or_else(|_| call()).map(|outcome| outcome.status());
                    (status.map_err(|error| error.to_string()), began.elapsed())
                })
            })
            .collect();
        calls
            .into_iter()
            .map(|call| call.join().expect("an answer"))
            .collect()
    });
    for (status, took) in results {
        report.check(
            status == Ok(503),
            format_args!("{what}: {status:?} after {took:?}"),
        );
        report.check(
            took < LONGEST,
            format_args!("{what}: an answer after {took:?}"),
        );
    }
    report.check(
        setup.backend.count() == before,
        format_args!("{what}: a call passed"),
    );
}

/// Both are stopped at once, so that calls wait for an answer. None that waits while its key is revoked passes
/// when they go on.
fn paused(setup: &Setup, report: &mut Report) {
    let key = setup.keyfob.create("orders", "paused");
    setup.await_status(&key, "orders", 200);
    // Until every gateway asks both again.
    thread::sleep(LEFT_OUT);
    let before = setup.backend.count();
    for which in [0, 1] {
        setup.keyfob.signal(which, "-STOP");
    }
    let key = &key;
    let (continued, calls) = thread::scope(|scope| {
        let calls: Vec<_> = (0..WAITING)
            .map(|_| {
                scope.spawn(move || {
                    let outcome = setup.call("GET", &path("orders"), &[&basic(key)]);
                    (
                        outcome.map_or(0, |outcome| outcome.status()),
                        Instant::now(),
                    )
                })
            })
            .collect();
        setup.keyfob.run(&["keys", "revoke", id(key)]);
        let continued = Instant::now();
        for which in [0, 1] {
            setup.keyfob.signal(which, "-CONT");
        }
        let calls = calls.into_iter().map(|call| call.join().expect("a status"));
        (continued, calls.collect::<Vec<_>>())
    });
    let waited = calls.iter().filter(|(_, ended)| *ended > continued).count();
    report.note(format_args!("{waited} calls waited during a pause"));
    report.check(waited > 0, "no call waited during a pause");
    for (status, _) in calls {
        report.check(
            matches!(status, 401 | 503),
            format_args!("revoked during a pause: {status}"),
        );
    }
    report.check(
        setup.backend.count() == before,
        "a call passed that waited while its key was revoked",
    );
}

/// Each is restarted in turn, as for a new version. On a busy machine, a call that is under way may be lost.
fn restarted(setup: &mut Setup, report: &mut Report) {
    thread::sleep(LEFT_OUT);
    let stop = AtomicBool::new(false);
    let Setup {
        keyfob,
        gateway,
        key,
        ..
    } = setup;
    let field = basic(key);
    let statuses = thread::scope(|scope| {
        let calls = scope.spawn(|| {
            let bytes = request("GET", &path("orders"), &[&field, "Connection: close"]);
            let mut statuses = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let answer = Connection::open(gateway.address(), PATIENCE).and_then(|mut one| {
                    one.send(&bytes)?;
                    one.response(false)
                });
                statuses.push(answer.map_or(0, |answer| answer.status));
                thread::sleep(Duration::from_millis(5));
            }
            statuses
        });
        for which in [0, 1] {
            keyfob.stop(which);
            keyfob.serve(which);
            thread::sleep(LEFT_OUT);
        }
        stop.store(true, Ordering::Relaxed);
        calls.join().expect("the statuses")
    });
    let lost = statuses.iter().filter(|status| **status != 200).count();
    let all = statuses.len();
    report.note(format_args!(
        "restarted in turn: {lost} of {all} calls lost"
    ));
    report.check(
        all >= 50 && lost * 50 <= all,
        format_args!("restarted in turn: {lost} of {all} calls lost: {statuses:?}"),
    );
}

pub(crate) fn recovers(setup: &Setup, report: &mut Report, what: &str) {
    let took = setup.await_status(&setup.key, "orders", 200);
    report.note(format_args!("{what}: {} ms", took.as_millis()));
    report.check(
        took < RECOVERY,
        format_args!("{what}: calls pass after {took:?}"),
    );
    let refused = timed(setup, report, what, &setup.other);
    report.check(
        matches!(refused, 401 | 403 | 503),
        format_args!("{what}: {refused}"),
    );
}
