//! A command or call that finds its work done already: it says only what is true then.

use serde_json::json;

use crate::{
    program::{GUEST, GUEST_ID, Program, SUBJECTS, id},
    server::{Server, bearer},
};

/// Keys to try in each way: a server reads another's change within 50 milliseconds by itself, and
/// must have read it before it answers.
const TRIES: usize = 5;

#[test]
fn a_change_that_another_server_made_is_in_force_where_it_is_confirmed() {
    let program = Program::new();
    let rows = ["revoke", "disable", "/v1/revoke", "/v1/leaks"];
    let keys: Vec<(&str, String)> = (0..TRIES * rows.len())
        .zip(rows.iter().cycle())
        .map(|(number, row)| (*row, program.create(&[&format!("key-{number}")])))
        .collect();
    let first = Server::start(&program, &[]);
    let operator = first.operator.clone().expect("the first start shows one");
    let second = Server::start(&program, &[]);
    for (row, key) in &keys {
        assert_eq!(second.auth(key, "orders"), 200);
        let change = |server: &Server| {
            let (target, body) = match *row {
                "/v1/revoke" => ((*row).to_owned(), json!({"token": key})),
                "/v1/leaks" => ((*row).to_owned(), json!([{"token": key}])),
                call => {
                    let key = id(key);
                    let keys = "/v2/functions/namespaces/orders/keys";
                    (format!("{keys}/{key}/{call}"), json!({}))
                }
            };
            let headers = [&*bearer(&operator), "Content-Type: application/json"];
            let answer = server.send("POST", &target, &headers, &body.to_string());
            assert_eq!(answer.status, 200, "{row}");
        };
        change(&first);
        change(&second);
        // The status of `/auth`, at once: nothing waits for the server to follow.
        assert_eq!(second.auth(key, "orders"), 401, "{row}");
        // One change, one event.
        let events = program.json(&["audit", "list", "--key", id(key)]);
        assert_eq!(events["events"].as_array().unwrap().len(), 2, "{row}");
    }
}

#[test]
fn a_change_of_the_command_line_is_in_force_in_a_server_that_confirms_it() {
    let program = Program::new();
    let keys: Vec<String> = (0..TRIES)
        .map(|number| program.create(&[&format!("key-{number}")]))
        .collect();
    let server = Server::start(&program, &[]);
    let operator = server.operator.clone().expect("the first start shows one");
    for key in &keys {
        assert_eq!(server.auth(key, "orders"), 200);
        program.done(&["keys", "revoke", id(key)]);
        let target = format!("/v2/functions/namespaces/orders/keys/{}/revoke", id(key));
        let answer = server.send("POST", &target, &[&bearer(&operator)], "");
        assert_eq!(answer.status, 200);
        assert_eq!(server.auth(key, "orders"), 401);
    }
}

#[test]
fn a_repeated_command_keeps_its_whole_promise() {
    let program = Program::new();
    let works = |credential: &str| {
        let args = ["verify", "--namespace"];
        let namespace = if credential == GUEST {
            "guest"
        } else {
            "orders"
        };
        let ran = program.run_with(&[&args[..], &[namespace]].concat(), credential);
        assert!(matches!(ran.code, 0 | 1), "{}", ran.redacted());
        ran.code == 0
    };
    let events = |key: &str| {
        let listed = program.json(&["audit", "list", "--key", id(key)]);
        listed["events"].as_array().unwrap().len()
    };

    // Done already: no second event, and the same answer.
    let key = program.create(&["revoked"]);
    for _ in 0..2 {
        let shown = program.json(&["keys", "revoke", id(&key)]);
        assert_eq!(shown["keys"][0]["status"], "revoked");
        assert!(!works(&key));
    }
    assert_eq!(events(&key), 2);

    // Undone in between: done again.
    let key = program.create(&["disabled"]);
    for command in ["disable", "disable", "enable", "enable", "disable"] {
        let shown = program.json(&["keys", command, id(&key)]);
        let active = command == "enable";
        let status = if active { "active" } else { "disabled" };
        assert_eq!(shown["keys"][0]["status"], status);
        assert_eq!(works(&key), active, "{command}");
    }
    assert_eq!(events(&key), 4);
    program.done(&["keys", "enable", id(&key)]);

    // A removal that is repeated removes again what came in between.
    program.done(&["members", "remove", "alice"]);
    program.done(&["members", "restore", "alice"]);
    let key = program.create(&["again"]);
    assert!(works(&key));
    for ended in [1, 0] {
        let removed = program.json(&["members", "remove", "alice"]);
        assert_eq!(removed["keys_revoked"], ended, "{removed}");
        assert!(!works(&key));
        assert_eq!(program.run(&["keys", "create", "new"]).code, 4);
    }

    program.write("subjects.jsonl", SUBJECTS);
    program.done(&["legacy", "import", "subjects.jsonl", "--until", "30d"]);
    assert!(works(GUEST));
    let guest = ["-n", "guest"];
    for _ in 0..2 {
        program.done(&[&["legacy", "revoke", GUEST_ID], &guest[..]].concat());
        assert!(!works(GUEST));
        // A policy that accepts the others does not bring it back.
        program.done(&[&["legacy", "sunset", "60d"], &guest[..]].concat());
        assert!(!works(GUEST));
    }
}
