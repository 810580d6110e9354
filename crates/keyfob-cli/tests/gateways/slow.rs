//! Authorizers that answer late: within the gateway's time limit calls are judged, beyond it they are
//! answered 503, and no answer is taken for that to another call.

use std::time::{Duration, Instant};

use keyfob_proxies::Kind;
use keyfob_testkit::link::Link;

use crate::{
    calls::{basic, path},
    faults::{Fault, failover, unavailable},
    identity::is_of_key,
    keyfob::wrong_secret,
    setup::{Report, Setup},
};

/// How late an answer may be, for each gateway: see docs/gateways.md.
fn within(kind: Kind) -> Duration {
    match kind {
        Kind::Haproxy => Duration::from_millis(100),
        _ => Duration::from_millis(400),
    }
}

/// Later than any gateway waits, for all that it tries.
const BEYOND: Duration = Duration::from_millis(2_500);

pub(crate) fn run(setup: &mut Setup, report: &mut Report) {
    setup.over_links(&[], |setup, links| {
        within_the_limit(setup, report, links);
        beyond_the_limit(setup, report, links);
    });
}

fn within_the_limit(setup: &Setup, report: &mut Report, links: &[Link]) {
    let delay = within(setup.kind);
    for link in links {
        link.set_delay(delay);
    }
    let wrong = wrong_secret(&setup.key);
    for (key, expected) in [(&setup.key, 200), (&setup.other, 403), (&wrong, 401)] {
        let before = setup.backend.count();
        let began = Instant::now();
        let outcome = setup.call("GET", &path("orders"), &[&basic(key)]).unwrap();
        let (took, status) = (began.elapsed(), outcome.status());
        report.check(
            status == expected && took >= delay,
            format_args!("answers after {delay:?}: {status} after {took:?}"),
        );
        if let Some(seen) = outcome.seen {
            is_of_key(setup, report, "late", &seen, key, "orders");
        }
        let passed = setup.backend.count() - before;
        report.check(
            passed == usize::from(expected == 200),
            format_args!("answers after {delay:?}: {passed} calls passed"),
        );
    }
}

fn beyond_the_limit(setup: &Setup, report: &mut Report, links: &[Link; 2]) {
    let [first, second] = links;
    second.set_delay(Duration::ZERO);
    first.set_delay(BEYOND);
    failover(setup, report, "one is slow", Fault::Silent);
    second.set_delay(BEYOND);
    // The first calls wait for the limit, and the next ones may find both left out.
    unavailable(setup, report, "both are slow");
    unavailable(setup, report, "both are slow, later");
    for link in links {
        link.set_delay(Duration::ZERO);
    }
    let took = setup.await_status(&setup.key, "orders", 200);
    report.note(format_args!("no longer slow: {} ms", took.as_millis()));
    // Answers that came too late are those to calls that were refused, and to no other.
    for _ in 0..8 {
        for (key, namespace) in [(&setup.key, "orders"), (&setup.other, "other")] {
            let outcome = setup.call("GET", &path(namespace), &[&basic(key)]).unwrap();
            let status = outcome.status();
            report.check(
                status == 200,
                format_args!("no longer slow: {status} of {namespace}"),
            );
            if let Some(seen) = outcome.seen {
                is_of_key(setup, report, "no longer slow", &seen, key, namespace);
            }
        }
    }
}
