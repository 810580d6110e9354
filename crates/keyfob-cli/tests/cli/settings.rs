//! Settings: `keyfob config show`

use serde_json::Value;

use crate::program::{Program, id};

/// The value and origin of a setting.
fn setting(program: &Program, args: &[&str], name: &str) -> (String, String) {
    let shown = program.json(&[&["config", "show"], args].concat());
    let settings = shown["settings"].as_array().unwrap();
    let found = settings
        .iter()
        .find(|setting| setting["name"] == name)
        .unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&found["value"]), text(&found["origin"]))
}

#[test]
fn flags_override_the_environment_the_file_and_the_defaults() {
    let is = |program: &Program, args: &[&str], name, value: &str, origin: &str| {
        let found = setting(program, args, name);
        assert_eq!(found, (value.to_owned(), origin.to_owned()));
    };
    let program = Program::bare();
    is(&program, &[], "prefix", "", "default");
    is(&program, &[], "serve.follow_every", "1s", "default");
    is(&program, &[], "team", "", "default");
    program.write(
        "config/keyfob/keyfob.toml",
        "prefix = \"file\"\nteam = \"file\"\n[serve]\nfollow_every = \"2s\"\n",
    );
    let folder = program.path("config").display().to_string();
    let program = program.with("XDG_CONFIG_HOME", &folder);
    is(&program, &[], "prefix", "file", "file");
    is(&program, &[], "team", "file", "file");
    is(&program, &[], "serve.follow_every", "2s", "file");
    let program = program
        .with("KEYFOB_PREFIX", "env")
        .with("KEYFOB_TEAM", "env")
        .with("KEYFOB_FOLLOW_EVERY", "3s");
    is(&program, &[], "prefix", "env", "environment");
    is(&program, &[], "team", "env", "environment");
    is(&program, &[], "serve.follow_every", "3s", "environment");
    is(&program, &["--prefix", "flag"], "prefix", "flag", "flag");
    is(&program, &["--team", "flag"], "team", "flag", "flag");

    // Another file, set by flag or environment.
    program.write("other.toml", "namespace = \"other\"\n");
    is(
        &program,
        &["--config", "other.toml"],
        "namespace",
        "other",
        "file",
    );
    let program = program.with("KEYFOB_CONFIG", "other.toml");
    is(&program, &[], "namespace", "other", "file");
    assert_eq!(
        program
            .run(&["--config", "none.toml", "config", "show"])
            .code,
        2
    );
}

