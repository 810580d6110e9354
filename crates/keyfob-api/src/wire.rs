//! JSON forms that several resources share, and the query parameters of lists.

use keyfob::{
    Actor, Owner, Timestamp,
    key::KeyFormat,
    store::{Cursor, KeyQuery, Order},
};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, SchemaFormat, schema::Schema, schema::Type},
};

use crate::refusal::Refusal;

/// A time in whole seconds, written as RFC 3339 in UTC: `2025-12-19T10:30:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) Timestamp);

/// Reads RFC 3339 in any offset; fractions of a second are cut off.
pub(crate) fn parse_moment(field: &str, text: &str) -> Result<Timestamp, Refusal> {
    text.parse()
        .map_err(|error| Refusal::bad_request(format!("{field}: {error}")))
}

impl From<Timestamp> for Moment {
    fn from(moment: Timestamp) -> Self {
        Self(moment)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("A time in whole seconds, RFC 3339 in UTC."))
            .examples(["2025-12-19T10:30:00Z"])
            .into()
    }
}

impl ToSchema for Moment {}

/// Who acted.
#[derive(Serialize, ToSchema)]
#[schema(as = Actor)]
pub(crate) struct ActorView {
    /// The person or service, as `user:NAME` or `service:NAME`; null for the program itself, and for somebody of whom
    /// only the credential is known.
    #[schema(required, value_type = Option<String>, examples("user:alice"))]
    owner: Option<Owner>,
    /// The identifier of the credential that authenticated the action; null if Keyfob did not issue
    /// it.
    #[schema(required)]
    credential: Option<String>,
}

impl ActorView {
    pub(crate) fn new(actor: &Actor, format: &KeyFormat) -> Self {
        Self {
            owner: actor.owner.clone(),
            credential: actor.credential.map(|id| format.credential_id(id)),
        }
    }
}

/// Why something is done.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReasonBody {
    /// The reason, for the audit trail.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 500)]
    pub(crate) reason: Option<String>,
}

/// `{}`: it was done.
#[derive(Serialize, ToSchema)]
pub(crate) struct Done {}

/// Reads a position in a list.
pub(crate) fn parse_cursor(text: Option<&str>) -> Result<Option<Cursor>, Refusal> {
    Ok(text.map(str::parse).transpose()?)
}

/// Reads the order of a list.
pub(crate) fn parse_order(text: Option<&str>) -> Result<Order, Refusal> {
    match text {
        None | Some("" | "oldest_first") => Ok(Order::OldestFirst),
        Some("newest_first") => Ok(Order::NewestFirst),
        Some(_) => Err(Refusal::bad_request(
            "order: must be oldest_first or newest_first",
        )),
    }
}

/// Reads the size of a page.
pub(crate) fn parse_limit(text: Option<&str>, default: usize) -> Result<usize, Refusal> {
    let Some(text) = text else { return Ok(default) };
    let limit = text.parse().ok();
    limit
        .filter(|limit| (1..=KeyQuery::LIMIT_MAX).contains(limit))
        .ok_or(Refusal::bad_request("limit: not a number from 1 to 1000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_offset_is_read_and_utc_is_written() {
        let moment = parse_moment("at", "2025-12-19T12:30:00.9+02:00").unwrap();
        let text = serde_json::to_string(&Moment(moment)).unwrap();
        assert_eq!(text, r#""2025-12-19T10:30:00Z""#);
        for bad in ["", "2025-12-19", "2025-12-19 10:30:00", "1766140200"] {
            assert!(parse_moment("at", bad).is_err(), "{bad:?}");
        }
    }
}
