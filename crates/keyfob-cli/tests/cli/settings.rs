//! Settings: `keyfob config show`

use serde_json::Value;

use crate::program::Program;

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
        "keyfob.toml",
        "prefix = \"file\"\nteam = \"file\"\n[serve]\nfollow_every = \"2s\"\n",
    );
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
    let program = Program::bare();
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
            "prefix: the key prefix has an invalid character at position 0; it must match [a-z][a-z0-9]{0,15} (from the file)",
        ),
        (
            "output = \"yaml\"",
            "output: must be one of table, json, env (from the file)",
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
fn an_unknown_variable_is_warned_about() {
    let program = Program::bare().with("KEYFOB_STORES", "memory:");
    let ran = program.done(&["config", "show"]);
    assert!(
        ran.err
            .contains("unknown environment variable KEYFOB_STORES"),
        "{}",
        ran.err
    );
    let kubernetes = Program::bare().with("KEYFOB_SERVICE_HOST", "10.0.0.1");
    assert_eq!(kubernetes.done(&["config", "show"]).err, "");
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
