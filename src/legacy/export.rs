//! The documents in an export of `CouchDB`.

use alloc::{borrow::Cow, vec, vec::Vec};
use core::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use crate::legacy::ImportFault;

/// A document of an export.
pub(super) enum Found<'a> {
    Subject(Document<'a>),
    Design,
    Limits,
    Deleted,
    Other,
    Fault(ImportFault),
}

/// A subject.
#[derive(Deserialize)]
pub(super) struct Document<'a> {
    #[serde(rename = "_id", borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(rename = "_deleted", default)]
    deleted: Truth,
    #[serde(borrow, default)]
    pub(super) subject: Option<Cow<'a, str>>,
    #[serde(default)]
    blocked: Truth,
    #[serde(borrow, default)]
    namespaces: Option<Vec<&'a RawValue>>,
    /// The same, read.
    #[serde(skip)]
    pub(super) entries: Vec<Result<Namespace<'a>, ImportFault>>,
    /// Early versions had one namespace per subject.
    #[serde(borrow, default)]
    pub(super) uuid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) key: Option<SecretText<'a>>,
}

/// A namespace of a subject, with its credential.
#[derive(Deserialize)]
pub(super) struct Namespace<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) uuid: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) key: SecretText<'a>,
}

/// The answer of `_all_docs`, `_find` or `_changes`, or one of its rows.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(alias = "docs", alias = "results", borrow, default)]
    rows: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    doc: Option<&'a RawValue>,
    /// Of a row of `_all_docs`, with the revision.
    #[serde(default)]
    value: Option<Value>,
    /// Of a row of `_changes`.
    #[serde(default)]
    changes: Option<de::IgnoredAny>,
    #[serde(default)]
    deleted: Truth,
}

/// The value of a row.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Row {
        #[serde(rename = "rev")]
        _rev: de::IgnoredAny,
        #[serde(default)]
        deleted: Truth,
    },
    Other(de::IgnoredAny),
}

/// The documents of an export, each with its line, counted from one.
pub(super) fn documents(export: &str) -> Vec<(usize, Found<'_>)> {
    let export = export.strip_prefix('\u{feff}').unwrap_or(export);
    let mut reader = Reader {
        export,
        lines: Lines::new(export),
        found: Vec::new(),
    };
    let mut from = 0;
    // A document that cannot be read ends with its line, so that the next one is read.
    while let Some(rest) = export.get(from..) {
        let skipped = rest.len().saturating_sub(rest.trim_start().len());
        let start = from.saturating_add(skipped);
        let Some(rest) = export.get(start..).filter(|rest| !rest.is_empty()) else {
            break;
        };
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        from = match values.next() {
            Some(Ok(value)) => {
                reader.read(value, 0);
                start.saturating_add(values.byte_offset())
            }
            Some(Err(error)) => {
                reader.fault(start, &error);
                let line = rest.find('\n').unwrap_or(rest.len());
                start.saturating_add(line).saturating_add(1)
            }
            None => break,
        };
    }
    reader.found
}

struct Reader<'a> {
    export: &'a str,
    lines: Lines,
    found: Vec<(usize, Found<'a>)>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, value: &'a RawValue, depth: usize) {
        let text = value.get();
        let start = offset(self.export, text);
        let found = match text.as_bytes().first() {
            Some(b'[') if depth < DEPTH_MAX => match serde_json::from_str(text) {
                Ok(items) => return self.read_all(items, depth),
                Err(error) => return self.fault(start, &error),
            },
            // Serde would also accept an array of the fields.
            Some(b'{') => match serde_json::from_str::<Envelope<'a>>(text) {
                Ok(Envelope {
                    rows: Some(rows), ..
                }) if depth < DEPTH_MAX => return self.read_all(rows, depth),
                Ok(Envelope {
                    doc: Some(document),
                    ..
                }) if depth < DEPTH_MAX => return self.read(document, depth.saturating_add(1)),
                Ok(envelope) if envelope.is_deleted() => Found::Deleted,
                Ok(envelope) if envelope.is_row() => Found::Fault(ImportFault::NoDocument),
                _ => self.document(text, start),
            },
            _ => Found::Fault(self.place(start)),
        };
        let (line, _) = self.lines.place(self.export, start);
        self.found.push((line, found));
    }

    fn read_all(&mut self, values: Vec<&'a RawValue>, depth: usize) {
        for value in values {
            self.read(value, depth.saturating_add(1));
        }
    }

    fn document(&self, text: &'a str, start: usize) -> Found<'a> {
        let mut document = match serde_json::from_str::<Document<'a>>(text) {
            Ok(document) => document,
            Err(error) => return Found::Fault(self.fault_in(start, &error)),
        };
        let entries = document.namespaces.iter().flatten();
        document.entries = entries.map(|entry| self.entry(entry)).collect();
        document.found()
    }

    fn entry(&self, entry: &'a RawValue) -> Result<Namespace<'a>, ImportFault> {
        let (text, start) = (entry.get(), offset(self.export, entry.get()));
        if !text.starts_with('{') {
            return Err(self.place(start));
        }
        serde_json::from_str(text).map_err(|error| self.fault_in(start, &error))
    }

    fn fault(&mut self, start: usize, error: &serde_json::Error) {
        let fault = self.fault_in(start, error);
        let (line, _) = self.lines.place(self.export, start);
        self.found.push((line, Found::Fault(fault)));
    }

    fn place(&self, at: usize) -> ImportFault {
        let (line, column) = self.lines.place(self.export, at);
        ImportFault::Document { line, column }
    }

    /// The fault at the position of an error in the text that starts at `start`.
    fn fault_in(&self, start: usize, error: &serde_json::Error) -> ImportFault {
        let (line, column) = self.lines.place(self.export, start);
        let before = match error.line() {
            0 | 1 => column.saturating_sub(1),
            _ => 0,
        };
        ImportFault::Document {
            line: line.saturating_add(error.line().saturating_sub(1)),
            column: before.saturating_add(error.column()),
        }
    }
}

