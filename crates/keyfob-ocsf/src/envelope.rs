//! The `CloudEvents` envelope, and the exporter that writes it.

use keyfob::{audit::AuditEvent, key::KeyFormat};
use serde::Serialize;

use crate::event::Event;

/// Writes audit events as lines of JSON.
#[derive(Clone, Debug)]
pub struct Exporter {
    format: KeyFormat,
    source: String,
}

impl Exporter {
    /// Creates an exporter that formats key ids in this format and names this URI as the source of
    /// the events. Source and revision identify an event, so each store needs a distinct source.
    ///
    /// # Errors
    ///
    /// [`SourceError`] if the source is not a URI reference.
    pub fn new(format: KeyFormat, source: impl Into<String>) -> Result<Self, SourceError> {
        let source = source.into();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || URI.contains(&byte);
        match source.bytes().position(|byte| !fits(byte)) {
            Some(at) => Err(SourceError::Character { at }),
            None if source.is_empty() => Err(SourceError::Empty),
            None => Ok(Self { format, source }),
        }
    }

    /// Returns an event as one line, without the line break. The same event gives the same bytes.
    pub fn line(&self, event: &AuditEvent) -> String {
        let envelope = Envelope::new(event, &self.format, &self.source);
        // Serialisation cannot fail: there are only texts, numbers and structures.
        serde_json::to_string(&envelope).unwrap_or_default()
    }
}

/// The characters of RFC 3986 in addition to letters and digits.
const URI: &[u8] = b"-._~:/?#[]@!$&'()*+,;=%";

/// The source is not a URI reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceError {
    /// The text is empty.
    Empty,
    /// A character is not allowed by RFC 3986.
    Character {
        /// The byte position of the character.
        at: usize,
    },
}

impl std::fmt::Display for SourceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("source: is empty"),
            Self::Character { at } => {
                write!(f, "source: no URI, at position {at}")
            }
        }
    }
}

impl std::error::Error for SourceError {}

/// The attributes of `CloudEvents` 1.0, in the JSON format's structured mode.
#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    id: String,
    source: &'a str,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    time: String,
    datacontenttype: &'static str,
    dataschema: &'static str,
    /// The published extension `sequence`: the revision.
    sequence: String,
    /// An extension of Keyfob: the hash of the chain.
    keyfobhash: String,
    data: Event<'a>,
}

impl<'a> Envelope<'a> {
    fn new(event: &'a AuditEvent, format: &'a KeyFormat, source: &'a str) -> Self {
        let entry = &event.entry;
        let data = Event::new(event, format);
        Self {
            specversion: "1.0",
            id: event.revision.to_string(),
            source,
            kind: format!("keyfob.audit.{}", entry.action),
            subject: data.subject(),
            time: entry.at.to_string(),
            datacontenttype: "application/json",
            dataschema: data.schema(),
            sequence: event.revision.to_string(),
            keyfobhash: event.hash.to_string(),
            data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_must_be_a_uri_reference() {
        let format = KeyFormat::new("dof").unwrap();
        let fault = |source: &str| Exporter::new(format, source).err();
        assert_eq!(fault("urn:keyfob:eu-1"), None);
        assert_eq!(fault("https://keys.example/audit?store=1"), None);
        assert_eq!(fault(""), Some(SourceError::Empty));
        assert_eq!(fault("a b"), Some(SourceError::Character { at: 1 }));
        assert_eq!(fault("ü"), Some(SourceError::Character { at: 0 }));
    }
}
