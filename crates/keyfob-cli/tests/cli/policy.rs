//! `keyfob policy …`

use serde_json::json;

use crate::program::Program;

#[test]
fn a_policy_is_set_option_by_option_and_cleared() {
    let program = Program::new();
    program.create(&["laptop"]);
    insta::assert_snapshot!(program.run(&["policy", "show"]).redacted());

    program.done(&[
        "policy",
        "set",
        "--max-ttl",
        "90d",
        "--expiry-required",
        "true",
    ]);
    let set = program.json(&[
        "policy",
        "set",
        "--keys-per-owner",
        "2",
        "--max-grace",
        "1h",
        "--min-ttl",
        "2h",
        "--unique-names",
        "false",
    ]);
    assert_eq!(
        set,
        json!({
            "namespace": "orders", "min_ttl": "2h", "max_ttl": "90d", "expiry_required": true,
            "keys_per_owner": 2, "unique_names": false, "max_grace": "1h",
        })
    );
    for (args, code) in [
        (&["keys", "create", "a"][..], 1),
        (&["keys", "create", "a", "--expires", "91d"], 1),
        (&["keys", "create", "a", "--expires", "1h"], 1),
        (&["keys", "create", "a", "--expires", "90d"], 0),
        (&["keys", "create", "b", "--expires", "90d"], 4),
    ] {
        assert_eq!(program.run(args).code, code, "{args:?}");
    }
    // The default policy is separate.
    assert_eq!(
        program.json(&["policy", "show", "--default"])["max_ttl"],
        json!(null)
    );
    assert_eq!(program.json(&["policy", "clear"])["max_ttl"], json!(null));
    program.done(&["policy", "set", "--default", "--max-ttl", "30d"]);
    assert_eq!(program.json(&["policy", "show"])["max_ttl"], "30d");
    assert_eq!(
        program.json(&[
            "policy",
            "set",
            "--default",
            "--max-ttl",
            "none",
            "--keys-per-owner",
            "none"
        ])["max_ttl"],
        json!(null)
    );
    assert_eq!(
        program
            .run(&["policy", "set", "--min-ttl", "9d", "--max-ttl", "8d"])
            .code,
        2
    );
}
