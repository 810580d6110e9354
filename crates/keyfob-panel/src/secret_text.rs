//! Secrets in texts that go into an address, where they do not belong: browsers and proxies keep addresses.

/// The text without the secrets in it, if it has any: `id:secret` becomes `id`.
pub(crate) fn without_secrets(text: &str) -> Option<String> {
    let mut kept = text.to_owned();
    while let Some((from, to)) = key_secret(&kept).or_else(|| shared_secret(&kept)) {
        kept.replace_range(from..to, "");
    }
    (kept != text).then(|| kept.trim().to_owned())
}

/// The first secret of a key: `PREFIX_sk_…`, with the colon before it.
fn key_secret(text: &str) -> Option<(usize, usize)> {
    let marks = text.match_indices(MARK);
    let found = marks.map(|(at, _)| {
        let before = text.as_bytes().get(..at).unwrap_or_default();
        let prefix = before.iter().rev().take_while(|byte| is_word(**byte));
        let mut from = at - prefix.count();
        if from > 0 && before.get(from - 1) == Some(&b':') {
            from -= 1;
        }
        let start = at + MARK.len();
        let rest = text.as_bytes().get(start..).unwrap_or_default();
        let of_secret = |byte: &&u8| is_word(**byte) || matches!(**byte, b'_' | b'-');
        (
            from,
            start,
            start + rest.iter().take_while(of_secret).count(),
        )
    });
    let mut long = found.filter(|(_, start, end)| end - start >= SECRET_MIN);
    long.next().map(|(from, _, to)| (from, to))
}

/// The first secret of a shared credential, `UUID:…`, with its colon.
fn shared_secret(text: &str) -> Option<(usize, usize)> {
    let colons = text.match_indices(':').map(|(at, _)| at);
    let mut found = colons.filter(|at| {
        let uuid = at.checked_sub(36).and_then(|from| text.get(from..*at));
        uuid.is_some_and(is_uuid) && word(text, at + 1) - at > SECRET_MIN
    });
    found.next().map(|at| (at, word(text, at + 1)))
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

/// The end of the letters and digits from here on.
fn word(text: &str, from: usize) -> usize {
    let rest = text.as_bytes().get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| is_word(**byte)).count()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

const MARK: &str = "_sk_";
/// Fewer characters are a part of a name, or of a secret that was cut off.
const SECRET_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_cut_out_and_names_are_kept() {
        let secret = "dof_sk_0123456789abcdefghijABCDEFGHIJ0123456789abc";
        let id = "dof_v1_d79e8aeb42e5476893c7d4c59a166264";
        let uuid = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502";
        let shared = "k".repeat(64);
        for (text, kept) in [
            (format!("{id}:{secret}"), id),
            (format!("{id}:{}", &secret[..30]), id),
            (secret.to_owned(), ""),
            (format!(" {secret} laptop"), "laptop"),
            (format!("{id}:{secret}{secret}"), id),
            (format!("{uuid}:{shared}"), uuid),
            (format!("ü{uuid}:{shared} ü"), &format!("ü{uuid} ü")),
        ] {
            assert_eq!(without_secrets(&text).as_deref(), Some(kept), "{text}");
        }
        for text in [
            "",
            "user:alice",
            id,
            uuid,
            "my_sk_test",
            "_sk_",
            "a:b:c",
            "disk_sk_1",
            "ü:ü_sk_ü",
        ] {
            assert_eq!(without_secrets(text), None, "{text}");
        }
    }
}
