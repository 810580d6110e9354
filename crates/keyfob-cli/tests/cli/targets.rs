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
    assert_eq!(other.code, 4, "{}", other.redacted());
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
