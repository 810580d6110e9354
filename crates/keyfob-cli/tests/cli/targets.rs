//! `keyfob members`, `services`, `teams` and `namespaces`

use crate::program::Program;

/// Whether a credential is accepted.
fn works(program: &Program, credential: &str) -> bool {
    program.run_with(&["verify"], credential).code == 0
}

#[test]
fn removing_a_person_revokes_their_keys_only() {
    let program = Program::new();
    let laptop = program.create(&["laptop"]);
    let billing = program.create(&["laptop", "-n", "billing"]);
    let bot = program.create(&["ci", "--owner", "service:deploy-bot"]);
    let bob = program.create(&["desk", "--owner", "bob"]);

    let preview = program.run(&["members", "remove", "alice", "--dry-run"]);
    insta::assert_snapshot!(preview.redacted());
    assert!(works(&program, &laptop));
    let preview = program.json(&["members", "remove", "alice", "--dry-run"]);
    assert_eq!(preview["stops"].as_array().unwrap().len(), 2);
    assert_eq!(preview["goes_on"].as_array().unwrap().len(), 2);

    program.done(&["members", "remove", "alice", "--reason", "left the company"]);
    let anywhere = |credential: &str| {
        let args = ["verify", "--namespace", "billing"];
        program.run_with(&args, credential).code == 0
    };
    assert!(!works(&program, &laptop) && !anywhere(&billing));
    assert!(works(&program, &bot) && works(&program, &bob));
    assert_eq!(program.run(&["keys", "create", "new"]).code, 4);

    program.done(&["members", "restore", "alice"]);
    assert!(!works(&program, &laptop));
    let new = program.create(&["new"]);
    assert!(works(&program, &new));
    assert_eq!(program.run(&["members", "restore", "alice"]).code, 4);
}

#[test]
fn a_service_is_removed_and_restored() {
    let program = Program::new();
    let bot = program.create(&["ci", "--owner", "service:deploy-bot"]);
    let preview = program.json(&["services", "remove", "deploy-bot", "--dry-run"]);
    assert_eq!(preview["stops"].as_array().unwrap().len(), 1);
    program.done(&["services", "remove", "deploy-bot"]);
    assert!(!works(&program, &bot));
    program.done(&["services", "restore", "deploy-bot"]);
    assert!(!works(&program, &bot));
    program.create(&["ci2", "--owner", "service:deploy-bot"]);
}

#[test]
fn an_owner_is_the_same_with_and_without_its_kind() {
    let program = Program::new();
    let key = program.create(&["laptop"]);
    let bot = program.create(&["ci", "--owner", "service:deploy-bot"]);
    for args in [
        &["members", "remove", "service:deploy-bot"][..],
        &["services", "remove", "user:alice"],
        &["members", "remove", "user:"],
    ] {
        assert_eq!(program.run(args).code, 2, "{args:?}");
    }
    assert!(works(&program, &key) && works(&program, &bot));

    let removed = program.json(&["members", "remove", "user:alice"]);
    assert_eq!(removed["what"], "user:alice of team acme");
    assert!(!works(&program, &key) && works(&program, &bot));
    assert_eq!(
        program
            .run(&["keys", "create", "x", "--owner", "alice"])
            .code,
        4
    );
    program.done(&["members", "restore", "alice"]);
    program.create(&["x", "--owner", "user:alice"]);

    program.done(&["services", "remove", "service:deploy-bot"]);
    assert!(!works(&program, &bot));
    program.done(&["services", "restore", "deploy-bot"]);
}

#[test]
fn a_namespace_is_created_removed_and_restored() {
    let program = Program::new();
    program.done(&["namespaces", "create", "orders"]);
    assert_eq!(program.run(&["namespaces", "create", "orders"]).code, 4);
    let other = program.run(&["--team", "others", "keys", "create", "x"]);
    assert_eq!(other.code, 3, "{}", other.redacted());
    let key = program.create(&["laptop"]);
    program.done(&["--team", "others", "namespaces", "create", "theirs"]);

    let preview = program.json(&["namespaces", "remove", "orders", "--dry-run"]);
    assert_eq!(preview["stops"].as_array().unwrap().len(), 1);
    program.done(&["namespaces", "remove", "orders"]);
    assert!(!works(&program, &key));
    insta::assert_snapshot!(
        program
            .run(&["namespaces", "list", "--all-teams"])
            .redacted()
    );
    let own = program.json(&["namespaces", "list"]);
    assert_eq!(own["namespaces"].as_array().unwrap().len(), 1);
    assert_eq!(own["namespaces"][0]["removed"], true);
    program.done(&["namespaces", "restore", "orders"]);
    let key = program.create(&["laptop"]);
    assert!(works(&program, &key));

    let create = ["namespaces", "create", "billing"];
    let about = ["--label", "Billing, new", "--region", "blr1"];
    program.done(&[&create[..], &about].concat());
    let own = program.json(&["namespaces", "list"]);
    assert_eq!(own["namespaces"][0]["label"], serde_json::Value::Null);
    assert_eq!(own["namespaces"][1]["label"], "Billing, new");
    assert_eq!(own["namespaces"][1]["region"], "blr1");
}

