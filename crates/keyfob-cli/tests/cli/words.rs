//! What people type and read: durations, dates, lists, widths, help and the first lines of a log.

use std::fs;

use serde_json::json;

use crate::{
    program::{Program, id},
    server::Server,
};

#[test]
fn a_year_is_what_a_policy_of_365_days_allows() {
    let program = Program::new();
    program.done(&["namespaces", "create", "orders"]);
    program.done(&["policy", "set", "--max-ttl", "365d"]);
    program.create(&["ci", "--expires", "1y"]);
    let ran = program.run(&["keys", "create", "other", "--expires", "366d"]);
    assert_eq!(ran.code, 1);
}

#[test]
fn an_expiry_in_the_past_is_called_that() {
    let program = Program::new();
    program.done(&["namespaces", "create", "orders"]);
    let ran = program.run(&["keys", "create", "laptop", "--expires", "2020-01-01"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("expires_at: the time is in the past"),
        "{}",
        ran.err
    );
}

#[test]
fn scopes_are_separated_by_commas() {
    let program = Program::new();
    let key = program.create(&["laptop", "--scope", "a,b", "--scope", "c"]);
    let shown = program.json(&["keys", "show", id(&key)]);
    assert_eq!(shown["scopes"], json!(["a", "b", "c"]));
    program.done(&["keys", "update", id(&key), "--scope", "x,y"]);
    let shown = program.json(&["keys", "show", id(&key)]);
    assert_eq!(shown["scopes"], json!(["x", "y"]));
}

#[test]
fn a_name_in_the_place_of_an_id_gets_a_hint() {
    let program = Program::new();
    program.create(&["laptop"]);
    let ran = program.run(&["keys", "enable", "laptop"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("not a key id: it is dof_v1_ and 32"),
        "{}",
        ran.err
    );
    assert!(
        ran.err.contains("keyfob keys list --name NAME"),
        "{}",
        ran.err
    );
    // It may be a secret, and is not repeated.
    let ran = program.run(&["keys", "enable", "hunter2"]);
    assert!(!ran.err.contains("hunter2"), "{}", ran.err);
}

#[test]
fn the_address_to_listen_on_may_have_a_name() {
    let program = Program::bare();
    let server = Server::start(&program, &["--listen", "localhost:0"]);
    assert_eq!(server.send("GET", "/healthz", &[], "").status, 200);
    for bad in [
        "localhost",
        ":8080",
        "8080",
        "http://localhost:8080",
        "::1:8080",
        "localhost:99999",
    ] {
        let ran = program.run(&["serve", "--listen", bad]);
        assert_eq!(ran.code, 2, "{bad}");
        assert!(
            ran.err.contains("localhost:8080 or [::]:8080"),
            "{bad}: {}",
            ran.err
        );
    }
}

#[test]
fn help_shows_what_a_credential_looks_like() {
    for command in ["verify", "scan", "keys"] {
        let help = Program::bare().done(&[command, "--help"]).out;
        assert!(!help.contains("[redacted]"), "{help}");
    }
}

#[test]
fn every_list_fits_the_terminal_and_keeps_ids_whole() {
    let program = Program::new();
    let owner = ["--owner", "service:deploy-bot-of-the-warehouse"];
    let key =
        program.create(&[&["laptop-with-a-long-name", "--expires", "90d"], &owner[..]].concat());
    program.write("export.json", include_str!("all_docs.json"));
    program.done(&["legacy", "import", "export.json", "--until", "30d"]);
    program.done(&["keys", "disable", id(&key), "--reason", "it was lost"]);
    program.write("leak.txt", &key);
    let lists = [
        &["keys", "list"][..],
        &["audit", "list"],
        &["legacy", "report", "--all-teams"],
        &["namespaces", "list"],
        &[
            "services",
            "remove",
            "deploy-bot-of-the-warehouse",
            "--dry-run",
        ],
        &["scan", "leak.txt", "--store", "sqlite:keyfob.db"],
        &["policy", "show"],
        &["config", "show"],
    ];
    for list in lists {
        let ran = program.run(list);
        for line in ran.out.lines() {
            assert!(line.chars().count() <= 80, "{list:?}: {line}");
        }
    }
    for list in &lists[..3] {
        let out = program.run(list).out;
        assert!(
            out.contains(id(&key)) || out.contains("10000000-0000-4000-8000-000000000001"),
            "{out}"
        );
    }
    let wide = program.with("COLUMNS", "300");
    let out = wide.done(&["keys", "list"]).out;
    assert_eq!(out.lines().count(), 2, "{out}");
}

#[test]
fn one_key_is_in_the_singular() {
    let program = Program::new();
    program.create(&["laptop", "--owner", "bob"]);
    let ran = program.run(&["members", "remove", "bob", "--dry-run"]);
    assert!(
        ran.err.contains("1 key and 0 legacy credentials would"),
        "{}",
        ran.err
    );
}

#[test]
fn a_start_logs_nothing_of_the_libraries() {
    let program = Program::bare();
    let log = Server::start(&program, &[]).kill();
    assert!(!log.contains("refinery"), "{log}");
    assert!(log.contains("configuration=none"), "{log}");
}

#[test]
fn errors_of_the_system_are_in_words() {
    let program = Program::new();
    program.create(&["laptop"]);
    program.write("taken", "");
    for args in [
        &["audit", "export", "--to", "taken"][..],
        &["--config", "none.toml", "config", "show"],
        &["--store", "sqlite:no/folder/keys.db", "keys", "create", "x"],
        &["legacy", "import", "none.json"],
        &["scan", "nowhere"],
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--operator-file",
            "taken",
        ],
    ] {
        let ran = program.run(args);
        assert_ne!(ran.code, 0, "{args:?}");
        assert!(!ran.err.contains("os error"), "{args:?}: {}", ran.err);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_server_leaves_no_core_dump_and_raises_its_limit_on_files() {
    let program = Program::bare();
    let limits = |server: &Server| {
        let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
        let of = |name: &str| {
            let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
            let values = line[name.len()..].split_whitespace();
            values.take(2).map(str::to_owned).collect::<Vec<_>>()
        };
        (of("Max core file size"), of("Max open files"))
    };
    let server = Server::start(&program, &[]);
    assert_eq!(limits(&server).0, ["0", "0"]);
    drop(server);

    let server = Server::start_within(&program, "ulimit -S -n 200", &["--connections", "300"]);
    let (_, files) = limits(&server);
    // Those to the control plane, those of proxies, and 64 others.
    assert_eq!(files[0], (300 + 512 + 64).to_string());
    assert!(!server.kill().contains("limit on open files"));
    // The hard limit is what it is: clients wait, and the log says why.
    let server = Server::start_within(&program, "ulimit -n 100", &["--connections", "300"]);
    let log = server.kill();
    assert!(
        log.contains("the limit on open files is too low") && log.contains("connections=36"),
        "{log}"
    );
    // The feed's listener counts too.
    program.json(&["feed", "create", "feed.keys"]);
    let feed = ["--feed-listen", "127.0.0.1:0", "--feed-keys", "feed.keys"];
    let server = Server::start_within(&program, "ulimit -S -n 200", &feed);
    let (_, files) = limits(&server);
    assert_eq!(files[0], (512 + 512 + 2048 + 64).to_string());
}
