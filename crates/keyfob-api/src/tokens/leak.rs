//! Reports of leaked credentials.

use keyfob::{audit::AuditEntry, key::KeyFormat, name::Reason};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{refusal::Refusal, tokens::revocation::Found};

const FOUND: &str = AuditEntry::FOUND_IN_THE_OPEN;

/// A text that was found where it does not belong.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Leak {
    /// The text.
    #[schema(format = Password)]
    pub(super) token: String,
    /// What the scanner takes it for. Ignored.
    #[serde(rename = "type")]
    #[expect(dead_code, reason = "scanners send it")]
    kind: Option<String>,
    /// Where it was found, for the audit trail.
    url: Option<String>,
}

impl Leak {
    /// The reason of the revocation, for the audit trail: with the place, unless that holds a secret.
    /// Returns whether it has the place.
    pub(super) fn reason(&self, format: &KeyFormat) -> Result<(Reason, bool), Refusal> {
        let place = self.url.as_deref().filter(|url| !self.tells(url, format));
        let reason = place.and_then(|url| Reason::new(&format!("{FOUND}: {url}")).ok());
        match reason {
            Some(reason) => Ok((reason, true)),
            None => Ok((Reason::new(FOUND)?, false)),
        }
    }

    /// Whether a URL holds the secret of the text, or that of any key, also percent-encoded.
    fn tells(&self, url: &str, format: &KeyFormat) -> bool {
        let (Some(url), Some(token)) = (decoded(url), decoded(&self.token)) else {
            return true;
        };
        let secret = token.rsplit(':').next().unwrap_or_default();
        let mark = format!("{}_sk_", format.prefix());
        url.contains(secret) || url.contains(&mark)
    }
}

/// The text after all percent-decoding; none if it is encoded more than eight times.
fn decoded(text: &str) -> Option<String> {
    let mut text = text.to_owned();
    for _ in 0..8 {
        let once = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if once == text {
            return Some(text);
        }
        text = once;
    }
    None
}

/// The outcome of a report.
#[derive(Serialize, ToSchema)]
#[schema(as = LeakOutcome)]
#[expect(clippy::struct_excessive_bools, reason = "an answer has each")]
pub(crate) struct Outcome {
    label: Label,
    /// The credential that it was; null if it was none.
    #[schema(required)]
    credential: Option<String>,
    /// Whether it is revoked, and never works again. A legacy credential is revoked for administrators only.
    revoked: bool,
    /// Whether this report revoked it: the audit trail says that it was found in the open.
    recorded: bool,
    /// Whether it is a secret that a rotation replaced, and that does not work again: the key was not changed, and may
    /// work with its new secret.
    secret_replaced: bool,
    /// Whether the audit trail has the address: not one that holds a secret or that it cannot keep, and not that of
    /// a credential that was revoked before.
    url_recorded: bool,
}

impl Outcome {
    pub(super) fn new(found: Option<Found>, url_recorded: bool, format: &KeyFormat) -> Self {
        Self {
            label: match found {
                Some(_) => Label::TruePositive,
                None => Label::FalsePositive,
            },
            credential: found.map(|found| format.credential_id(found.credential)),
            revoked: found.is_some_and(|found| found.revoked),
            recorded: found.is_some_and(|found| found.recorded),
            secret_replaced: found.is_some_and(|found| found.replaced),
            url_recorded: url_recorded && found.is_some_and(|found| found.recorded),
        }
    }
}

/// Whether it was a credential of this service.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LeakLabel)]
enum Label {
    TruePositive,
    FalsePositive,
}
