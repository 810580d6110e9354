//! Verifying what was exported.

use std::{error::Error, fmt};

use keyfob::{
    audit::{AuditEvent, ChainHash},
    key::KeyFormat,
    store::Revision,
};
use serde::Deserialize;

use crate::envelope::Exporter;

/// Verifies exported lines, oldest first: each must be, byte for byte, what an [`Exporter`] writes
/// for the event in it, and that event must follow from the one before.
///
/// The chain of hashes covers the events. What the exporter added, the source and the prefix of
/// the keys, must be the same in all lines.
#[derive(Clone, Debug)]
pub struct Reader {
    hash: ChainHash,
    revision: Option<Revision>,
    lines: u64,
    exporter: Option<(String, String, Exporter)>,
}

impl Reader {
    /// Reads what follows the event with this hash; [`ChainHash::START`] for a whole trail.
    pub fn after(hash: ChainHash) -> Self {
        Self {
            hash,
            revision: None,
            lines: 0,
            exporter: None,
        }
    }

    /// Reads a line, without its line break.
    ///
    /// # Errors
    ///
    /// [`ReadError`] says which line it is, and what is wrong. The reader is of no use then.
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
        let before = self.revision;
        self.hash = AuditEvent::verify(self.hash, [&event])
            .map_err(|_| LineFault::DoesNotFollow { revision, before })?;
        self.revision = Some(revision);
        Ok(event)
    }

    /// The hash of the last line that was read: keep it elsewhere, and lines that are cut off the
    /// end later will be noticed.
    pub fn hash(&self) -> ChainHash {
        self.hash
    }

    /// The revision of the last line that was read.
    pub fn revision(&self) -> Option<Revision> {
        self.revision
    }

    /// How many lines were read.
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

/// An exported line is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// The line, counted from one.
    pub line: u64,
    /// What is wrong with it.
    pub fault: LineFault,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.fault)
    }
}

impl Error for ReadError {}

/// What is wrong with an exported line. It never repeats what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineFault {
    /// It is no event of this form.
    NotAnEvent {
        /// The column of the fault, counted from one; zero where there is none.
        column: usize,
    },
    /// It is not what is written for the event in it.
    Changed {
        /// The revision that it bears.
        revision: Revision,
    },
    /// The event does not follow from the one before: it was changed or moved, or something
    /// between the two was removed.
    DoesNotFollow {
        /// The revision of the event.
        revision: Revision,
        /// The revision of the one before.
        before: Option<Revision>,
    },
    /// The line comes from another source, or names keys in another format, than those before.
    OtherSource {
        /// The revision that it bears.
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
            Self::DoesNotFollow {
                revision,
                before: Some(before),
            } => write!(f, "revision {revision} does not follow revision {before}"),
            Self::DoesNotFollow {
                revision,
                before: None,
            } => write!(
                f,
                "revision {revision} does not follow the hash it was to start from"
            ),
            Self::OtherSource { revision } => {
                write!(
                    f,
                    "of another source than the line before (revision {revision})"
                )
            }
        }
    }
}