#[test]
fn a_team_is_removed_and_restored() {
    let program = Program::new();
    let key = program.create(&["laptop"]);
    let preview = program.json(&["teams", "remove", "acme", "--dry-run"]);
    assert_eq!(preview["stops"].as_array().unwrap().len(), 1);
    program.done(&["teams", "remove", "acme"]);
    assert!(!works(&program, &key));
    assert_eq!(program.run(&["keys", "create", "x"]).code, 4);
    program.done(&["teams", "restore", "acme"]);
    program.create(&["x"]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of commands")]
fn a_mistyped_name_removes_nobody() {
    let program = Program::new();
    let key = program.create(&["laptop"]);
    let bot = program.create(&["ci", "--owner", "service:deploy-bot"]);
    for (args, hint) in [
        (
            &["members", "remove", "alcie"][..],
            "did you mean `user:alice`?",
        ),
        (
            &["members", "remove", "Alice"],
            "did you mean `user:alice`?",
        ),
        (
            &["members", "remove", "deploy-bot"],
            "did you mean `service:deploy-bot`?",
        ),
        (
            &["members", "remove", "alcie", "--dry-run"],
            "did you mean `user:alice`?",
        ),
        (&["members", "remove", "zoe"], "`keyfob members list`"),
        (
            &["services", "remove", "alice"],
            "did you mean `user:alice`?",
        ),
        (
            &["services", "remove", "deploybot"],
            "did you mean `service:deploy-bot`?",
        ),
        (
            &["--team", "amce", "members", "remove", "alice"],
            "`keyfob members list`",
        ),
        (&["teams", "remove", "amce"], "did you mean `acme`?"),
        (
            &["namespaces", "remove", "ordres"],
            "did you mean `orders`?",
        ),
        (
            &["keys", "revoke-all", "--owner", "alcie"],
            "did you mean `user:alice`?",
        ),
        (
            &["-n", "ordres", "keys", "revoke-all", "--whole-namespace"],
            "did you mean `orders`?",
        ),
        (
            &["-n", "ordres", "keys", "create", "x"],
            "`keyfob namespaces create`",
        ),
        (&["-n", "ordres", "keys", "list"], "did you mean `orders`?"),
        (
            &["keys", "list", "--owner", "alcie"],
            "did you mean `user:alice`?",
        ),
        (
            &["--team", "amce", "keys", "list", "--all-namespaces"],
            "did you mean `acme`?",
        ),
        (
            &["--team", "amce", "keys", "purge", "--dead-for", "90d"],
            "did you mean `acme`?",
        ),
        (
            &["-n", "ordres", "policy", "show"],
            "did you mean `orders`?",
        ),
        (
            &["-n", "ordres", "policy", "set", "--max-ttl", "90d"],
            "did you mean `orders`?",
        ),
        (
            &["-n", "ordres", "policy", "clear"],
            "did you mean `orders`?",
        ),
        (
            &["-n", "ordres", "legacy", "sunset", "90d"],
            "did you mean `orders`?",
        ),
        (
            &["-n", "ordres", "legacy", "cut-off"],
            "did you mean `orders`?",
        ),
        (
            &["-n", "ordres", "legacy", "brownout", "--for", "1h"],
            "did you mean `orders`?",
        ),
        (
            &["-n", "ordres", "legacy", "restore", "--inherit"],
            "did you mean `orders`?",
        ),
        (
            &["-n", "ordres", "legacy", "report"],
            "did you mean `orders`?",
        ),
    ] {
        let ran = program.run(args);
        assert_eq!(ran.code, 3, "{args:?}: {}", ran.redacted());
        assert!(ran.err.contains(hint), "{args:?}: {}", ran.err);
    }
    assert!(works(&program, &key) && works(&program, &bot));
    let listed = program.json(&["namespaces", "list"]);
    assert_eq!(listed["namespaces"].as_array().unwrap().len(), 1);

    program.done(&["members", "remove", "mallory", "--in-advance"]);
    let refused = program.run(&["keys", "create", "x", "--owner", "mallory"]);
    assert_eq!(refused.code, 4, "{}", refused.redacted());
}

#[test]
fn a_removal_says_how_many_keys_it_ended() {
    let program = Program::new();
    program.create(&["laptop"]);
    program.create(&["laptop", "-n", "billing"]);
    program.create(&["ci", "--owner", "service:deploy-bot"]);
    let text = program.done(&["members", "remove", "alice"]);
    let said = format!("{}{}", text.out, text.err);
    assert!(
        said.contains("2 keys revoked") && said.contains("1 key that"),
        "{said}"
    );
    let again = program.json(&["members", "remove", "alice"]);
    assert_eq!(again["keys_revoked"], 0);
    assert_eq!(again["keys_created_for_others"], 1);
    let team = program.json(&["keys", "revoke-all", "--whole-team"]);
    assert_eq!(
        (&team["keys_revoked"], &team["legacy_revoked"]),
        (&1.into(), &0.into())
    );
}

#[test]
fn people_services_and_teams_are_listed() {
    let program = Program::new();
    program.create(&["laptop"]);
    program.create(&["desk", "--owner", "bob"]);
    program.create(&["ci", "--owner", "service:deploy-bot"]);
    program.done(&["members", "remove", "bob"]);
    let names = |args: &[&str]| -> Vec<String> {
        let listed = program.json(args);
        let items = listed["items"].as_array().unwrap().iter();
        let shown = |item: &serde_json::Value| {
            let removed = if item["removed"] == true {
                " removed"
            } else {
                ""
            };
            format!("{}{removed}", item["name"].as_str().unwrap())
        };
        items.map(shown).collect()
    };
    assert_eq!(
        names(&["members", "list"]),
        ["user:alice", "user:bob removed"]
    );
    assert_eq!(names(&["members", "list", "--limit", "1"]), ["user:alice"]);
    let rest = ["members", "list", "--after", "user:alice"];
    assert_eq!(names(&rest), ["user:bob removed"]);
    assert_eq!(names(&["services", "list"]), ["service:deploy-bot"]);
    assert_eq!(names(&["teams", "list"]), ["acme"]);
}
