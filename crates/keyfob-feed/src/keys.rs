//! The secret keys of the authority.

use std::fmt;

use keyfob::key::{Random, RandomError};
use ring::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

use crate::{
    line::{Document, SignedLine},
    position::MarkKey,
    signer::{SignerId, SignerKey, SignersDocument, Trust},
    text,
};

/// The secrets of the authority: the mark key, and the seeds of its signers. All processes of the
/// authority have the same.
///
/// The text form is one line for each of them:
///
/// ```text
/// keyfob-feed-keys-v1
/// version 3
/// mark <43 characters of base64url>
/// signer <43 characters of base64url>
/// signer <43 characters of base64url>
/// ```
///
/// The first signer signs; readers trust all of them. Empty lines and lines that begin with `#` are
/// ignored.
///
/// # Rotation
///
/// 1. [`announce`](FeedKeys::announce) adds a signer. Deploy the file to all processes of the
///    authority, and wait until all readers have read the new signers document: frames tell them its
///    version.
/// 2. [`switch`](FeedKeys::switch) lets the new one sign. Deploy the file.
/// 3. [`retire`](FeedKeys::retire) removes the old one, which no reader trusts after it has read the
///    new document. Deploy the file.
///
/// Each step increases the version. A reader that missed all documents from the first step to the
/// last needs a new pinned key. The mark key cannot be rotated without all readers loading a new
/// snapshot.
///
/// # Security
///
/// Who has these keys can make every reader accept any state. Nobody who does not have them can:
/// neither a relay nor somebody with access to the network. `Debug` shows the public keys only, and
/// memory is zeroized on drop; `ring` does not zeroize its copy of the expanded seeds.
pub struct FeedKeys {
    version: u64,
    mark_seed: Zeroizing<[u8; MarkKey::LEN]>,
    mark: MarkKey,
    signers: Vec<Signer>,
}

impl FeedKeys {
    const HEAD: &str = "keyfob-feed-keys-v1";

    /// Creates new keys with one signer.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the random source failed.
    pub fn generate(random: &dyn Random) -> Result<Self, RandomError> {
        let mut mark_seed = Zeroizing::new([0; MarkKey::LEN]);
        random.fill(&mut *mark_seed)?;
        Ok(Self {
            version: 1,
            mark: MarkKey::new(&mark_seed),
            mark_seed,
            signers: vec![Signer::generate(random)?],
        })
    }