#[test]
fn errors_have_the_position_and_not_the_value() {
    let program = Program::bare().with("KEYFOB_CONFIG", "keyfob.toml");
    program.write(
        "keyfob.toml",
        "store = \"memory:\"\n[serve]\nlisen = \"127.0.0.1:1\"\n",
    );
    let ran = program.run(&["config", "show"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err
            .contains("keyfob.toml: line 3, column 1: unknown field `lisen`"),
        "{}",
        ran.err
    );

    for (content, message) in [
        (
            "prefix = \"Bad\"",
            "prefix: the key prefix has an invalid character at position 0; it must match [a-z][a-z0-9]{0,15} (from keyfob.toml)",
        ),
        (
            "output = \"yaml\"",
            "output: must be one of table, json, env (from keyfob.toml)",
        ),
        (
            "[serve]\nfollow_every = \"often\"",
            "follow_every: must be a duration",
        ),
        (
            "[serve]\nstale_after = \"100ms\"",
            "stale_after: must not be shorter than follow_every",
        ),
        (
            "store = \"mysql://root:pw@db\"",
            "store: must be sqlite:PATH",
        ),
    ] {
        program.write("keyfob.toml", content);
        let ran = program.run(&["config", "show"]);
        assert_eq!(ran.code, 2, "{content}");
        assert!(ran.err.contains(message), "{}", ran.err);
        assert!(!ran.err.contains("pw@"));
    }
}

#[test]
fn the_store_keeps_its_prefix_and_refuses_another() {
    let program = Program::new();
    let key = program.create(&["laptop", "--prefix", "acme"]);
    assert!(key.starts_with("acme_v1_"));
    // Without the option it is the store's.
    let second = program.create(&["phone"]);
    assert!(second.starts_with("acme_v1_"));
    assert_eq!(program.run_with(&["verify"], second.as_str()).code, 0);
    for args in [
        &["--prefix", "dof", "keys", "list"][..],
        &["--prefix", "dof", "keys", "create", "third"],
        &["--prefix", "dof", "serve", "--listen", "127.0.0.1:0"],
    ] {
        let ran = program.run(args);
        assert_eq!(ran.code, 2, "{}", ran.redacted());
        let message = "the store holds keys with prefix acme, not dof";
        assert!(ran.err.contains(message), "{}", ran.redacted());
    }
    // Everything that shows a key shows it with the store's prefix.
    let reason = ["--reason", "it was lost"];
    let revoked = program.done(&[&["keys", "revoke", id(&key)], &reason[..]].concat());
    for args in [
        &["keys", "list"][..],
        &["keys", "show", id(&key)],
        &["audit", "list"],
        &["audit", "export"],
        &["members", "remove", "alice", "--dry-run"],
    ] {
        let told = program.done(args).out;
        assert!(
            told.contains("acme_v1_"),
            "{args:?}: {}",
            revoked.redacted()
        );
        assert!(!told.contains("dof_v1_"), "{args:?}");
    }
    let export = program.done(&["audit", "export"]).out;
    assert!(export.contains(&format!("\"subject\":\"{}\"", id(&key))));
    assert!(Program::new().create(&["laptop"]).starts_with("dof_v1_"));
}

#[test]
fn a_password_is_refused_on_the_command_line_and_shown_nowhere() {
    let program = Program::bare();
    let url = "postgres://keyfob:hunter2@127.0.0.1:1/keys";
    let ran = program.run(&["--store", url, "config", "show"]);
    assert_eq!(ran.code, 2);
    assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    let program = program.with("KEYFOB_STORE", url);
    let ran = program.done(&["config", "show"]);
    assert!(
        ran.out.contains("postgres://keyfob@127.0.0.1:1/keys"),
        "{}",
        ran.out
    );
    let ran = program.run(&["--team", "acme", "keys", "list"]);
    assert_eq!(ran.code, 5, "{}", ran.redacted());
    assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    for help in [&["--help"][..], &["keys", "list", "--help"]] {
        assert!(!program.done(help).out.contains("hunter2"));
    }
}

#[test]
fn a_password_with_any_characters_is_shown_nowhere() {
    for password in [
        "ab/hunter2",
        "ab?hunter2",
        "ab#hunter2",
        "ab:hunter2",
        "%40hunter2",
        "hunter2@x",
    ] {
        for url in [
            format!("postgres://keyfob:{password}@127.0.0.1:1/keys"),
            format!("postgres://127.0.0.1:1/keys?user=keyfob&password={password}"),
            format!("host=127.0.0.1 user=keyfob password={password}"),
            format!("sqlite:postgres://keyfob:{password}@127.0.0.1:1/keys"),
        ] {
            let program = Program::bare().with("KEYFOB_STORE", &url);
            for args in [
                &["config", "show"][..],
                &["--team", "acme", "keys", "list"],
                &["serve", "--listen", "127.0.0.1:0"],
                &["backup", "copy.db"],
            ] {
                let ran = program.run(args);
                let told = format!("{}{}", ran.out, ran.err);
                assert!(!told.contains("hunter2"), "{url}: {told}");
            }
            let program = Program::bare();
            let ran = program.run(&["--store", &url, "config", "show"]);
            let told = format!("{}{}", ran.out, ran.err);
            assert!(!told.contains("hunter2"), "{url}: {told}");
            if !url.starts_with("sqlite:") {
                assert_eq!(ran.code, 2, "{url}");
            }
        }
    }
}

#[test]
fn a_file_in_the_current_folder_is_not_read_unless_it_is_named() {
    let program = Program::bare();
    program.write(
        "keyfob.toml",
        "prefix = \"zzz\"\nstore = \"postgres://evil.example/x\"\n",
    );
    let is = |program: &Program, name, value: &str, origin: &str| {
        let found = setting(program, &[], name);
        assert_eq!(found, (value.to_owned(), origin.to_owned()));
    };
    is(&program, "prefix", "", "default");
    is(&program, "store", "sqlite:keyfob.db", "default");
    let ran = program.done(&["config", "show"]);
    assert!(
        ran.err
            .contains("keyfob.toml in the current folder is not used"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("configuration file: none"), "{}", ran.err);
    // Nor is one in a relative folder.
    let relative = Program::bare()
        .with("XDG_CONFIG_HOME", ".")
        .with("HOME", ".");
    relative.write("keyfob/keyfob.toml", "prefix = \"zzz\"\n");
    relative.write(".config/keyfob/keyfob.toml", "prefix = \"zzz\"\n");
    is(&relative, "prefix", "", "default");
    // A scan of the folder finds what it finds without the file.
    let key = Program::new().create(&["laptop"]);
    program.write("leak.txt", key);
    assert_eq!(program.run(&["scan", "."]).code, 1);
    // The file in force is named.
    let named = program.with("KEYFOB_CONFIG", "keyfob.toml");
    is(&named, "prefix", "zzz", "file");
    let shown = named.json(&["config", "show"]);
    assert_eq!(shown["file"], "keyfob.toml");
}

#[test]
fn paths_in_the_file_are_relative_to_it() {
    let program = Program::bare().with("KEYFOB_CONFIG", "etc/keyfob.toml");
    program.write(
        "etc/keyfob.toml",
        "store = \"sqlite:keys.db\"\nteam = \"acme\"\nnamespace = \"orders\"\n[peppers]\ncurrent = 1\nfiles = { 1 = \"pepper\" }\n",
    );
    program.write("etc/pepper", "0123456789abcdef0123456789abcdef");
    program.done(&["namespaces", "create", "orders"]);
    program.done(&["keys", "create", "laptop", "--owner", "alice"]);
    assert!(program.path("etc/keys.db").exists());
    assert_eq!(setting(&program, &[], "store").0, "sqlite:etc/keys.db");
}

#[test]
fn an_empty_variable_is_not_set() {
    let program = [
        "KEYFOB_TEAM",
        "KEYFOB_STORE",
        "KEYFOB_CONFIG",
        "KEYFOB_PREFIX",
        "KEYFOB_NAMESPACE",
        "KEYFOB_AS",
        "KEYFOB_OUTPUT",
        "KEYFOB_COLOR",
        "KEYFOB_LISTEN",
        "KEYFOB_FOLLOW_EVERY",
        "KEYFOB_OPERATOR_FILE",
        "KEYFOB_PEPPER_1",
        "KEYFOB_PEPPER_CURRENT",
        "KEYFOB_PEPPER_FILE_2",
        "KEYFOB_ANYTHING",
    ]
    .into_iter()
    .fold(Program::bare(), |program, name| program.with(name, ""));
    let ran = program.done(&["config", "show", "--output", "json"]);
    assert_eq!(ran.err, "");
    assert_eq!(
        ran.out,
        Program::bare()
            .done(&["config", "show", "--output", "json"])
            .out
    );
    // A flag may not be empty.
    assert_eq!(program.run(&["config", "show", "--team", ""]).code, 2);
}

#[test]
fn an_unknown_variable_is_warned_about() {
    let program = Program::bare().with("KEYFOB_STORES", "memory:");
    let ran = program.done(&["config", "show"]);
    assert!(
        ran.err
            .contains("unknown environment variable KEYFOB_STORES"),
        "{}",
        ran.err
    );
    let kubernetes = [
        ("KEYFOB_SERVICE_HOST", "10.0.0.1"),
        ("KEYFOB_PORT", "tcp://10.0.0.1:80"),
        ("KEYFOB_POSTGRES_PORT_5432_TCP_ADDR", "10.0.0.1"),
        ("KEYFOB_PEPPER_PORT", "tcp://10.0.0.1:80"),
        ("KEYFOB_PEPPER_SERVICE_HOST", "10.0.0.1"),
    ];
    let kubernetes = kubernetes
        .into_iter()
        .fold(Program::bare(), |program, (name, value)| {
            program.with(name, value)
        });
    let err = kubernetes.done(&["config", "show"]).err;
    assert!(!err.contains("warning"), "{err}");
}

#[test]
fn colours_depend_on_terminal_option_and_environment() {
    let program = Program::new();
    program.create(&["laptop"]);
    let escape = '\u{1b}';
    assert!(!program.done(&["keys", "list"]).out.contains(escape));
    assert!(
        program
            .done(&["keys", "list", "--color", "always"])
            .out
            .contains(escape)
    );
    let plain = program.with("NO_COLOR", "1");
    assert!(!plain.done(&["keys", "list"]).out.contains(escape));
}
