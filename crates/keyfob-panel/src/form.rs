//! Forms and queries: what was typed is kept as it is, and is shown again with the fault.

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};

/// The fields of a form or a query, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// The fields of the body of a form.
    pub(crate) fn of(body: &[u8]) -> Option<Self> {
        serde_urlencoded::from_bytes(body).ok().map(Self)
    }

    /// The first field of this name without space around it; empty if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        let field = self.0.iter().find(|(field, _)| field == name);
        field.map_or("", |(_, value)| value.trim())
    }

    pub(crate) fn owned(&self, name: &str) -> String {
        self.get(name).to_owned()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(field, _)| field == name)
    }

    /// All fields, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.0.iter();
        fields.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// All fields of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let fields = self.0.iter().filter(|(field, _)| field == name);
        fields.map(|(_, value)| value.clone()).collect()
    }
}

/// The fields of a form that was sent.
pub(crate) struct Form(pub(crate) Fields);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let bytes = axum::body::Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(IntoResponse::into_response)?;
        let fields = Fields::of(&bytes);
        let fields = fields.ok_or_else(|| StatusCode::BAD_REQUEST.into_response())?;
        Ok(Self(fields))
    }
}

/// The fields of the address.
pub(crate) struct Query(pub(crate) Fields);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let fields = serde_urlencoded::from_str(parts.uri.query().unwrap_or_default());
        let fields = fields.map_err(|_| StatusCode::BAD_REQUEST.into_response())?;
        Ok(Self(Fields(fields)))
    }
}

/// What is wrong with a form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The field; empty for the form as a whole.
    pub(crate) field: String,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(field: &str, message: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            message: message.into(),
        }
    }

    /// The fault that a refusal of the control plane names: `field: message`, or `field has …`.
    pub(crate) fn of(message: &str, fields: &[(&str, &str)]) -> Self {
        let named = fields.iter().find_map(|(api, field)| {
            let rest = message.strip_prefix(api)?;
            let said = rest.strip_prefix(':').map(str::trim);
            said.or(rest.starts_with(' ').then_some(message))
                .map(|said| (*field, said))
        });
        let (field, message) = named.unwrap_or(("", message));
        Self::new(field, sentence(message))
    }

    /// The message if it is about this field.
    pub(crate) fn about(&self, field: &str) -> Option<&str> {
        (self.field == field && !self.message.is_empty()).then_some(self.message.as_str())
    }

    pub(crate) fn is_some(&self) -> bool {
        !self.message.is_empty()
    }
}

/// A message as a sentence.
pub(crate) fn sentence(message: &str) -> String {
    let mut characters = message.chars();
    let first = characters
        .next()
        .map(|first| first.to_uppercase().to_string());
    let mut text = first.unwrap_or_default() + characters.as_str();
    if !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_shown_at_its_field() {
        let fields = [("expires_in", "life"), ("name", "name")];
        let fault = Fault::of("expires_in: longer than the policy allows", &fields);
        assert_eq!(fault.about("life"), Some("Longer than the policy allows."));
        assert_eq!(fault.about("name"), None);
        let fault = Fault::of("name has a line break, at position 2", &fields);
        let message = "Name has a line break, at position 2.";
        assert_eq!(fault.about("name"), Some(message));
        let other = Fault::of("names are unique", &fields);
        assert_eq!(other.about(""), Some("Names are unique."));
    }
}
