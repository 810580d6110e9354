//! `keyfob scan`

use base64::{Engine, engine::general_purpose::STANDARD};
use keyfob::{Context, KeyStore, Keyring, NewKey, Timestamp, block_on, now};
use serde_json::Value;

use crate::program::{GUEST, Program, SUBJECTS, id};

/// The kind and state of each find, by path.
fn finds(answer: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let finds = answer["finds"].as_array().unwrap().iter();
    let mut finds: Vec<_> = finds
        .map(|find| {
            (
                text(&find["path"]),
                text(&find["kind"]),
                text(&find["state"]),
            )
        })
        .collect();
    finds.sort();
    finds
}

fn expected(finds: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let finds = finds.iter();
    finds
        .map(|(path, kind, state)| ((*path).into(), (*kind).into(), (*state).into()))
        .collect()
}

#[test]
fn leaked_credentials_are_found_checked_and_revoked() {
    // Created here and stored nowhere.
    let program = Program::new();
    let live = program.create(&["live"]);
    let dead = program.create(&["dead"]);
    program.done(&["keys", "revoke", id(&dead)]);
    program.write("subjects.jsonl", SUBJECTS);
    program.done(&["legacy", "import", "subjects.jsonl", "--until", "1d"]);

    let (front, last) = live.split_at(live.len() - 1);
    let other = if last == "A" { "B" } else { "A" };
    program.write("tree/a.env", format!("# settings\nKEY={live}\n"));
    program.write("tree/src/b.rs", format!("let key = \"{dead}\";\n"));
    program.write(
        "tree/c.log",
        format!("Authorization: Basic {}\n", STANDARD.encode(&live)),
    );
    program.write(
        "tree/d.bin",
        [&[0, 0xff, 0x80][..], live.as_bytes(), &[0]].concat(),
    );
    let (key_id, secret) = live.split_once(':').unwrap();
    program.write(
        "tree/e.json",
        format!("{{\"id\": \"{key_id}\",\n\"secret\": \"{secret}\"}}\n"),
    );
    program.write("tree/f.txt", format!("{front}{other}\n"));
    program.write("tree/g.yaml", format!("auth: {GUEST}\n"));
    program.write("tree/.hidden/h", format!("{secret}\n"));
    program.write("tree/.git/objects/i", format!("{live}\n"));
    program.write("tree/.gitignore", "a.env\n");

    let scan = |args: &[&str]| {
        let ran = program.run(&[&["scan", "tree", "--output", "json"], args].concat());
        assert_eq!(ran.json()["git_folders"], 1);
        assert_eq!(ran.code, 1, "{}", ran.redacted());
        assert_eq!(ran.secrets(), 0);
        assert!(!ran.out.contains("123zO3"));
        ran.json()
    };
    let offline = scan(&[]);
    let all = [
        ("tree/.hidden/h", "secret", "unknown"),
        ("tree/a.env", "key", "unknown"),
        ("tree/c.log", "encoded", "unknown"),
        ("tree/d.bin", "key", "unknown"),
        ("tree/e.json", "secret", "unknown"),
        ("tree/g.yaml", "legacy", "unknown"),
        ("tree/src/b.rs", "key", "unknown"),
    ];
    assert_eq!(finds(&offline), expected(&all));
    assert_eq!(offline["lookalikes"], 1);

    let store = ["--store", "sqlite:keyfob.db"];
    let judged = scan(&store);
    let states = ["unknown", "live", "live", "live", "live", "live", "dead"];
    let all: Vec<_> = all
        .iter()
        .zip(states)
        .map(|((path, kind, _), state)| (*path, *kind, state))
        .collect();
    assert_eq!(finds(&judged), expected(&all));
    let at = |path: &str| {
        let finds = judged["finds"].as_array().unwrap();
        finds
            .iter()
            .find(|find| find["path"] == path)
            .unwrap()
            .clone()
    };
    assert_eq!(at("tree/a.env")["line"], 2);
    assert_eq!(at("tree/a.env")["column"], 5);
    assert_eq!(at("tree/a.env")["owner"], "user:alice");
    assert_eq!(at("tree/a.env")["namespace"], "orders");
    assert_eq!(at("tree/e.json")["id"], key_id);
    assert_eq!(at("tree/src/b.rs")["reason"], "revoked");
    assert_eq!(at("tree/g.yaml")["namespace"], "guest");
    assert_eq!(finds(&scan(&["--offline"])), finds(&offline));

    let ignoring = scan(&[&store[..], &["--respect-gitignore"]].concat());
    assert_eq!(ignoring["finds"].as_array().unwrap().len(), 6);

    scan(&[&store[..], &["--revoke"]].concat());
    assert_eq!(program.run_with(&["verify"], &*live).code, 1);
    let args = ["verify", "--namespace", "guest"];
    assert_eq!(program.run_with(&args, GUEST).code, 1);
    let after = scan(&store);
    let still = after["finds"].as_array().unwrap().iter();
    assert_eq!(still.filter(|find| find["state"] == "live").count(), 0);
    let trail = program.done(&["audit", "list"]).out;
    assert!(trail.contains("leaked: found by a scan"), "{trail}");
}

