//! What a refused client is told.

use std::{borrow::Cow, str::FromStr};

/// The form of the body of a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalForm {
    /// Problem details (RFC 9457).
    #[default]
    Problem,
    /// `{"error", "code"}`, as `OpenWhisk` answers.
    OpenWhisk,
    /// `{"id", "message"}`, as the published interface of namespaces and keys answers.
    Contract,
}

impl RefusalForm {
    /// The forms by their names in a configuration.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("problem", Self::Problem),
        ("openwhisk", Self::OpenWhisk),
        ("contract", Self::Contract),
    ];
}

/// The body of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Its media type.
    pub content_type: &'static str,
    /// Its content. It says no more than the status does.
    pub text: Cow<'static, str>,
}

impl RefusalForm {
    pub(crate) fn body(self, status: u16, request_id: Option<&str>) -> Body {
        let words = Words::of(status);
        match self {
            Self::Problem => Body {
                content_type: "application/problem+json",
                text: Cow::Borrowed(words.problem),
            },
            Self::Contract => Body {
                content_type: "application/json",
                text: Cow::Borrowed(words.contract),
            },
            Self::OpenWhisk => Body {
                content_type: "application/json",
                // The identifier is a word of printable ASCII without quotes.
                text: Cow::Owned(format!(
                    r#"{{"error":"{}","code":"{}"}}"#,
                    words.openwhisk,
                    request_id.unwrap_or_default()
                )),
            },
        }
    }
}

/// What is said about a status in each form.
struct Words {
    problem: &'static str,
    contract: &'static str,
    openwhisk: &'static str,
}

impl Words {
    fn of(status: u16) -> Self {
        match status {
            400 => Self {
                problem: r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"the request can be read in more than one way"}"#,
                contract: r#"{"id":"bad_request","message":"the request can be read in more than one way"}"#,
                openwhisk: "The request can be read in more than one way.",
            },
            403 => Self {
                problem: r#"{"type":"about:blank","title":"Forbidden","status":403,"detail":"the credential does not allow this"}"#,
                contract: r#"{"id":"forbidden","message":"the credential does not allow this"}"#,
                openwhisk: "The supplied authentication is not authorized to access this resource.",
            },
            429 => Self {
                problem: r#"{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"too many requests, try again later"}"#,
                contract: r#"{"id":"too_many_requests","message":"too many requests, try again later"}"#,
                openwhisk: "Too many requests in the last minute.",
            },
            503 => Self {
                problem: r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"try again later"}"#,
                contract: r#"{"id":"service_unavailable","message":"try again later"}"#,
                openwhisk: "The server is currently unavailable.",
            },
            _ => Self {
                problem: r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"unable to authenticate you"}"#,
                contract: r#"{"id":"unauthorized","message":"unable to authenticate you"}"#,
                openwhisk: "The supplied authentication is invalid.",
            },
        }
    }
}

/// How a client can authenticate: the `WWW-Authenticate` fields of a 401 (RFC 9110, section 11.6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenges(Vec<String>);

impl Challenges {
    /// A challenge for each scheme, Basic and Bearer, with this realm.
    ///
    /// # Errors
    ///
    /// [`ChallengesError`] if the realm has other characters than printable ASCII.
    pub fn of_realm(realm: &str) -> Result<Self, ChallengesError> {
        if !realm.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(ChallengesError);
        }
        let quoted = realm.replace('\\', r"\\").replace('"', "\\\"");
        let schemes = ["Basic", "Bearer"];
        Ok(Self(
            schemes
                .map(|scheme| format!(r#"{scheme} realm="{quoted}""#))
                .into(),
        ))
    }

    /// Only the challenge for Bearer, without which a browser asks its user for a name and a password.
    #[must_use]
    pub fn bearer_only(mut self) -> Self {
        self.0.retain(|one| one.starts_with("Bearer"));
        self
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl FromStr for Challenges {
    type Err = ChallengesError;

    fn from_str(realm: &str) -> Result<Self, ChallengesError> {
        Self::of_realm(realm)
    }
}

/// A realm has a character that a header field cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be printable ASCII")]
pub struct ChallengesError;
