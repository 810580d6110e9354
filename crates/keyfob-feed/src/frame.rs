//! Frames: what changed between two positions.

use keyfob::gateway::ReplicaEntry;
use serde::Deserialize;

use crate::{
    entry,
    filter::FilterId,
    keys::FeedKeys,
    line::{Document, SignedLine},
    position::Position,
};

/// A frame as a reader parses it, after its signature was verified.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Frame {
    /// The position of the readers that it is for.
    pub(crate) from: Position,
    /// Their position after it.
    pub(crate) to: Position,
    /// The authority's time before it read the store, in Unix milliseconds.
    pub(crate) as_of: u64,
    /// The version of the signers document.
    pub(crate) signers: u64,
    /// The filter; none for everything.
    #[serde(default)]
    pub(crate) filter: Option<FilterId>,
    /// Whether the store had more at `as_of` than the reader has after the frame.
    #[serde(default)]
    pub(crate) more: bool,
    /// The state of the items whose last change is in the range, in the order of these changes.
    #[serde(default, deserialize_with = "entry::list")]
    pub(crate) entries: Vec<ReplicaEntry>,
}

impl Frame {
    /// Whether the entries are in order and within the range.
    pub(crate) fn is_consistent(&self) -> bool {
        let mut last = self.from.revision;
        let ordered = self.entries.iter().all(|entry| {
            let follows = last < entry.revision;
            last = entry.revision;
            follows
        });
        ordered && last <= self.to.revision && self.from.horizon <= self.to.horizon
    }
}

/// A frame without its entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameHead {
    pub(crate) from: Position,
    pub(crate) to: Position,
    pub(crate) as_of: u64,
    pub(crate) filter: Option<FilterId>,
    pub(crate) more: bool,
}

impl FrameHead {
    /// Reads a frame whose signature was verified, without its entries.
    #[cfg(feature = "server")]
    pub(crate) fn parse(raw: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Parsed {
            from: Position,
            to: Position,
            as_of: u64,
            #[serde(default)]
            filter: Option<FilterId>,
            #[serde(default)]
            more: bool,
        }
        let parsed: Parsed = serde_json::from_slice(raw).ok()?;
        Some(Self {
            from: parsed.from,
            to: parsed.to,
            as_of: parsed.as_of,
            filter: parsed.filter,
            more: parsed.more,
        })
    }

    /// Signs the frame with these entries: pieces of JSON, each of which is one entry, or several with
    /// commas between them.
    pub(crate) fn signed(&self, entries: &[&[u8]], keys: &FeedKeys) -> SignedLine {
        let length: usize = entries.iter().map(|json| json.len() + 1).sum();
        let mut raw = Vec::with_capacity(length + 256);
        let (from, to, as_of, signers) = (self.from, self.to, self.as_of, keys.version());
        let head = format!(r#"{{"from":"{from}","to":"{to}","as_of":{as_of},"signers":{signers}"#);
        raw.extend_from_slice(head.as_bytes());
        if let Some(filter) = self.filter {
            raw.extend_from_slice(format!(r#","filter":"{filter}""#).as_bytes());
        }
        if self.more {
            raw.extend_from_slice(br#","more":true"#);
        }
        if !entries.is_empty() {
            raw.extend_from_slice(br#","entries":["#);
            for (at, json) in entries.iter().enumerate() {
                if at > 0 {
                    raw.push(b',');
                }
                raw.extend_from_slice(json);
            }
            raw.push(b']');
        }
        raw.push(b'}');
        keys.sign(Document::Frame, &raw)
    }
}
