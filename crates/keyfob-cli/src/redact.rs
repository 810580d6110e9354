//! Redacting credentials in output and logs.

use std::{borrow::Cow, sync::LazyLock};

use regex::Regex;

/// Replaces everything that looks like the secret part of a credential: of any prefix, also if it is
/// truncated or too long.
pub(crate) fn redact(text: &str) -> String {
    let text = SECRET.replace_all(text, "[redacted]");
    let text = match text {
        Cow::Borrowed(text) => LEGACY.replace_all(text, "$uuid:[redacted]"),
        Cow::Owned(text) => Cow::Owned(LEGACY.replace_all(&text, "$uuid:[redacted]").into_owned()),
    };
    let text = PASSWORD.replace_all(&text, "$user:[redacted]@");
    FIELD.replace_all(&text, "$name=[redacted]").into_owned()
}

static SECRET: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"[a-z][a-z0-9]{0,15}_sk_[A-Za-z0-9_+/=-]*"));
static LEGACY: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?<uuid>[0-9A-Fa-f-]{36}):[A-Za-z0-9]+"));
/// The password in a URL: everything up to the last `@` of the word.
static PASSWORD: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?<user>[a-z][a-z0-9+.-]*://[^\s/@:]*):\S*@"));
/// The password in a list of `name=value`, or in the parameters of a URL.
static FIELD: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(?i)(?<name>\b\w*password)=('[^']*'|"[^"]*"|[^\s&'"]+)"#));

fn pattern(text: &str) -> Regex {
    match Regex::new(text) {
        Ok(pattern) => pattern,
        // The patterns are constants, and a test compiles each.
        Err(_) => unreachable!("a constant pattern"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_either_kind_are_blotted_out_and_nothing_else() {
        let secret = "x".repeat(36);
        let id = "d79e8aeb42e5476893c7d4c59a166264";
        assert_eq!(
            redact(&format!(
                "unexpected argument 'acme_v1_{id}:acme_sk_{secret}' found"
            )),
            format!("unexpected argument 'acme_v1_{id}:[redacted]' found")
        );
        assert_eq!(redact("acme_sk_short, then"), "[redacted], then");
        let uuid = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502";
        assert_eq!(
            redact(&format!("'{uuid}:{}'", "y".repeat(64))),
            format!("'{uuid}:[redacted]'")
        );
        assert_eq!(
            redact("postgres://keyfob:pass@db/keys"),
            "postgres://keyfob:[redacted]@db/keys"
        );
        for (text, shown) in [
            (
                "at postgres://k:a/b@c@db/x",
                "at postgres://k:[redacted]@db/x",
            ),
            (
                "host=db password=a/b user=k",
                "host=db password=[redacted] user=k",
            ),
            (
                "host=db password='a b' user=k",
                "host=db password=[redacted] user=k",
            ),
            (
                "postgres://db/x?sslpassword=a&user=k",
                "postgres://db/x?sslpassword=[redacted]&user=k",
            ),
        ] {
            assert_eq!(redact(text), shown);
        }
        let harmless = "no such key: dof_v1_0123; see http://127.0.0.1:8080/auth";
        assert_eq!(redact(harmless), harmless);
    }
}
