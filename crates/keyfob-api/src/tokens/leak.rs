//! Reports of leaked credentials.

use keyfob::{
    key::{CredentialId, KeyFormat},
    name::Reason,
};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::refusal::Refusal;

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
    pub(super) fn reason(&self, format: &KeyFormat) -> Result<Reason, Refusal> {
        let place = self.url.as_deref().filter(|url| !self.tells(url, format));
        let reason = place.and_then(|url| Reason::new(&format!("found in the open: {url}")).ok());
        match reason {
            Some(reason) => Ok(reason),
            None => Ok(Reason::new("found in the open")?),
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
pub(crate) struct Outcome {
    label: Label,
    /// The credential that it was; null if it was none.
    #[schema(required)]
    credential: Option<String>,
}

impl Outcome {
    pub(super) fn new(found: Option<CredentialId>, format: &KeyFormat) -> Self {
        Self {
            label: match found {
                Some(_) => Label::TruePositive,
                None => Label::FalsePositive,
            },
            credential: found.map(|id| format.credential_id(id)),
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