#[test]
fn temporarily_refused_credentials_are_revoked_too() {
    let program = Program::new();
    let key = program.create(&["laptop"]);
    program.write("subjects.jsonl", SUBJECTS);
    program.done(&["legacy", "import", "subjects.jsonl"]);
    program.done(&["keys", "disable", id(&key)]);
    program.write("leak.txt", format!("{key}\n{GUEST}\n"));
    let store = ["--store", "sqlite:keyfob.db", "--output", "json"];
    let ran = program.run(&[&["scan", "leak.txt", "--revoke"], &store[..]].concat());
    for find in ran.json()["finds"].as_array().unwrap() {
        assert_eq!(
            (&find["state"], &find["revoked"]),
            (&"dead".into(), &true.into())
        );
    }
    assert_eq!(program.run(&["keys", "enable", id(&key)]).code, 4);
    program.done(&["legacy", "sunset", "30d", "--namespace", "guest"]);
    let args = ["verify", "--namespace", "guest"];
    assert_eq!(program.run_with(&args, GUEST).code, 1);
}

#[test]
fn the_table_has_positions_and_no_secrets() {
    let program = Program::new();
    let key = program.create(&["laptop"]);
    program.write("notes.txt", format!("first\nsecond {key}\n"));
    let ran = program.run(&["scan", "notes.txt", "--store", "sqlite:keyfob.db"]);
    assert_eq!(ran.secrets(), 0);
    insta::assert_snapshot!(ran.redacted());
    let piped = program.run_with(&["scan", "-"], key);
    assert_eq!((piped.code, piped.secrets()), (1, 0));
}

#[test]
fn exit_code_0_needs_everything_read_and_nothing_found() {
    let program = Program::new();
    program.write("tree/a.txt", "nothing here\n");
    assert_eq!(program.run(&["scan", "tree"]).code, 0);
    assert_eq!(program.run(&["scan", "tree", "elsewhere"]).code, 6);
    assert_eq!(program.run(&["scan"]).code, 2);
    program.write("tree/b.zip", "PK\u{3}\u{4}and more");
    let ran = program.run(&["scan", "tree"]);
    assert_eq!(ran.code, 6);
    assert!(
        ran.err.contains("not read: tree/b.zip: a ZIP archive"),
        "{}",
        ran.err
    );
    assert_eq!(program.run(&["scan", "tree/b.zip"]).code, 6);
}

#[test]
fn what_is_named_is_read_and_what_is_not_read_is_said() {
    use std::{fs, os::unix::fs::symlink, thread};

    let program = Program::new();
    let key = program.create(&["laptop"]);
    let made = std::process::Command::new("mkfifo")
        .args([program.path("pipe"), program.folder().join("named")])
        .status();
    assert!(made.unwrap().success());
    let (pipe, text) = (program.path("pipe"), key.clone());
    let writer = thread::spawn(move || fs::write(pipe, text));
    assert_eq!(program.run(&["scan", "pipe"]).code, 1);
    writer.join().unwrap().unwrap();

    // A pipe in a folder could keep it waiting without an end.
    program.write("tree/a.txt", "nothing here\n");
    fs::rename(program.path("named"), program.path("tree/pipe")).unwrap();
    let ran = program.run(&["scan", "tree"]);
    assert_eq!(ran.code, 6, "{}", ran.err);
    assert!(
        ran.err.contains("not read: tree/pipe: a pipe"),
        "{}",
        ran.err
    );
    fs::remove_file(program.path("tree/pipe")).unwrap();

    program.write("outside/key.txt", &key);
    symlink("../outside", program.path("tree/link")).unwrap();
    let ran = program.run(&["scan", "tree"]);
    assert_eq!(ran.code, 6, "{}", ran.err);
    assert!(
        ran.err.contains("not read: tree/link: a link"),
        "{}",
        ran.err
    );
    assert_eq!(program.run(&["scan", "tree/link"]).code, 1);
    fs::remove_file(program.path("tree/link")).unwrap();
    symlink("../outside/key.txt", program.path("tree/link")).unwrap();
    assert_eq!(program.run(&["scan", "tree"]).code, 1);
    fs::remove_file(program.path("tree/link")).unwrap();
    // Neither is there anything else to read behind these.
    symlink("nothing", program.path("tree/broken")).unwrap();
    symlink(".", program.path("tree/loop")).unwrap();
    assert_eq!(program.run(&["scan", "tree"]).code, 0);
    // Git's folder is read if it is named.
    program.write("tree/.git/config", &key);
    let ran = program.run(&["scan", "tree"]);
    assert_eq!(ran.code, 0);
    assert!(
        ran.err.contains("1 folder named .git not searched"),
        "{}",
        ran.err
    );
    assert_eq!(program.run(&["scan", "tree/.git"]).code, 1);
    assert_eq!(program.run(&["scan", "tree/.git/config"]).code, 1);
}