    /// Parses the text form.
    ///
    /// # Errors
    ///
    /// [`KeysError`] has the number of the line, never its text.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let mut lines = (1..)
            .zip(text.lines().map(str::trim_end))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let fault = |(line, _): (usize, &str), fault| KeysError { line, fault };
        match lines.next() {
            Some((_, Self::HEAD)) => {}
            Some(line) => return Err(fault(line, KeysFault::Head)),
            None => return Err(fault((1, ""), KeysFault::Head)),
        }
        let (mut version, mut mark, mut signers) = (None, None, Vec::<Signer>::new());
        let mut last = 1;
        for line in lines {
            last = line.0;
            let (name, value) = line.1.split_once(' ').unwrap_or((line.1, ""));
            match name {
                "version" => {
                    let number = value.parse().ok().filter(|number| *number > 0);
                    let number: u64 = number.ok_or(fault(line, KeysFault::Version))?;
                    if version.replace(number).is_some() {
                        return Err(fault(line, KeysFault::Repeated));
                    }
                }
                "mark" => {
                    let seed = seed(value).ok_or(fault(line, KeysFault::Key))?;
                    if mark.replace(seed).is_some() {
                        return Err(fault(line, KeysFault::Repeated));
                    }
                }
                "signer" => {
                    let seed = seed(value).ok_or(fault(line, KeysFault::Key))?;
                    let signer = Signer::from_seed(seed).ok_or(fault(line, KeysFault::Key))?;
                    if signers.iter().any(|known| known.public == signer.public) {
                        return Err(fault(line, KeysFault::Repeated));
                    }
                    if signers.len() >= Trust::SIGNERS_MAX {
                        return Err(fault(line, KeysFault::TooMany));
                    }
                    signers.push(signer);
                }
                _ => return Err(fault(line, KeysFault::Name)),
            }
        }
        let missing = fault((last, ""), KeysFault::Missing);
        let mark_seed = mark.ok_or(missing)?;
        if signers.is_empty() {
            return Err(missing);
        }
        Ok(Self {
            version: version.ok_or(missing)?,
            mark: MarkKey::new(&mark_seed),
            mark_seed,
            signers,
        })
    }

    /// Returns the text form, which is secret.
    pub fn to_text(&self) -> Zeroizing<String> {
        // Long enough that it does not grow, which would leave a copy in memory.
        let mut lines = Zeroizing::new(String::with_capacity(128 + 64 * (1 + self.signers.len())));
        lines.push_str(Self::HEAD);
        lines.push_str("\nversion ");
        lines.push_str(&self.version.to_string());
        lines.push_str("\nmark ");
        lines.push_str(&Zeroizing::new(text::encode(&*self.mark_seed)));
        for signer in &self.signers {
            lines.push_str("\nsigner ");
            lines.push_str(&Zeroizing::new(text::encode(&*signer.seed)));
        }
        lines.push('\n');
        lines
    }

    /// Adds a signer that does not sign yet.
    ///
    /// # Errors
    ///
    /// - the random source failed -> [`RotationError::Random`]
    /// - there are [`Trust::SIGNERS_MAX`] signers -> [`RotationError::TooMany`]
    pub fn announce(&mut self, random: &dyn Random) -> Result<SignerKey, RotationError> {
        if self.signers.len() >= Trust::SIGNERS_MAX {
            return Err(RotationError::TooMany);
        }
        let signer = Signer::generate(random)?;
        let public = signer.public;
        self.signers.push(signer);
        self.version = self.version.saturating_add(1);
        Ok(public)
    }

    /// Lets the signer that was added last sign.
    pub fn switch(&mut self) -> SignerKey {
        self.signers.rotate_right(1);
        self.version = self.version.saturating_add(1);
        self.current().public
    }

    /// Removes all signers but the one that signs; returns those that it removed.
    pub fn retire(&mut self) -> Vec<SignerKey> {
        let removed = self.signers.drain(1..).map(|signer| signer.public);
        let removed: Vec<SignerKey> = removed.collect();
        if !removed.is_empty() {
            self.version = self.version.saturating_add(1);
        }
        removed
    }

    /// The version of the set of signers.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The public keys of the signers. The first one signs.
    pub fn signers(&self) -> impl Iterator<Item = SignerKey> {
        self.signers.iter().map(|signer| signer.public)
    }

    /// Returns the signers document of `as_of` (Unix milliseconds), signed by each signer: a reader
    /// takes the line of one that it trusts.
    pub fn signers_document(&self, as_of: u64) -> Vec<SignedLine> {
        let document = SignersDocument {
            version: self.version,
            signers: self.signers().collect(),
            as_of,
        };
        let lines = self.signers.iter().map(|signer| document.signed(signer));
        lines.collect()
    }

    pub(crate) fn mark_key(&self) -> &MarkKey {
        &self.mark
    }

    /// Signs a document with the signer that signs.
    pub(crate) fn sign(&self, document: Document, raw: &[u8]) -> SignedLine {
        self.current().sign(document, raw)
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the constructors require a signer, and no method removes the first"
    )]
    fn current(&self) -> &Signer {
        &self.signers[0]
    }
}

impl fmt::Debug for FeedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signers: Vec<SignerKey> = self.signers().collect();
        f.debug_struct("FeedKeys")
            .field("version", &self.version)
            .field("signers", &signers)
            .finish_non_exhaustive()
    }
}

/// A signer with its secret seed.
pub(crate) struct Signer {
    seed: Zeroizing<[u8; Self::LEN]>,
    pair: Ed25519KeyPair,
    public: SignerKey,
    id: SignerId,
}

impl Signer {
    const LEN: usize = 32;

    fn generate(random: &dyn Random) -> Result<Self, RandomError> {
        let mut seed = Zeroizing::new([0; Self::LEN]);
        random.fill(&mut *seed)?;
        Self::from_seed(seed).ok_or(RandomError)
    }

    fn from_seed(seed: Zeroizing<[u8; Self::LEN]>) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).ok()?;
        let public = SignerKey::from_public(pair.public_key().as_ref())?;
        Some(Self {
            seed,
            pair,
            public,
            id: public.id(),
        })
    }

    pub(crate) fn sign(&self, document: Document, raw: &[u8]) -> SignedLine {
        let signature = self.pair.sign(&document.message(raw));
        let signature = text::encode(signature.as_ref());
        SignedLine::new(document, &self.id.to_string(), &signature, raw)
    }
}

