//! `keyfob check`, damaged stores, and what an operator does on the machine of the store.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::{
    program::{Program, id},
    server::{Server, bearer},
};

#[test]
fn a_sound_store_passes() {
    let program = Program::new();
    program.create(&["laptop"]);
    let checked = program.json(&["check"]);
    assert_eq!(checked["file"], true);
    assert_eq!(checked["records"], 2);
    assert!(checked["head"].as_str().unwrap().starts_with("2:"));
    assert_eq!(Program::new().run(&["check"]).code, 5);
}

#[test]
fn a_damaged_file_is_detected_and_not_served() {
    let program = Program::new();
    for number in 0..20 {
        program.create(&[&format!("key-{number}")]);
    }
    let path = program.path("keyfob.db");
    let sound = fs::read(&path).unwrap();
    // Page 1 has the schema, without which the file is not opened.
    for page in (4_096..sound.len()).step_by(4_096) {
        let mut damaged = sound.clone();
        damaged[page..page + 512].fill(0xa5);
        fs::write(&path, damaged).unwrap();
        let ran = program.run(&["check"]);
        assert_ne!(ran.code, 0, "page at {page}: {}", ran.redacted());
        let ran = program.run(&["serve", "--listen", "127.0.0.1:0"]);
        assert!(
            [1, 5].contains(&ran.code),
            "page at {page}: {}",
            ran.redacted()
        );
        assert!(!ran.err.contains("listening"), "page at {page}");
    }
}

#[test]
fn a_server_moves_digests_to_the_current_pepper_as_keys_are_used() {
    let program = Program::new()
        .with("KEYFOB_PEPPER_1", "0123456789abcdef0123456789abcdef")
        .with("KEYFOB_PEPPER_CURRENT", "1");
    let used = program.create(&["used"]);
    let unused = program.create(&["unused"]);
    let scope = ["--team", "operators", "--namespace", "control:operators"];
    program.done(&[
        "--team",
        "operators",
        "namespaces",
        "create",
        "control:operators",
    ]);
    let control = ["control", "--owner", "admin", "--scope", "operator"];
    let control = program.create(&[&control[..], &scope[..]].concat());
    let program = program
        .with("KEYFOB_PEPPER_2", "fedcba9876543210fedcba9876543210")
        .with("KEYFOB_PEPPER_CURRENT", "2");
    let counts = || {
        let status = program.json(&["peppers", "status"]);
        let peppers = status["peppers"].as_array().unwrap().iter();
        peppers
            .map(|one| {
                (
                    one["pepper"].as_u64().unwrap(),
                    one["keys"].as_u64().unwrap(),
                )
            })
            .collect::<Vec<_>>()
    };
    let until = |expected: [(u64, u64); 2]| {
        let start = Instant::now();
        while counts() != expected {
            assert!(start.elapsed() < Duration::from_secs(20), "{:?}", counts());
            thread::sleep(Duration::from_millis(50));
        }
    };
    assert_eq!(counts(), [(1, 3), (2, 0)]);
    let server = Server::start(&program, &[]);
    assert_eq!(server.auth(&used, "orders"), 200);
    until([(1, 2), (2, 1)]);
    // A key of the control plane is used there only.
    let answer = server.send("GET", "/v1/caller", &[&bearer(&control)], "");
    assert_eq!(answer.status, 200);
    until([(1, 1), (2, 2)]);
    assert_eq!(server.auth(&used, "orders"), 200);
    // The one that is left is rotated, and then the old pepper is needed no longer.
    let rotated = program.done(&["keys", "rotate", id(&unused)]).out;
    assert_eq!(counts(), [(1, 0), (2, 3)]);
    server.await_auth(rotated.trim_end(), "orders", 200);
}

#[test]
fn a_lost_credential_of_the_operator_is_replaced_on_the_machine_of_the_store() {
    let program = Program::bare();
    let server = Server::start(&program, &[]);
    let lost = server.operator.clone().unwrap();
    let scope = ["--team", "operators", "--namespace", "control:operators"];
    let listed = program.json(&[&["keys", "list"], &scope[..]].concat());
    let key = listed["keys"][0]["id"].as_str().unwrap().to_owned();
    let rotated = program.done(&[&["keys", "rotate", &key], &scope[..]].concat());
    let rotated = rotated.out.trim_end().to_owned();
    // If it was revoked, another one is created.
    let create = [
        "keys", "create", "operator", "--owner", "admin", "--scope", "operator",
    ];
    let other = program.done(&[&create[..], &scope[..]].concat());
    for credential in [&rotated, other.out.trim_end()] {
        let start = Instant::now();
        loop {
            let answer = server.send("GET", "/v1/caller", &[&bearer(credential)], "");
            if answer.status == 200 {
                assert!(answer.body.contains("operator"), "{}", answer.body);
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{}", answer.body);
            thread::sleep(Duration::from_millis(20));
        }
    }
    let answer = server.send("GET", "/v1/caller", &[&bearer(&lost)], "");
    assert_eq!(answer.status, 401);
}

#[test]
#[cfg(unix)]
fn a_full_disk_stops_writes_and_not_calls_and_is_told() {
    let program = Program::new();
    program.done(&["namespaces", "create", "orders"]);
    let key = program.create(&["laptop"]);
    // A write beyond the limit fails, as on a full disk.
    let server = Server::start_within(&program, "trap '' XFSZ; ulimit -f 1500", &[]);
    let operator = server.operator.clone().unwrap();
    assert_eq!(server.send("GET", "/readyz/writes", &[], "").status, 200);
    let path = "/v2/functions/namespaces/orders/keys";
    let headers = [&*bearer(&operator), "Content-Type: application/json"];
    let refused = (0..2_000).find(|number| {
        let body = format!("{{\"name\": \"key-{number}\"}}");
        server.send("POST", path, &headers, &body).status == 503
    });
    assert!(refused.is_some(), "the disk is not full");
    assert_eq!(server.send("GET", "/readyz/writes", &[], "").status, 503);
    let metrics = server.send("GET", "/metrics", &[], "").body;
    assert!(metrics.contains("keyfob_store_writable 0"), "{metrics}");
    assert_eq!(server.send("GET", "/readyz", &[], "").status, 200);
    assert_eq!(server.auth(&key, "orders"), 200);
}
