//! The values of a statement, each with its type: a statement that is not prepared must name them.

use tokio_postgres::types::{Json, ToSql, Type};

/// A value for a statement.
pub(crate) struct Value<'a> {
    value: Box<dyn ToSql + Send + Sync + 'a>,
    kind: Type,
}

impl<'a> Value<'a> {
    pub(crate) fn new<T: Column + ToSql + Send + Sync + 'a>(value: T) -> Self {
        Self {
            value: Box::new(value),
            kind: T::TYPE,
        }
    }

    pub(crate) fn borrowed(&self) -> &(dyn ToSql + Sync) {
        &*self.value
    }

    pub(crate) fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        (self.borrowed(), self.kind.clone())
    }
}

/// Boxes the values for a statement.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::value::Value::new($value)),*]
    };
}
pub(crate) use values;

/// A type of Rust that is written as one type of the database.
pub(crate) trait Column {
    const TYPE: Type;
}

/// What an array can hold.
pub(crate) trait Element {
    const ARRAY: Type;
}

macro_rules! columns {
    ($($rust:ty: $one:ident, $many:ident;)*) => {
        $(
            impl Column for $rust {
                const TYPE: Type = Type::$one;
            }

            impl Element for $rust {
                const ARRAY: Type = Type::$many;
            }
        )*
    };
}

columns! {
    &str: TEXT, TEXT_ARRAY;
    String: TEXT, TEXT_ARRAY;
    i64: INT8, INT8_ARRAY;
    bool: BOOL, BOOL_ARRAY;
}

impl<T> Column for Json<T> {
    const TYPE: Type = Type::JSONB;
}

impl<T> Element for Json<T> {
    const ARRAY: Type = Type::JSONB_ARRAY;
}

impl Column for Vec<u8> {
    const TYPE: Type = Type::BYTEA;
}

impl<T: Element> Column for Vec<T> {
    const TYPE: Type = T::ARRAY;
}

impl<T: Column> Column for Option<T> {
    const TYPE: Type = T::TYPE;
}

impl<T: Element> Element for Option<T> {
    const ARRAY: Type = T::ARRAY;
}
