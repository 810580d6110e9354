//! Authorizers that lose what feeds them: they decide until what they know is too old, then every call
//! is answered 503, and calls are judged again when the feed is back.

use std::time::{Duration, Instant};

use crate::{
    faults::{recovers, timed, unavailable},
    keyfob::{STALE_AFTER, id},
    setup::{Report, Setup},
};

/// What clocks in whole seconds, the gateway's own limits and a busy machine add to the bound.
const MARGIN: Duration = Duration::from_secs(4);

pub(crate) fn run(setup: &mut Setup, report: &mut Report) {
    let doomed = setup.keyfob.create("orders", "doomed");
    setup.await_status(&doomed, "orders", 200);
    setup.keyfob.kill_feed();
    let cut = Instant::now();
    still_decides(setup, report, "the feed is down");
    setup.keyfob.run(&["keys", "revoke", id(&doomed)]);
    goes_stale(setup, report, "the feed is down", cut);
    setup.keyfob.serve_feed();
    recovers(setup, report, "the feed is up again");
    let revoked = setup.status(&doomed, "orders");
    report.check(
        revoked == 401,
        format_args!("a key that was revoked while the feed was down: {revoked}"),
    );

    setup.keyfob.signal_feed("-STOP");
    let cut = Instant::now();
    still_decides(setup, report, "the feed is stopped");
    goes_stale(setup, report, "the feed is stopped", cut);
    setup.keyfob.signal_feed("-CONT");
    recovers(setup, report, "the feed goes on");
}

/// What is known is young enough to decide by.
fn still_decides(setup: &Setup, report: &mut Report, what: &str) {
    for (key, expected) in [(&setup.key, 200), (&setup.other, 403)] {
        let status = timed(setup, report, what, key);
        report.check(status == expected, format_args!("{what}: {status}"));
    }
}

/// Every call is answered 503, from the bound on.
fn goes_stale(setup: &Setup, report: &mut Report, what: &str, cut: Instant) {
    setup.await_status(&setup.key, "orders", 503);
    let took = cut.elapsed();
    report.note(format_args!("{what}: 503 after {} ms", took.as_millis()));
    report.check(
        took < STALE_AFTER + MARGIN,
        format_args!("{what}: calls passed for {took:?}"),
    );
    unavailable(setup, report, what);
}