impl Envelope<'_> {
    fn is_deleted(&self) -> bool {
        let in_value = matches!(&self.value, Some(Value::Row { deleted, .. }) if deleted.0);
        in_value || self.is_row() && self.deleted.0
    }

    fn is_row(&self) -> bool {
        matches!(self.value, Some(Value::Row { .. })) || self.changes.is_some()
    }
}

impl<'a> Document<'a> {
    fn found(self) -> Found<'a> {
        let id = self.id.as_deref().unwrap_or_default();
        let is_subject = self.subject.is_some()
            || self.namespaces.is_some()
            || self.uuid.is_some()
            || self.key.is_some();
        if self.deleted.0 {
            Found::Deleted
        } else if id.starts_with("_design/") {
            Found::Design
        } else if is_subject {
            Found::Subject(self)
        } else if id.ends_with("/limits") {
            Found::Limits
        } else {
            Found::Other
        }
    }

    pub(super) fn blocked(&self) -> bool {
        self.blocked.0
    }
}

/// Where the lines of an export start.
struct Lines(Vec<usize>);

impl Lines {
    fn new(export: &str) -> Self {
        let mut starts = vec![0];
        let breaks = export.match_indices('\n');
        starts.extend(breaks.map(|(at, _)| at.saturating_add(1)));
        Self(starts)
    }

    /// The line and the column of an offset, counted from one.
    fn place(&self, export: &str, at: usize) -> (usize, usize) {
        let line = self.0.partition_point(|start| *start <= at);
        let start = line.checked_sub(1).and_then(|line| self.0.get(line));
        let before = start.and_then(|start| export.get(*start..at));
        let column = before.unwrap_or_default().chars().count();
        (line, column.saturating_add(1))
    }
}

/// The offset of a part of the export in it.
fn offset(export: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(export.as_ptr() as usize)
}

/// How deep documents may be in arrays and answers.
const DEPTH_MAX: usize = 4;

/// A value that is true as in JavaScript, in which `OpenWhisk`'s views read it.
#[derive(Clone, Copy, Default)]
struct Truth(bool);

impl<'de> Deserialize<'de> for Truth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Truth;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Truth, E> {
                Ok(Truth(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Truth, E> {
                Ok(Truth(value != 0))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Truth, E> {
                Ok(Truth(value != 0))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Truth, E> {
                Ok(Truth(value != 0.0))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Truth, E> {
                Ok(Truth(!value.is_empty()))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Truth, E> {
                Ok(Truth(false))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Truth, A::Error> {
                while items.next_element::<de::IgnoredAny>()?.is_some() {}
                Ok(Truth(true))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut fields: A) -> Result<Truth, A::Error> {
                while fields
                    .next_entry::<de::IgnoredAny, de::IgnoredAny>()?
                    .is_some()
                {}
                Ok(Truth(true))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// A secret in a document; zeroized if JSON escapes required a copy.
pub(super) struct SecretText<'a>(Cow<'a, str>);

impl SecretText<'_> {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(super) fn borrowed(&self) -> SecretText<'_> {
        SecretText(Cow::Borrowed(&self.0))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for SecretText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = SecretText<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(SecretText(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(SecretText(Cow::Owned(text.into())))
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

impl Drop for SecretText<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(text) = &mut self.0 {
            zeroize::Zeroize::zeroize(text);
        }
    }
}
