//! The metadata of an entry.

use crate::{
    digest::{KeyDigest, PepperId},
    timestamp::Timestamp,
};

/// The metadata word of an entry: 40 bits for the end of the secret, 8 bits for the pepper, then
/// flags.
#[derive(Clone, Copy)]
pub(crate) struct EntryMeta(pub(crate) u64);

impl EntryMeta {
    pub(crate) const DISABLED: u64 = 1 << 48;
    pub(crate) const REVOKED: u64 = 1 << 49;
    /// The key has a `not_before`, in the payload of its secondary entry.
    pub(crate) const NOT_BEFORE: u64 = 1 << 50;
    /// The secondary entry has the digest of a previous secret.
    pub(crate) const PREVIOUS: u64 = 1 << 51;
    const TIME: u64 = (1 << 40) - 1;

    pub(super) fn new(end: Option<Timestamp>, digest: &KeyDigest) -> Self {
        let pepper = u64::from(digest.pepper().map_or(0, PepperId::get));
        Self(pepper << 40).with_end(end)
    }

    #[inline]
    pub(crate) fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    pub(super) fn with(self, flag: u64) -> Self {
        Self(self.0 | flag)
    }

    pub(super) fn with_end(self, end: Option<Timestamp>) -> Self {
        Self((self.0 & !Self::TIME) | End::from(end).0)
    }

    /// [`PepperId::get`] of the digest's pepper; zero for none.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "eight bits")]
    pub(crate) fn pepper_number(self) -> u8 {
        (self.0 >> 40) as u8
    }

    #[inline]
    pub(crate) fn pepper(self) -> Option<PepperId> {
        PepperId::new(self.pepper_number())
    }

    /// The end of the secret.
    #[inline]
    pub(crate) fn end(self) -> End {
        End(self.0 & Self::TIME)
    }

    /// Seconds since [`Timestamp::MIN`]: 39 bits for the whole range.
    #[inline]
    pub(crate) fn pack_time(moment: Timestamp) -> u64 {
        moment.seconds_since(Timestamp::MIN)
    }

    #[inline]
    pub(crate) fn unpack_time(time: u64) -> Timestamp {
        Timestamp::MIN.plus_seconds(time)
    }
}

/// The first moment at which a secret no longer works, as packed into an entry; all ones for never.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct End(u64);

impl End {
    #[inline]
    pub(crate) fn is_past(self, now: Timestamp) -> bool {
        self.0 <= EntryMeta::pack_time(now)
    }

    pub(super) fn to_bytes(self) -> [u8; 5] {
        let bytes = self.0.to_le_bytes();
        bytes.first_chunk().copied().unwrap_or_default()
    }

    pub(super) fn from_bytes(bytes: [u8; 5]) -> Self {
        let mut word = [0; 8];
        for (place, byte) in word.iter_mut().zip(bytes) {
            *place = byte;
        }
        Self(u64::from_le_bytes(word))
    }

    /// The moment; `None` for never.
    pub(crate) fn moment(self) -> Option<Timestamp> {
        (self.0 != EntryMeta::TIME).then(|| EntryMeta::unpack_time(self.0))
    }
}

impl From<Option<Timestamp>> for End {
    fn from(end: Option<Timestamp>) -> Self {
        Self(end.map_or(EntryMeta::TIME, EntryMeta::pack_time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Row;

    #[test]
    fn an_expiry_is_past_from_its_second_on() {
        let end = Timestamp::from_unix(1_800_000_000);
        let past = |end: Option<Timestamp>, now| End::from(end).is_past(Timestamp::from_unix(now));
        assert!(!past(Some(end), end.as_unix() - 1));
        assert!(past(Some(end), end.as_unix()));
        assert!(past(Some(end), end.as_unix() + 1));
        assert!(!past(None, Timestamp::MAX.as_unix()));
    }

    #[test]
    fn a_row_round_trips_every_time_and_flag() {
        let digest = KeyDigest::from_text(&alloc::format!("hmac-sha256:255:{:064x}", 1)).unwrap();
        let moments = [
            Timestamp::MIN,
            Timestamp::from_unix(-1),
            Timestamp::UNIX_EPOCH,
            Timestamp::from_unix(1),
            Timestamp::MAX,
        ];
        for end in moments.map(Some).into_iter().chain([None]) {
            let meta = EntryMeta::new(end, &digest);
            assert_eq!(meta.end().moment(), end);
            assert!(End::from_bytes(meta.end().to_bytes()) == meta.end());
            assert_eq!(meta.pepper(), digest.pepper());
            let flags = [
                EntryMeta::DISABLED,
                EntryMeta::REVOKED,
                EntryMeta::NOT_BEFORE,
                EntryMeta::PREVIOUS,
            ];
            for flag in flags {
                assert!(!meta.has(flag));
                let flagged = meta.with(flag);
                assert!(flagged.has(flag) && flagged.0 <= Row::META_MAX);
                assert_eq!(
                    flagged.with(flag).0,
                    flagged.0,
                    "setting a flag twice equals setting it once"
                );
                assert_eq!(
                    (flagged.end().moment(), flagged.pepper()),
                    (end, digest.pepper())
                );
            }
        }
    }
}
