//! Writing an answer for Envoy.

use std::borrow::Cow;

use keyfob_gateway::{Answer, field};

use crate::{
    message::{
        BoolValue, CheckResponse, DeniedHttpResponse, Header, HeaderValueOption, HttpResponse,
        HttpStatus, Kind, Member, OkHttpResponse, Status, Struct, Value,
    },
    question::Fields,
};

/// An answer about a request with these header fields, if they are known.
pub(crate) fn response(answer: &Answer, fields: Option<Fields<'_>>) -> CheckResponse {
    let (code, http_response) = if answer.is_accepted() {
        (OK, HttpResponse::Ok(accepted(answer, fields)))
    } else {
        (code(answer.status()), HttpResponse::Denied(refused(answer)))
    };
    CheckResponse {
        status: Some(Status { code }),
        http_response: Some(http_response),
        dynamic_metadata: Some(metadata(answer)),
    }
}

/// What is changed of a request that may pass: it has the identity fields of the answer, and neither the
/// credential nor identity fields of the client.
fn accepted(answer: &Answer, fields: Option<Fields<'_>>) -> OkHttpResponse {
    let mut headers = Vec::with_capacity(field::IDENTITY.len());
    let mut headers_to_remove = vec!["authorization".to_owned()];
    for (name, value) in answer.fields() {
        if !field::IDENTITY.contains(&name) {
            continue;
        }
        if value.is_empty() {
            // Envoy would leave out a field without a value, and keep the client's.
            headers_to_remove.push(name.to_owned());
        } else {
            headers.push(set(name, value));
        }
    }
    // After a field is set, it must not be removed.
    let is_set = |name: &str| field::IDENTITY.contains(&name);
    for name in fields.into_iter().flat_map(Fields::names) {
        if is_own(name)
            && let Ok(name) = str::from_utf8(name)
            && !is_set(&name.to_ascii_lowercase())
            && !headers_to_remove.iter().any(|one| one == name)
        {
            headers_to_remove.push(name.to_owned());
        }
    }
    OkHttpResponse {
        headers,
        headers_to_remove,
    }
}

/// Whether a program could take a field for one of Keyfob's: some read `_` and `-` alike.
fn is_own(name: &[u8]) -> bool {
    let start = name.iter().zip(OWN).all(|(byte, own)| match byte {
        b'_' => *own == b'-',
        byte => byte.to_ascii_lowercase() == *own,
    });
    start && name.len() >= OWN.len()
}

fn refused(answer: &Answer) -> DeniedHttpResponse {
    let shown = answer.fields().filter(|(name, _)| *name != field::REASON);
    let mut headers: Vec<_> = shown
        .map(|(name, value)| match name {
            // There is one for each scheme.
            "www-authenticate" => add(name, value),
            _ => set(name, value),
        })
        .collect();
    let body = answer.body();
    if let Some(body) = body {
        headers.push(set("content-type", body.content_type.into()));
    }
    DeniedHttpResponse {
        status: Some(HttpStatus {
            code: answer.status().into(),
        }),
        headers,
        body: body.map(|body| body.text.to_string()).unwrap_or_default(),
    }
}

/// For Envoy's access log and other filters, as `envoy.filters.http.ext_authz`, `keyfob`.
fn metadata(answer: &Answer) -> Struct {
    let text = |key: &str, text: &str| Member {
        key: key.to_owned(),
        value: Some(Value {
            kind: Some(Kind::Text(text.to_owned())),
        }),
    };
    let mut fields = vec![text("reason", answer.reason())];
    if let Some(identity) = answer.identity() {
        fields.push(text("key_id", &identity.key_id));
        fields.push(text("owner", &identity.owner));
        fields.push(text("team", identity.team.as_str()));
        fields.push(text("namespace", identity.namespace.as_str()));
        fields.push(text("scopes", &identity.scopes));
        if let Some(at) = identity.expires_at {
            fields.push(text("expires", &at.to_string()));
        }
    }
    Struct {
        fields: vec![Member {
            key: "keyfob".to_owned(),
            value: Some(Value {
                kind: Some(Kind::Struct(Struct { fields })),
            }),
        }],
    }
}

/// Sets a field, in the place of all that there are of this name.
fn set(name: &str, value: Cow<'_, str>) -> HeaderValueOption {
    HeaderValueOption {
        append: Some(BoolValue { value: false }),
        append_action: OVERWRITE_IF_EXISTS_OR_ADD,
        ..add(name, value)
    }
}

/// Adds a field to those that there are of this name.
fn add(name: &str, value: Cow<'_, str>) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(Header {
            key: name.to_owned(),
            value: value.into_owned(),
        }),
        append: None,
        append_action: APPEND_IF_EXISTS_OR_ADD,
    }
}

/// The code of `google.rpc` for a status. Envoy refuses for every one but OK.
fn code(status: u16) -> i32 {
    match status {
        400 => INVALID_ARGUMENT,
        401 => UNAUTHENTICATED,
        429 => RESOURCE_EXHAUSTED,
        503 => UNAVAILABLE,
        _ => PERMISSION_DENIED,
    }
}

const OWN: &[u8] = b"x-keyfob-";

const OK: i32 = 0;
const INVALID_ARGUMENT: i32 = 3;
const PERMISSION_DENIED: i32 = 7;
const RESOURCE_EXHAUSTED: i32 = 8;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

const APPEND_IF_EXISTS_OR_ADD: i32 = 0;
const OVERWRITE_IF_EXISTS_OR_ADD: i32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_own_field_is_found() {
        for name in [
            "x-keyfob-owner",
            "X_Keyfob_Owner",
            "x-KEYFOB_owner",
            "x_keyfob-",
        ] {
            assert!(is_own(name.as_bytes()), "{name}");
        }
        for name in [
            "",
            "x",
            "x-keyfob",
            "x-keyfo-b",
            "x-keyfobowner",
            "-x-keyfob-",
            "x.keyfob.",
        ] {
            assert!(!is_own(name.as_bytes()), "{name}");
        }
    }
}
