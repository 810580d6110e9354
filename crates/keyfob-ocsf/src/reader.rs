//! Verification of exported lines.

use std::{error::Error, fmt};

use keyfob::{
    audit::{AuditEvent, TrailHead},
    key::KeyFormat,
    store::Revision,
};
use serde::Deserialize;

use crate::envelope::Exporter;

/// Verifies exported lines, oldest first: each must equal, byte for byte, what an [`Exporter`]
/// writes for its event, and the event must follow the previous one in the hash chain.
///
/// The hash chain covers the events. The attributes that the exporter adds, the source and the key
/// prefix, must be the same in all lines.
#[derive(Clone, Debug)]
pub struct Reader {
    head: TrailHead,
    lines: u64,
    exporter: Option<(String, String, Exporter)>,
}

impl Reader {
    /// Creates a reader for the lines after this event; [`TrailHead::START`] for a whole trail.
    pub fn after(head: TrailHead) -> Self {
        Self {
            head,
            lines: 0,
            exporter: None,
        }
    }

    /// Reads a line, without its line break.
    ///
    /// # Errors
    ///
    /// [`ReadError`] has the line and the fault. The reader must not be used after an error.
    pub fn read(&mut self, line: &str) -> Result<AuditEvent, ReadError> {
        self.lines = self.lines.saturating_add(1);
        self.decide(line).map_err(|fault| ReadError {
            line: self.lines,
            fault,
        })
    }

    fn decide(&mut self, line: &str) -> Result<AuditEvent, LineFault> {
        let Line { source, data } =
            serde_json::from_str(line).map_err(|error| LineFault::NotAnEvent {
                column: error.column(),
            })?;
        let Unmapped {
            key_prefix,
            audit_event: event,
        } = data.unmapped;
        let revision = event.revision;
        let (_, _, exporter) = match &self.exporter {
            Some(known) if known.0 == source && known.1 == key_prefix => known,
            Some(_) => return Err(LineFault::OtherSource { revision }),
            None => {
                let changed = LineFault::Changed { revision };
                let format = KeyFormat::new(&key_prefix).map_err(|_| changed)?;
                let exporter = Exporter::new(format, &source).map_err(|_| changed)?;
                self.exporter.insert((source, key_prefix, exporter))
            }
        };
        if exporter.line(&event) != line {
            return Err(LineFault::Changed { revision });
        }
        let before = self.head.revision;
        self.head
            .advance(&event)
            .map_err(|_| LineFault::DoesNotFollow { revision, before })?;
        Ok(event)
    }

    /// Returns the revision and the hash of the last line. The lines are verified up to there and
    /// no further: only a head that was kept elsewhere reveals that later lines were removed.
    pub fn head(&self) -> TrailHead {
        self.head
    }

    /// Returns how many lines were read.
    pub fn lines(&self) -> u64 {
        self.lines
    }
}

#[derive(Deserialize)]
struct Line {
    source: String,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    unmapped: Unmapped,
}

#[derive(Deserialize)]
struct Unmapped {
    key_prefix: String,
    audit_event: AuditEvent,
}

/// An exported line failed verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// The line, counted from one.
    pub line: u64,
    /// The fault.
    pub fault: LineFault,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.fault)
    }
}

impl Error for ReadError {}

/// The fault of an exported line. It never repeats the line's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineFault {
    /// The line is not an exported event.
    NotAnEvent {
        /// The column of the fault, counted from one; zero if unknown.
        column: usize,
    },
    /// The line differs from the export of its event.
    Changed {
        /// The revision in the line.
        revision: Revision,
    },
    /// The event does not follow the previous one: it was changed or moved, or a line in between
    /// was removed.
    DoesNotFollow {
        /// The revision of the event.
        revision: Revision,
        /// The revision that it must follow.
        before: Revision,
    },
    /// The source or the key prefix differs from that of the previous lines.
    OtherSource {
        /// The revision in the line.
        revision: Revision,
    },
}

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnEvent { column } => write!(f, "not an exported event (column {column})"),
            Self::Changed { revision } => {
                write!(f, "not as it was exported (revision {revision})")
            }
            Self::DoesNotFollow { revision, before } => {
                write!(f, "revision {revision} does not follow revision {before}")
            }
            Self::OtherSource { revision } => {
                write!(
                    f,
                    "of another source than the line before (revision {revision})"
                )
            }
        }
    }
}
