//! Patterns of credentials, from their definition in `KeyFormat`.

use base64::{Engine, engine::general_purpose::STANDARD};
use keyfob::key::KeyFormat;
use regex::bytes::Regex;

/// The patterns of a key format.
#[derive(Debug)]
pub(super) struct Patterns {
    /// All finds, in named groups.
    pub(super) finds: Regex,
    /// Key ids, which may belong to a secret elsewhere in the file.
    pub(super) ids: Regex,
}

impl Patterns {
    pub(super) fn new(format: &KeyFormat) -> Self {
        let id = format.key_id_pattern();
        // The start of every credential of this format in base64, without the last bytes, which
        // depend on what follows.
        let head = format!("{}_v1_", format.prefix());
        let sure = head.len() / 3 * 3;
        let encoded = STANDARD.encode(&head.as_bytes()[..sure]);
        let encoded = regex::escape(&encoded);
        let finds = format!(
            "(?-u)(?<key>{})|(?<secret>{})|(?<legacy>{LEGACY})|(?i-u:basic +)(?<basic>{BASE64})|(?<encoded>{encoded}{BASE64})",
            format.credential_pattern(),
            format.secret_pattern(),
        );
        Self {
            finds: compile(&finds),
            ids: compile(&format!("(?-u){id}")),
        }
    }
}

/// More than the longest text that the patterns can match.
pub(super) const LONGEST: usize = 1024;

const LEGACY: &str = "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}:[A-Za-z0-9]{64}";
const BASE64: &str = "[A-Za-z0-9+/]{16,400}={0,2}";

fn compile(pattern: &str) -> Regex {
    match Regex::new(pattern) {
        Ok(pattern) => pattern,
        // Prefixes are letters and digits, and the rest is constant.
        Err(_) => unreachable!("a prefix of letters and digits"),
    }
}
