//! The signer is replaced while gateways are under load, one of them behind a relay.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    gateway::Authority,
    program::{Program, id},
    under_load::witness::{Fate, Witness},
};

/// The bound on staleness: longer than a restart of the authority, also on a busy machine.
const BOUND: Duration = Duration::from_secs(10);

#[test]
fn a_signer_is_replaced_through_a_relay_and_no_call_is_answered_503() {
    let authority = Authority::new();
    let steps = ["announce", "switch", "retire"];
    let steady = authority.program.create(&["steady"]);
    let revoked = steps.map(|step| authority.program.create(&[step]));
    let all = authority.replica_key("operators", "control:operators");
    let mut server = authority.serve();
    let bound = format!("{}s", BOUND.as_secs());
    let follow = |command: &str, upstream: &str| {
        // Those who are refused are asked about too, and often.
        let program = Program::bare().with("KEYFOB_AUTH_REFUSED_PER_MINUTE", "0");
        let args = ["--stale-after", &*bound];
        authority.reader(&program, command, upstream, &all, &args)
    };
    let relay = follow("relay", &authority.upstream());
    let relayed = format!("http://{}", relay.address);
    let gateways = [
        follow("gateway", &authority.upstream()),
        follow("gateway", &relayed),
    ];
    for gateway in &gateways {
        gateway.await_auth(&steady, "orders", 200);
    }
    let credentials = revoked.iter().chain([&steady]).cloned();
    let credentials = credentials.map(|key| (key, Fate::Works));
    let addresses = gateways.each_ref().map(|gateway| gateway.asked_at);
    let witness = Witness::of(&addresses, BOUND, credentials);
    for (n, step) in steps.into_iter().enumerate() {
        authority.program.done(&["feed", step, "feed.keys"]);
        drop(server);
        server = authority.serve();
        witness.set(n, Fate::Ends);
        authority.program.done(&["keys", "revoke", id(&revoked[n])]);
        witness.set(n, Fate::Ended(Instant::now()));
        // Both know the revocation, and with it the signer; what they know stays fresh beyond the bound.
        for gateway in &gateways {
            gateway.await_auth(&revoked[n], "orders", 401);
        }
        thread::sleep(BOUND / 3);
    }
    thread::sleep(BOUND);
    let shown = authority.program.json(&["feed", "show", "feed.keys"]);
    assert_ne!(shown["signers"][0], *authority.signer, "it was replaced");
    for gateway in 0..2 {
        assert_eq!(witness.count(gateway, 503), 0, "gateway {gateway}");
    }
    assert!(witness.right() > 1_000);
    drop(server);
}
