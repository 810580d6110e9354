//! Which namespace a target is for.

use keyfob_gateway::{Reading, Rules};

use crate::fixture::{Fixture, ask};

/// The targets of the table, each with the line that says what is expected.
fn cases() -> Vec<(&'static str, &'static [u8])> {
    let mut expected = "";
    let mut cases = Vec::new();
    for line in include_bytes!("targets.txt").split(|byte| *byte == b'\n') {
        match std::str::from_utf8(line) {
            Ok("") => {}
            Ok(text) if text.starts_with("# ") => {}
            Ok(text) if text.starts_with("= ") || matches!(text, "none" | "ambiguous") => {
                expected = text;
            }
            _ => cases.push((expected, line)),
        }
    }
    assert!(cases.len() > 100, "{}", cases.len());
    cases
}

fn shown(target: &[u8]) -> String {
    String::from_utf8_lossy(target).into_owned()
}

#[test]
fn every_target_is_read_as_the_table_says() {
    let rules = Rules::openwhisk();
    for (expected, target) in cases() {
        let reading = match rules.read(target, Some(b"GET"), Some(b"gw.test")) {
            Reading::Namespace(name) => format!("= {name}"),
            Reading::Credential => "= _".to_owned(),
            Reading::NoRule => "none".to_owned(),
            Reading::Ambiguous => "ambiguous".to_owned(),
            _ => unreachable!(),
        };
        assert_eq!(reading, expected, "{}", shown(target));
    }
}

#[test]
fn a_key_of_orders_opens_orders_and_nothing_else() {
    let fixture = Fixture::new();
    let (key, _) = (fixture.key("orders"), fixture.key("other"));
    let authorizer = fixture.authorizer();
    for (expected, target) in cases() {
        let answer = ask(&authorizer, target, &key);
        let (status, reason) = match expected {
            "= orders" | "= _" => (200, "valid"),
            "none" => (403, "no_rule"),
            "ambiguous" => (400, "ambiguous_target"),
            _ => (403, "wrong_namespace"),
        };
        let text = shown(target);
        assert_eq!(
            (answer.status(), answer.reason()),
            (status, reason),
            "{text}"
        );
        if let Some(identity) = answer.identity() {
            assert_eq!(identity.namespace.as_str(), "orders", "{text}");
        }
    }
}

#[test]
fn an_ambiguous_target_is_refused_before_any_key_is_looked_at() {
    let fixture = Fixture::new();
    let authorizer = fixture.authorizer();
    let (valid, twice) = (fixture.key("orders"), [&b"x"[..], b"y"]);
    for target in [
        &b"/api/v1/namespaces/orders/..%2fother"[..],
        b"//",
        b"/a\r\nX: y",
    ] {
        for fields in [&[][..], &[valid.as_bytes()], &[&b"nonsense"[..]], &twice] {
            let question = keyfob_gateway::Question::of_request(target, fields);
            let answer = authorizer.decide(&question, crate::fixture::now());
            assert_eq!(
                (answer.status(), answer.reason()),
                (400, "ambiguous_target")
            );
            assert!(!answer.fields().any(|(name, _)| name == "www-authenticate"));
        }
    }
}
