//! Parsing of legacy credentials, `uuid:key`.

use core::fmt;

use crate::{
    digest::{KeyDigest, Lanes, Peppers, block_lanes},
    hash::MacKey,
    legacy_id::LegacyId,
};

/// A well-formed legacy credential, `uuid:key`, borrowed from the request. It is untrusted.
#[derive(Clone, Copy)]
pub struct PresentedLegacy<'a> {
    id: LegacyId,
    text: &'a [u8; TEXT_LEN],
}

impl<'a> PresentedLegacy<'a> {
    /// The length of the text, in bytes.
    #[cfg(any(feature = "std", feature = "import"))]
    pub(crate) const LEN: usize = TEXT_LEN;
    /// The length of the key, in bytes.
    #[cfg(feature = "import")]
    pub(crate) const KEY_LEN: usize = KEY_LEN;

    /// Parses `<uuid>:<key>`: a UUID of 36 characters, one colon, 64 characters of `[A-Za-z0-9]`.
    ///
    /// The UUID's digits may have either case, but the digest covers the text: only the text as
    /// imported is accepted.
    ///
    /// # Errors
    ///
    /// [`LegacyError`] names the invalid part and its position, never the content.
    pub fn parse(text: &'a [u8]) -> Result<Self, LegacyError> {
        let fault = |part, at| LegacyError { part, at };
        let text: &[u8; TEXT_LEN] = text
            .try_into()
            .map_err(|_| fault(LegacyPart::Length, text.len()))?;
        let (uuid, rest) = text.split_at(UUID_LEN);
        let id =
            LegacyId::parse(uuid).map_err(|error| fault(LegacyPart::Uuid, error.position()))?;
        let Some((b':', key)) = rest.split_first() else {
            return Err(fault(LegacyPart::Separator, UUID_LEN));
        };
        match key.iter().position(|byte| !byte.is_ascii_alphanumeric()) {
            Some(at) => Err(fault(LegacyPart::Key, at.saturating_add(UUID_LEN + 1))),
            None => Ok(Self { id, text }),
        }
    }

    /// The credential's public identifier.
    pub fn id(&self) -> LegacyId {
        self.id
    }
}

impl PresentedLegacy<'_> {
    /// The words of the credential's digest: over `"kl1"` and its text.
    pub(crate) fn lanes(&self, pepper: Option<&MacKey>) -> Lanes {
        let mut block = [0; 3 + TEXT_LEN];
        let (tag, text) = block.split_at_mut(3);
        tag.copy_from_slice(b"kl1");
        text.copy_from_slice(self.text);
        block_lanes(&mut block, pepper)
    }
}

impl KeyDigest {
    /// The digest of a legacy credential under the current pepper.
    pub fn of_legacy(credential: &PresentedLegacy<'_>, peppers: &Peppers) -> Self {
        Self::from_lanes(credential.lanes(peppers.current()), peppers)
    }
}

impl fmt::Debug for PresentedLegacy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedLegacy")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A text is not a well-formed legacy credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a legacy credential: {part}, at byte {at}")]
pub struct LegacyError {
    part: LegacyPart,
    at: usize,
}

impl LegacyError {
    /// The invalid part.
    pub fn part(&self) -> LegacyPart {
        self.part
    }

    /// The position of the first invalid byte; for [`LegacyPart::Length`] the length of the text.
    pub fn position(&self) -> usize {
        self.at
    }
}

/// The invalid part of a legacy credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LegacyPart {
    /// The text does not have 101 bytes.
    #[error("wrong length")]
    Length,
    /// The 36 characters of the UUID.
    #[error("the first part is not a UUID")]
    Uuid,
    /// The colon.
    #[error("no colon between UUID and key")]
    Separator,
    /// The 64 characters of the key.
    #[error("the key is not 64 letters and digits")]
    Key,
}

const UUID_LEN: usize = LegacyId::TEXT_LEN;
const KEY_LEN: usize = 64;
const TEXT_LEN: usize = UUID_LEN + 1 + KEY_LEN;

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString};

    use super::*;

    /// The public example credential of `OpenWhisk`.
    const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

    #[test]
    fn the_public_guest_credential_parses() {
        let guest = PresentedLegacy::parse(GUEST.as_bytes()).unwrap();
        assert_eq!(
            guest.id().to_string(),
            "23bc46b1-71f6-4ed5-8c54-816aa4f8c502"
        );
        assert_eq!(LegacyId::from_bytes(guest.id().to_bytes()), guest.id());
        assert_eq!(guest.text, GUEST.as_bytes());
    }

    #[test]
    fn an_id_round_trips_all_its_bytes() {
        let bytes: [u8; 16] = core::array::from_fn(|at| u8::try_from(at * 16 + 1).unwrap());
        let id = LegacyId::from_bytes(bytes);
        assert_eq!(id.to_bytes(), bytes);
        assert_eq!(id.to_string(), "01112131-4151-6171-8191-a1b1c1d1e1f1");
        assert_eq!(id.halves(), (0x0111_2131_4151_6171, 0x8191_a1b1_c1d1_e1f1));
        let upper = id.to_string().to_uppercase();
        assert_eq!(LegacyId::parse(upper.as_bytes()), Ok(id));
    }

    #[test]
    fn the_debug_output_has_the_id_but_no_secret() {
        let guest = PresentedLegacy::parse(GUEST.as_bytes()).unwrap();
        assert_eq!(
            format!("{guest:?}"),
            "PresentedLegacy { id: 23bc46b1-71f6-4ed5-8c54-816aa4f8c502, .. }"
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn an_id_serialises_as_its_text() {
        let id = PresentedLegacy::parse(GUEST.as_bytes()).unwrap().id();
        let text = format!("\"{id}\"");
        assert_eq!(serde_json::to_string(&id).unwrap(), text);
        assert_eq!(serde_json::from_str::<LegacyId>(&text).unwrap(), id);
        assert!(serde_json::from_str::<LegacyId>(&text.replace('-', "")).is_err());
    }

    #[test]
    fn an_error_has_the_position_of_the_fault() {
        let change = |at: usize, byte: u8| {
            let mut text = GUEST.as_bytes().to_vec();
            text[at] = byte;
            PresentedLegacy::parse(&text).unwrap_err()
        };
        for (at, byte, part) in [
            (0, b'g', LegacyPart::Uuid),
            (8, b'0', LegacyPart::Uuid),
            (9, b'-', LegacyPart::Uuid),
            (35, b':', LegacyPart::Uuid),
            (36, b'0', LegacyPart::Separator),
            (37, b':', LegacyPart::Key),
            (100, b'\n', LegacyPart::Key),
        ] {
            let error = change(at, byte);
            assert_eq!((error.part(), error.position()), (part, at));
        }
        let error = PresentedLegacy::parse(&GUEST.as_bytes()[1..]).unwrap_err();
        assert_eq!((error.part(), error.position()), (LegacyPart::Length, 100));
    }

    #[test]
    fn malformed_uuids_are_refused() {
        assert_eq!(LegacyId::parse(b"").unwrap_err().position(), 0);
        assert_eq!(
            LegacyId::parse(&GUEST.as_bytes()[..35])
                .unwrap_err()
                .position(),
            35
        );
        assert_eq!(
            LegacyId::parse(&GUEST.as_bytes()[..37])
                .unwrap_err()
                .position(),
            36
        );
    }
}