fn seed(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    text::decode(text).map(Zeroizing::new)
}

/// The file of the authority's keys is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("feed keys, line {line}: {fault}")]
pub struct KeysError {
    /// The number of the line, from one.
    pub line: usize,
    /// What is wrong with it.
    pub fault: KeysFault,
}

/// What is wrong with a line of the file of the authority's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeysFault {
    /// The first line is not the name of the format.
    #[error("must be {}", FeedKeys::HEAD)]
    Head,
    /// The line begins with no known name.
    #[error("must begin with version, mark or signer")]
    Name,
    /// The version is not a positive number.
    #[error("the version must be a positive number")]
    Version,
    /// The key is not 32 bytes in base64url.
    #[error("the key must be 43 characters of base64url")]
    Key,
    /// The line repeats an earlier one.
    #[error("repeats an earlier line")]
    Repeated,
    /// There are too many signers.
    #[error("there are more than {} signers", Trust::SIGNERS_MAX)]
    TooMany,
    /// After this line, the version, the mark key or a signer is missing.
    #[error("version, mark or signer is missing after it")]
    Missing,
}

/// A signer was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// The random source failed.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// There is the maximum number of signers.
    #[error("there are {} signers already; retire some", Trust::SIGNERS_MAX)]
    TooMany,
}

#[cfg(test)]
mod tests {
    use keyfob::key::SystemRandom;

    use super::*;

    fn keys() -> FeedKeys {
        FeedKeys::generate(&SystemRandom).unwrap()
    }

    #[test]
    fn keys_round_trip_through_their_text() {
        let mut keys = keys();
        keys.announce(&SystemRandom).unwrap();
        let text = keys.to_text();
        let parsed = FeedKeys::parse(&text).unwrap();
        assert_eq!(*parsed.to_text(), *text);
        assert!(parsed.signers().eq(keys.signers()));
        assert_eq!(parsed.version(), 2);
        let commented = format!("# made by a test\n\n{}\n# end\n", *text);
        assert_eq!(*FeedKeys::parse(&commented).unwrap().to_text(), *text);
    }

    #[test]
    fn debug_shows_no_secret() {
        let keys = keys();
        let shown = format!("{keys:?}");
        for line in keys.to_text().lines().skip(2) {
            let (_, secret) = line.split_once(' ').unwrap();
            assert!(!shown.contains(secret));
        }
        assert!(shown.contains("keyfob-feed-v1:"));
    }

    #[test]
    fn an_error_in_the_file_has_the_line_and_not_its_text() {
        let text = keys().to_text();
        let lines: Vec<&str> = text.lines().collect();
        let with = |at: usize, line: &str| {
            let mut lines = lines.clone();
            lines[at] = line;
            FeedKeys::parse(&lines.join("\n")).unwrap_err()
        };
        let error = |line, fault| KeysError { line, fault };
        assert_eq!(with(0, "keyfob"), error(1, KeysFault::Head));
        assert_eq!(with(1, "version 0"), error(2, KeysFault::Version));
        assert_eq!(with(2, "mark AAAA"), error(3, KeysFault::Key));
        assert_eq!(with(2, "signature x"), error(3, KeysFault::Name));
        assert_eq!(with(3, "# none"), error(3, KeysFault::Missing));
        assert_eq!(with(2, lines[3]), error(4, KeysFault::Repeated));
        let empty = FeedKeys::parse("").unwrap_err();
        assert_eq!(empty, error(1, KeysFault::Head));
        assert!(!with(2, "mark AAAA").to_string().contains("AAAA"));
    }

    #[test]
    fn a_rotation_ends_with_the_announced_signer_alone() {
        let mut keys = keys();
        let old = keys.signers().next().unwrap();
        let new = keys.announce(&SystemRandom).unwrap();
        assert!(keys.signers().eq([old, new]));
        assert_eq!(keys.switch(), new);
        assert!(keys.signers().eq([new, old]));
        assert_eq!(keys.retire(), [old]);
        assert!(keys.signers().eq([new]));
        assert_eq!(keys.version(), 4);
        assert_eq!(keys.retire(), []);
        assert_eq!(keys.version(), 4);
    }
}
