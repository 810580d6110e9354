//! Reads bodies (JSON) and query parameters.

use std::{error::Error, fmt, marker::PhantomData};

use axum::{
    body::{Bytes, to_bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
};
use http_body_util::LengthLimitError;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};
use utoipa::{
    PartialSchema,
    openapi::{RefOr, schema::Schema},
};

use crate::{middleware::RequestMeta, refusal::Refusal};

/// A body that is a JSON object.
///
/// A refusal names the field, if it is one of the document's, and the position in the body, and never
/// repeats what is there.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T, S> FromRequest<S> for JsonBody<T>
where
    T: DeserializeOwned + PartialSchema,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        if !is_json(request.headers()) {
            return Err(Refusal::UNSUPPORTED_MEDIA_TYPE);
        }
        parse(&read(request).await?).map(Self)
    }
}

/// A body that is a list of JSON objects.
pub(crate) struct JsonList<T>(pub(crate) Vec<T>);

impl<T, S> FromRequest<S> for JsonList<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        if !is_json(request.headers()) {
            return Err(Refusal::UNSUPPORTED_MEDIA_TYPE);
        }
        let body = read(request).await?;
        let list: Vec<Object<T>> = serde_json::from_slice(&body).map_err(|error| {
            let what = if error.is_data() {
                "not of the expected type"
            } else {
                "not JSON"
            };
            Refusal::bad_request(format!("body: {what} {}", At(&error)))
        })?;
        Ok(Self(list.into_iter().map(|Object(value)| value).collect()))
    }
}

/// A body that is a JSON object, or left out.
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<T, S> FromRequest<S> for OptionalJson<T>
where
    T: DeserializeOwned + PartialSchema + Default,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let is_json = is_json(request.headers());
        let body = read(request).await?;
        match (body.is_empty(), is_json) {
            (true, _) => Ok(Self(T::default())),
            (false, true) => parse(&body).map(Self),
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

/// Reads a whole body, within the limit.
pub(crate) async fn read(request: Request) -> Result<Bytes, Refusal> {
    let meta = request.extensions().get::<RequestMeta>();
    let limit = meta.ok_or(Refusal::SERVER_ERROR)?.body_limit;
    to_bytes(request.into_body(), limit).await.map_err(|error| {
        if is_too_long(&error) {
            Refusal::PAYLOAD_TOO_LARGE
        } else {
            Refusal::bad_request("the body is incomplete")
        }
    })
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

/// `application/json`, or a type of the same syntax (RFC 6839).
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let Some(value) = value else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
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

/// Reads a JSON object.
pub(crate) fn parse<T: DeserializeOwned + PartialSchema>(body: &[u8]) -> Result<T, Refusal> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut deserializer);
    let Object(value) = read.map_err(|error| fault::<T>(&error))?;
    let end = deserializer.end();
    end.map_err(|error| Refusal::bad_request(format!("body: more than one value {}", At(&error))))?;
    Ok(value)
}

/// The refusal for an error. The parser's message is not used: it may repeat what is in the body.
fn fault<T: PartialSchema>(error: &serde_path_to_error::Error<serde_json::Error>) -> Refusal {
    let inner = error.inner();
    let at = At(inner);
    if !inner.is_data() {
        return Refusal::bad_request(format!("body: not JSON {at}"));
    }
    let fields = fields::<T>();
    let text = inner.to_string();
    // "missing field `name`" and the like: the name is quoted. Only a known name is repeated.
    let quoted = text.split('`').nth(1).unwrap_or_default();
    let quoted = fields.iter().find(|field| *field == quoted);
    let path = error.path().to_string();
    let first = path.split(['.', '[']).next().unwrap_or_default();
    let first = fields.iter().find(|field| *field == first);
    Refusal::bad_request(match (quoted, first) {
        (Some(field), _) if text.starts_with("missing field") => format!("{field}: missing"),
        (Some(field), _) if text.starts_with("duplicate field") => {
            format!("{field}: repeated {at}")
        }
        (_, Some(field)) => format!("{field}: not of the expected type {at}"),
        _ if text.starts_with("unknown field") => format!("body: an unknown field {at}"),
        _ => format!("body: not of the expected type {at}"),
    })
}

/// The fields of a body of this type.
fn fields<T: PartialSchema>() -> Vec<String> {
    match T::schema() {
        RefOr::T(Schema::Object(object)) => object.properties.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

struct At<'a>(&'a serde_json::Error);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(line {}, column {})", self.0.line(), self.0.column())
    }
}
