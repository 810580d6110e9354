//! The text of a credential in a body. It must not come in a URL, and goes into no answer or log.

use serde::Deserialize;
use utoipa::ToSchema;

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
