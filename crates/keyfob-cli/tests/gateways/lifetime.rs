//! For how long a `WebSocket` outlives its key, with the times of the configuration shortened.

use std::{
    mem, thread,
    time::{Duration, Instant},
};

use keyfob_proxies::{Connection, Gateway, Kind, Places};

use crate::{
    calls::basic,
    keyfob::id,
    setup::{Report, Setup},
    streams::{echoes, handshake},
};

/// The line of the configuration with the time limit, and with a short one.
fn change(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Nginx => ("proxy_read_timeout 1h;", "proxy_read_timeout 2s;"),
        Kind::Caddy => ("stream_timeout 1h", "stream_timeout 2s"),
        // It closes no `WebSocket`.
        Kind::Traefik => ("readTimeout: 60s", "readTimeout: 2s"),
        Kind::Haproxy => ("timeout tunnel 1h", "timeout tunnel 2s"),
        Kind::EnvoyHttp | Kind::EnvoyGrpc => {
            ("max_stream_duration: 3600s", "max_stream_duration: 2s")
        }
    }
}

const LIMIT: Duration = Duration::from_secs(2);
/// What a busy machine adds to it.
const MARGIN: Duration = Duration::from_secs(2);

pub(crate) fn run(setup: &mut Setup, report: &mut Report) {
    let places = Places {
        authorizers: setup.keyfob.addresses(),
        backend: setup.backend.address(),
    };
    let Some(gateway) = Gateway::start(setup.kind, &places, &[change(setup.kind)]) else {
        return;
    };
    let whole = mem::replace(&mut setup.gateway, gateway);
    let key = setup.keyfob.create("orders", "lifetime");
    setup.await_status(&key, "orders", 200);
    let mut open = || {
        let mut connection =
            Connection::open(setup.gateway.address(), Duration::from_secs(1)).ok()?;
        connection.send(&handshake(Some(&basic(&key)))).ok()?;
        let status = connection.response(true).map_or(0, |answer| answer.status);
        report.check(status == 101, format_args!("a WebSocket: {status}"));
        (status == 101).then_some((connection, Instant::now()))
    };
    let (busy, idle) = (open(), open());
    setup.keyfob.run(&["keys", "revoke", id(&key)]);
    let (Some(busy), Some(idle)) = (busy, idle) else {
        setup.gateway = whole;
        return;
    };
    let (of_busy, of_idle) = thread::scope(|scope| {
        let busy = scope.spawn(|| closed_after(busy, true));
        let idle = scope.spawn(|| closed_after(idle, false));
        (busy.join().expect("a time"), idle.join().expect("a time"))
    });
    let (closes_busy, closes_idle) = match setup.kind {
        Kind::Caddy | Kind::EnvoyHttp | Kind::EnvoyGrpc => (true, true),
        Kind::Nginx | Kind::Haproxy => (false, true),
        Kind::Traefik => (false, false),
    };
    for (what, closes, after) in [
        ("busy", closes_busy, of_busy),
        ("idle", closes_idle, of_idle),
    ] {
        let in_time = after.is_some_and(|after| after >= LIMIT / 2);
        report.check(
            in_time == closes && after.is_some() == closes,
            format_args!("a {what} WebSocket with a limit of {LIMIT:?} was closed after {after:?}"),
        );
    }
    setup.gateway = whole;
}

/// When the gateway closed a `WebSocket`; `None` if it is open long after the limit.
fn closed_after((mut connection, since): (Connection, Instant), busy: bool) -> Option<Duration> {
    while since.elapsed() < LIMIT + MARGIN {
        let closed = if busy {
            thread::sleep(Duration::from_millis(100));
            !echoes(&mut connection)
        } else {
            connection.is_closed()
        };
        if closed {
            return Some(since.elapsed());
        }
    }
    None
}
