//! Positions in the history of a store.

use std::{fmt, str::FromStr};

use keyfob::{
    audit::{ChainHash, TrailHead},
    store::Revision,
};
use ring::hmac;

use crate::text;

/// Tells histories apart: 16 bytes of HMAC-SHA-256 over a revision and the hash of its event, under
/// the feed's secret mark key.
///
/// Two stores have the same mark at a revision only if their audit trails are equal up to it. A store
/// that was restored from a backup and has made other changes since has another one. Without
/// the key, a mark tells nothing of the events, not even whether a guess of them is right.
///
/// The text form is 22 characters of base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark([u8; Self::LEN]);

impl Mark {
    const LEN: usize = 16;
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::encode(&self.0))
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Computes marks.
#[derive(Clone)]
pub(crate) struct MarkKey(hmac::Key);

impl MarkKey {
    pub(crate) const LEN: usize = 32;

    pub(crate) fn new(bytes: &[u8; Self::LEN]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    pub(crate) fn mark(&self, revision: Revision, hash: ChainHash) -> Mark {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"keyfob feed mark v1\n");
        context.update(&revision.get().to_be_bytes());
        context.update(&hash.to_bytes());
        let tag = context.sign();
        let mut mark = [0; Mark::LEN];
        for (byte, of_tag) in mark.iter_mut().zip(tag.as_ref()) {
            *byte = *of_tag;
        }
        Mark(mark)
    }

    /// The position of a reader that has everything up to this head.
    pub(crate) fn position(&self, head: TrailHead) -> Position {
        self.position_within(head.revision, head)
    }

    /// The position of a reader that has everything up to `revision`, read while the store was at
    /// `horizon`.
    pub(crate) fn position_within(&self, revision: Revision, horizon: TrailHead) -> Position {
        Position {
            revision,
            horizon: horizon.revision,
            mark: self.mark(horizon.revision, horizon.hash),
        }
    }
}

/// A place in the history of a store, at which a reader can continue.
///
/// The text form is `REVISION-MARK`, as in `12-mYhCN3z5r1mD0cQO8yvF0w`, or `REVISION.HORIZON-MARK` if
/// the horizon is later than the revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The revision up to which the reader has the feed.
    pub revision: Revision,
    /// The head of the store when the feed was read up to `revision`: an item that was changed later
    /// than `revision` by then has been left out, and follows at its later change. So the reader can
    /// only continue in a history that reaches the horizon. Equal to `revision` if the reader
    /// reached the end of the feed.
    pub horizon: Revision,
    /// The mark of the history up to the horizon.
    pub mark: Mark,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.horizon == self.revision {
            write!(f, "{}-{}", self.revision, self.mark)
        } else {
            write!(f, "{}.{}-{}", self.revision, self.horizon, self.mark)
        }
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (place, mark) = text.split_once('-').ok_or(PositionError)?;
        let (revision, horizon) = match place.split_once('.') {
            None => {
                let revision = number(place)?;
                (revision, revision)
            }
            Some((revision, horizon)) => (number(revision)?, number(horizon)?),
        };
        let position = Self {
            revision: Revision::new(revision),
            horizon: Revision::new(horizon),
            mark: Mark(text::decode(mark).ok_or(PositionError)?),
        };
        let canonical = horizon > revision || !place.contains('.');
        canonical.then_some(position).ok_or(PositionError)
    }
}

/// A number in decimal digits, without sign and leading zeros.
fn number(text: &str) -> Result<u64, PositionError> {
    let digits = text.as_bytes();
    if !digits.iter().all(u8::is_ascii_digit) || (digits.len() > 1 && digits.first() == Some(&b'0'))
    {
        return Err(PositionError);
    }
    text.parse().map_err(|_| PositionError)
}

impl serde::Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("position: must be REVISION-MARK or REVISION.HORIZON-MARK, as an earlier answer had it")]
pub struct PositionError;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> MarkKey {
        MarkKey::new(&[byte; 32])
    }

    #[test]
    fn a_mark_depends_on_the_key_the_revision_and_the_hash() {
        let of = |key: &MarkKey, revision, hash| {
            key.mark(Revision::new(revision), ChainHash::from_bytes([hash; 32]))
        };
        let marks = [
            of(&key(1), 1, 1),
            of(&key(2), 1, 1),
            of(&key(1), 2, 1),
            of(&key(1), 1, 2),
        ];
        for (at, mark) in marks.iter().enumerate() {
            assert!(!marks[..at].contains(mark), "{at}");
        }
        assert_eq!(of(&key(1), 1, 1), of(&key(1), 1, 1));
    }

    #[test]
    fn a_position_has_exactly_one_text_form() {
        let head = TrailHead {
            revision: Revision::new(120),
            hash: ChainHash::from_bytes([9; 32]),
        };
        let at_end = key(1).position(head);
        let within = key(1).position_within(Revision::new(7), head);
        let mark = at_end.mark.to_string();
        for (position, text) in [
            (at_end, format!("120-{mark}")),
            (within, format!("7.120-{mark}")),
        ] {
            assert_eq!(position.to_string(), text);
            assert_eq!(text.parse(), Ok(position));
            let json = serde_json::to_string(&position).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position);
        }
        for bad in [
            String::new(),
            "-".into(),
            mark.clone(),
            format!("-{mark}"),
            format!("0120-{mark}"),
            format!("+120-{mark}"),
            format!("120.-{mark}"),
            format!("120.120-{mark}"),
            format!("120.119-{mark}"),
            format!("120-{mark}="),
            format!("120-{}", &mark[1..]),
            format!("120 -{mark}"),
            format!("99999999999999999999-{mark}"),
        ] {
            assert_eq!(bad.parse::<Position>(), Err(PositionError), "{bad:?}");
        }
    }
}
