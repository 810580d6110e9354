//! The text of a credential in a body. It must not come in a URL, and goes into no answer or log.

use axum::{
    extract::{FromRequest, Request},
    http::header,
};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    body::{parse, read},
    refusal::Refusal,
};

/// The text of a credential.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Presented {
    /// The whole credential, `id:secret`.
    #[schema(format = Password)]
    token: String,
    /// What kind of token it is, as OAuth 2.0 clients may say. Ignored.
    #[expect(dead_code, reason = "clients send it")]
    token_type_hint: Option<String>,
}

impl Presented {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.token.as_bytes()
    }
}

/// A form, as OAuth 2.0 has it (RFC 7009, RFC 7662), or the same fields as JSON.
impl<S: Send + Sync> FromRequest<S> for Presented {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        let is_form = essence.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        if !is_form && !essence.eq_ignore_ascii_case("application/json") {
            return Err(Refusal::UNSUPPORTED_MEDIA_TYPE);
        }
        let body = read(request).await?;
        if is_form {
            let read = serde_urlencoded::from_bytes(&body);
            read.map_err(|_| Refusal::bad_request("token: missing or repeated"))
        } else {
            parse(&body)
        }
    }
}
