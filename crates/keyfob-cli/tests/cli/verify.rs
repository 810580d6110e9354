//! `keyfob verify`

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::program::{Program, id};

#[test]
fn the_exit_code_is_the_verdict() {
    let program = Program::new();
    let key = program.create(&["laptop", "--scope", "function:read"]);
    let accepted = program.run_with(&["verify"], format!("{key}\n"));
    assert_eq!(accepted.secrets(), 0);
    insta::assert_snapshot!(accepted.redacted());
    let basic = format!("Basic {}", STANDARD.encode(&key));
    for input in [key.clone(), basic, format!("Bearer {key}")] {
        let ran = program.run_with(&["verify", "--output", "json"], input);
        assert_eq!(ran.code, 0);
        assert_eq!(ran.json()["key"], id(&key));
    }
    assert_eq!(
        program
            .run_with(&["verify", "--scope", "function:read"], &*key)
            .code,
        0
    );

    let refused = |args: &[&str], input: &str| {
        let ran = program.run_with(&[&["verify", "--output", "json"], args].concat(), input);
        assert_eq!((ran.code, ran.secrets()), (1, 0));
        ran.json()["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        refused(&["--scope", "function:invoke"], &key),
        "missing_scope"
    );
    assert_eq!(
        refused(&["--namespace", "billing"], &key),
        "wrong_namespace"
    );
    assert_eq!(refused(&[], "nonsense"), "malformed");
    assert_eq!(refused(&[], &key[..key.len() - 1]), "malformed");
    program.done(&["keys", "disable", id(&key)]);
    assert_eq!(refused(&[], &key), "disabled");
    insta::assert_snapshot!("refused", program.run_with(&["verify"], &*key).redacted());

    assert_eq!(program.run_with(&["verify"], "\n").code, 2);
    assert_eq!(program.run_with(&["verify"], "x".repeat(5_000)).code, 2);
    // A verification records no usage.
    assert_eq!(program.json(&["keys", "show", id(&key)])["uses"], 0);
}

#[test]
fn peppers_come_from_files_and_the_environment() {
    let program = Program::new();
    program.write("pepper", "0123456789abcdef0123456789abcdef\n");
    program.write(
        "keyfob.toml",
        "[peppers]\ncurrent = 1\n[peppers.files]\n1 = \"pepper\"\n",
    );
    let config = ["--config", "keyfob.toml"];
    program.done(&["namespaces", "create", "orders"]);
    let ran = program.done(&[&config[..], &["keys", "create", "laptop"]].concat());
    assert!(
        ran.err
            .contains("every user of this machine can read pepper"),
        "{}",
        ran.redacted()
    );
    let key = ran.out.trim_end().to_owned();
    let verify = [&config[..], &["verify"]].concat();
    assert_eq!(program.run_with(&verify, &*key).code, 0);

    // Without the pepper, or with another, the key cannot be verified.
    assert_eq!(program.run_with(&["verify"], &*key).code, 2);
    let program = program
        .with("KEYFOB_PEPPER_1", "0123456789abcdef0123456789abcdef")
        .with("KEYFOB_PEPPER_CURRENT", "1");
    assert_eq!(program.run_with(&["verify"], &*key).code, 0);
    let shown = program.done(&["config", "show"]);
    assert!(shown.out.contains("pepper 1") && !shown.out.contains("0123456789abcdef"));
    let program = program.with("KEYFOB_PEPPER_2", "short");
    let ran = program.run(&["config", "show"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("pepper 2 is shorter than 32 bytes"),
        "{}",
        ran.err
    );
}