#[test]
fn every_key_of_a_table_is_revoked_whatever_their_number() {
    let program = Program::new();
    let keys: Vec<String> = (0..12)
        .map(|number| program.create(&[&format!("key-{number}")]))
        .collect();
    // More ids than any limit, of keys that are not in the store.
    let unknown = (0..3_000).map(|number| format!("dof_v1_{number:032x},"));
    let known = keys.iter().map(|key| key.replacen(':', ",", 1));
    let lines: Vec<String> = unknown.chain(known).collect();
    program.write("leak.csv", lines.join("\n"));
    let scan = [
        "scan",
        "leak.csv",
        "--revoke",
        "--store",
        "sqlite:keyfob.db",
    ];
    let ran = program.run(&scan);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("12 found in 1 file, 12 live"),
        "{}",
        ran.err
    );
    for key in &keys {
        assert_eq!(program.run_with(&["verify"], key.as_str()).code, 1);
    }
}

#[test]
fn a_store_in_the_folder_is_not_used_unless_it_is_named() {
    let program = Program::new();
    let key = program.create(&["laptop"]);
    program.write("leak.txt", &key);
    let ran = program.run(&["scan", "leak.txt"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("not checked whether they are live"),
        "{}",
        ran.err
    );
    let ran = program.run(&["scan", "leak.txt", "--revoke"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("no store given"), "{}", ran.err);
    assert_eq!(program.run_with(&["verify"], key).code, 0);
}

#[test]
fn keys_of_another_prefix_are_found_too() {
    let program = Program::new();
    let ours = program.create(&["laptop", "--prefix", "shop"]);
    let other = Program::new().create(&["laptop"]);
    program.write("leak.txt", format!("{ours}\n{other}\n"));
    let states = |args: &[&str]| {
        let args = [&["scan", "leak.txt", "--output", "json"], args].concat();
        let found = finds(&program.run(&args).json());
        found.into_iter().map(|find| find.2).collect::<Vec<_>>()
    };
    assert_eq!(states(&[]), ["unknown", "unknown"]);
    assert_eq!(
        states(&["--store", "sqlite:keyfob.db"]),
        ["live", "unknown"]
    );
    assert_eq!(states(&["--prefix", "shop"]), ["unknown"]);
}

#[test]
#[cfg(unix)]
fn control_characters_in_file_names_are_escaped() {
    let program = Program::new();
    let key = program.create(&["laptop"]);
    let name = "tree/\u{1b}]0;owned\u{7}\u{1b}[2J\nnothing \u{202e}found";
    program.write(name, &key);
    let ran = program.run(&["scan", "tree", "tree/\u{1b}[1mgone"]);
    assert_eq!(ran.code, 1, "{}", ran.redacted());
    for text in [&ran.out, &ran.err] {
        let acts = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(acts), "{text:?}");
    }
    assert!(ran.out.contains("\\u{1b}[2J\\nnothing"), "{}", ran.out);
    assert!(ran.err.contains("\\u{1b}[1mgone"), "{}", ran.err);
    // JSON has the name unchanged.
    let answer = program.run(&["scan", "tree", "--output", "json"]).json();
    assert_eq!(answer["finds"][0]["path"], name);
}

/// It could work again: a policy can be set back, and a key can be enabled.
#[test]
fn a_leaked_key_that_does_not_work_now_is_revoked() {
    let program = Program::new();
    let disabled = program.create(&["disabled"]);
    program.done(&["keys", "disable", id(&disabled)]);
    let store = keyfob_sqlite::SqliteStore::open(program.path("keyfob.db")).unwrap();
    let format = block_on(store.key_format()).unwrap().unwrap();
    let keyring = Keyring::builder(store, format);
    let keyring = block_on(keyring.open_to_manage()).unwrap();
    let past = Timestamp::from_unix(now().as_unix() - 7_200);
    let new = NewKey::for_user("acme", "orders", "alice", "expired").unwrap();
    let expired = block_on(keyring.create(&Context::system(past), new)).unwrap();
    let expired = expired.secret.expose().to_owned();
    drop(keyring);
    program.done(&["policy", "set", "--max-ttl", "1h"]);
    program.write("leak.txt", format!("{disabled}\n{expired}\n"));
    let store = ["--store", "sqlite:keyfob.db"];
    let scan = ["scan", "leak.txt", "--revoke", "--output", "json"];
    let scan = program.run(&[&scan[..], &store].concat());
    let finds = scan.json()["finds"].as_array().unwrap().clone();
    let revoked: Vec<bool> = finds.iter().map(|find| find["revoked"] == true).collect();
    assert_eq!(revoked, [true, true], "{}", scan.redacted());
    program.done(&["policy", "clear"]);
    for key in [&disabled, &expired] {
        let shown = program.json(&["keys", "show", id(key)]);
        assert_eq!(shown["status"], "revoked");
    }
}
