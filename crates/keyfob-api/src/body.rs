//! Reads bodies (JSON) and query parameters.

use std::{error::Error, fmt, marker::PhantomData};

use axum::{
    body::{Bytes, to_bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderValue, Method, header, request::Parts},
};
use http_body_util::LengthLimitError;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_path_to_error::Segment;
use tokio::time::timeout;

use crate::{refusal::Refusal, request_meta::RequestMeta};

/// A body that is a JSON object.
///
/// A refusal names the field and the position in the body, and never repeats a value.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let Object(value) = parse(&read_json(request).await?)?;
        Ok(Self(value))
    }
}

/// A body that is a list of JSON objects.
pub(crate) struct JsonList<T>(pub(crate) Vec<T>);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonList<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let list: Vec<Object<T>> = parse(&read_json(request).await?)?;
        Ok(Self(list.into_iter().map(|Object(value)| value).collect()))
    }
}

/// A body that is a JSON object, or left out.
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let has_type = request.headers().contains_key(header::CONTENT_TYPE);
        let body = read(request).await?;
        match (body.is_empty(), has_type) {
            (true, _) => Ok(Self(T::default())),
            // `refuse_other_types` has refused every other type.
            (false, true) => parse(&body).map(|Object(value)| Self(value)),
            (false, false) => Err(Refusal::UNSUPPORTED_MEDIA_TYPE),
        }
    }
}

/// The query parameters. Unknown ones are ignored.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let query = parts.uri.query().unwrap_or_default();
        serde_urlencoded::from_str(query)
            .map(Self)
            .map_err(|_| Refusal::bad_request("query: a parameter is malformed or repeated"))
    }
}

/// Refuses a request that changes something and whose body, if it has one, is not JSON.
///
/// The types of an HTML form are those that a page of another origin can send without asking.
pub(crate) fn refuse_other_types(request: &Request) -> Result<(), Refusal> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut types = request.headers().get_all(header::CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        _ if reads => Ok(()),
        (None, _) => Ok(()),
        (Some(one), None) if is_json(one) => Ok(()),
        _ => Err(Refusal::UNSUPPORTED_MEDIA_TYPE),
    }
}

/// `application/json`, with any parameters.
fn is_json(value: &HeaderValue) -> bool {
    let value = value.to_str().unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Reads a whole body that must be JSON.
async fn read_json(request: Request) -> Result<Bytes, Refusal> {
    // `refuse_other_types` has refused every other type.
    if request.headers().contains_key(header::CONTENT_TYPE) {
        read(request).await
    } else {
        Err(Refusal::UNSUPPORTED_MEDIA_TYPE)
    }
}

/// Reads a whole body, within the limits.
pub(crate) async fn read(request: Request) -> Result<Bytes, Refusal> {
    let meta = request.extensions().get::<RequestMeta>();
    let meta = meta.ok_or(Refusal::SERVER_ERROR)?;
    let (limit, time) = (meta.body_limit, meta.body_timeout);
    match timeout(time, to_bytes(request.into_body(), limit)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if is_too_long(&error) => Err(Refusal::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => Err(Refusal::bad_request("the body is incomplete")),
        Err(_) => Err(Refusal::REQUEST_TIMEOUT),
    }
}

fn is_too_long(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A value that is written as a JSON object. By default, `serde` also reads a structure from a list,
/// by the order of its fields, which is not in the document.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// Reads a field that is a list of objects.
pub(crate) fn objects<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let objects = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|Object(value)| value).collect())
}

/// Reads one JSON value.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut deserializer);
    let value = read.map_err(|error| fault(&error))?;
    let end = deserializer.end();
    end.map_err(|error| Refusal::bad_request(format!("body: more than one value {}", At(&error))))?;
    Ok(value)
}

/// The refusal for an error. The parser's message is not repeated: it may quote a value.
fn fault(error: &serde_path_to_error::Error<serde_json::Error>) -> Refusal {
    let inner = error.inner();
    let at = At(inner);
    if !inner.is_data() {
        return Refusal::bad_request(format!("body: not JSON {at}"));
    }
    let place = Place::of(error.path());
    let text = inner.to_string();
    Refusal::bad_request(if let Some(name) = text.strip_prefix("missing field `") {
        format!("{}: missing", place.field(until_quote(name)))
    } else if let Some(name) = text.strip_prefix("duplicate field `") {
        format!("{}: repeated {at}", place.field(until_quote(name)))
    } else if let Some(expected) = expected_fields(&text) {
        format!("{place}: an unknown field {at}, expected {expected}")
    } else {
        format!("{place}: not of the expected type {at}")
    })
}

fn until_quote(text: &str) -> &str {
    text.split('`').next().unwrap_or_default()
}

/// What the parser expects in place of a field that it does not know.
fn expected_fields(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field `")?;
    // The name may contain anything; what is expected comes last, and is ours.
    let (_, expected) = rest.rsplit_once("`, expected ")?;
    let (expected, _) = expected.rsplit_once(" at line ").unwrap_or((expected, ""));
    Some(expected.replace('`', ""))
}

/// A place in a body, as in `namespace.label`.
struct Place(String);

impl Place {
    /// The place, as far as its names can be shown.
    fn of(path: &serde_path_to_error::Path) -> Self {
        let mut place = Self(String::new());
        for segment in path {
            match segment {
                Segment::Seq { index } => place = Self(format!("{}[{index}]", place.0)),
                Segment::Map { key } if can_be_shown(key) => place = Self(place.field(key)),
                Segment::Map { .. } => break,
                _ => {}
            }
        }
        place
    }

    /// A field of the object at this place.
    fn field(&self, name: &str) -> String {
        match (&*self.0, can_be_shown(name)) {
            ("", true) => name.to_owned(),
            (place, true) => format!("{place}.{name}"),
            (_, false) => self.to_string(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "body" } else { &self.0 })
    }
}

/// Whether a text from the body can only be a name: every secret is longer.
fn can_be_shown(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=32).contains(&name.len()) && name.bytes().all(fits)
}

struct At<'a>(&'a serde_json::Error);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(line {}, column {})", self.0.line(), self.0.column())
    }
}
