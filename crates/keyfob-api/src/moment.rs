//! Moments as the interface writes and reads them.

use keyfob::Timestamp;
use serde::{Serialize, Serializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, SchemaFormat, schema::Schema, schema::Type},
};

/// A moment in whole seconds, written as RFC 3339 in UTC: `2025-12-19T10:30:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl Moment {
    /// Reads RFC 3339 with any offset; fractions of a second are cut off.
    pub(crate) fn parse(text: &str) -> Option<Timestamp> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        Some(Timestamp::from(moment))
    }
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
            .description(Some("A moment in whole seconds, RFC 3339 in UTC."))
            .examples(["2025-12-19T10:30:00Z"])
            .into()
    }
}

impl ToSchema for Moment {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_offset_is_read_and_utc_is_written() {
        let moment = Moment::parse("2025-12-19T12:30:00.9+02:00").map(Moment);
        let text = serde_json::to_string(&moment).unwrap();
        assert_eq!(text, r#""2025-12-19T10:30:00Z""#);
        for bad in ["", "2025-12-19", "2025-12-19 10:30:00", "1766140200"] {
            assert_eq!(Moment::parse(bad), None, "{bad:?}");
        }
    }
}
