//! `POST /v1/leaks`

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use keyfob::{Context, KeyStore, key::KeyFormat, name::Reason};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    admission::Admitted,
    authority::Call,
    body::JsonList,
    control_plane::Plane,
    refusal::Refusal,
    token::end::{By, Found},
};

/// Takes credentials that were found in the open, and revokes them
///
/// For operators, and for the program that receives the reports of secret scanners: it must check
/// the reporter's signature. Each text that is a credential of ours with its secret is revoked, if
/// it still works or could work again, and answered `true_positive`. The answer is in the order of
/// the report and repeats no text. The report counts as a use of the credential.
#[utoipa::path(
    post,
    path = "/v1/leaks",
    operation_id = "report_leaks",
    tag = "Credentials at hand",
    request_body = Vec<Leak>,
    responses((status = 200, description = "What became of each.", body = Vec<Outcome>)),
)]
pub(crate) async fn handle<S: KeyStore + 'static>(
    State(plane): State<Arc<Plane<S>>>,
    asked: Admitted,
    JsonList(leaks): JsonList<Leak>,
) -> Result<Answer<Vec<Outcome>>, Refusal> {
    asked.may(Call::Operate)?;
    if leaks.len() > LEAKS_MAX {
        return Err(Refusal::bad_request("body: more than 256 leaks"));
    }
    let mut outcomes = Vec::with_capacity(leaks.len());
    for leak in &leaks {
        let format = plane.format();
        let context = leak.context(&asked, format)?;
        let found = plane
            .end(leak.token.as_bytes(), context, By::Reporter)
            .await?;
        outcomes.push(match found {
            Found::Credential(id) => Outcome {
                label: Label::TruePositive,
                credential: Some(format.credential_id(id)),
            },
            Found::Nothing => Outcome {
                label: Label::FalsePositive,
                credential: None,
            },
        });
    }
    Ok(Answer(outcomes))
}

const LEAKS_MAX: usize = 256;

/// A text that was found in the open.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Leak {
    /// The text.
    #[schema(format = Password)]
    token: String,
    /// What the scanner takes it for. It is passed over.
    #[serde(rename = "type")]
    #[expect(dead_code, reason = "scanners send it")]
    kind: Option<String>,
    /// Where it was found, for the audit trail.
    url: Option<String>,
}

impl Leak {
    fn context(&self, asked: &Admitted, format: &KeyFormat) -> Result<Context, Refusal> {
        let place = self.url.as_deref().filter(|url| !self.tells(url, format));
        let reason = place.and_then(|url| Reason::new(&format!("found in the open: {url}")).ok());
        let reason = match reason {
            Some(reason) => reason,
            None => Reason::new("found in the open")?,
        };
        Ok(asked.context().with_reason(reason))
    }

    /// Whether a URL has the secret of the text in it, or one of any key, also if it is encoded.
    fn tells(&self, url: &str, format: &KeyFormat) -> bool {
        let (Some(url), Some(token)) = (decoded(url), decoded(&self.token)) else {
            return true;
        };
        let secret = token.rsplit(':').next().unwrap_or_default();
        let mark = format!("{}_sk_", format.prefix());
        url.contains(secret) || url.contains(&mark)
    }
}

/// A text without any percent-encoding; none if it is encoded more often than anybody does.
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

/// What became of a report.
#[derive(Serialize, ToSchema)]
#[schema(as = LeakOutcome)]
pub(crate) struct Outcome {
    label: Label,
    /// The credential that it was; null if it was none.
    #[schema(required)]
    credential: Option<String>,
}

/// Whether it was a credential of ours.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LeakLabel)]
enum Label {
    TruePositive,
    FalsePositive,
}
