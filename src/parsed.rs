//! Deserialization of texts that are parsed, without a copy of the text.

use core::{fmt, marker::PhantomData};

use serde::{
    Deserializer,
    de::{Error, Visitor},
};

/// Deserializes a text, and parses it. Texts that are parsed as they stand in the input cost no
/// allocation.
pub(crate) fn parsed<'de, D, T, E>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    E: fmt::Display,
{
    deserializer.deserialize_str(Parse(parse, PhantomData))
}

struct Parse<F, T>(F, PhantomData<T>);

impl<F, T, E> Visitor<'_> for Parse<F, Result<T, E>>
where
    F: FnOnce(&str) -> Result<T, E>,
    E: fmt::Display,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<Invalid: Error>(self, text: &str) -> Result<T, Invalid> {
        (self.0)(text).map_err(Invalid::custom)
    }
}
