//! Signed lines: a document, and who signed it.
//!
//! ```text
//! {"signer":"<16 hexadecimal digits>","sig":"<86 characters of base64url>","frame":{…}}
//! ```
//!
//! The envelope is JSON, in exactly this form: no white space, no other order, no other members. The
//! signature covers a line that names the kind of the document, and the bytes of the document as they
//! are. So nothing has to be brought into a canonical form, and a document of one kind is never taken
//! for another.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

/// The kinds of signed documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Document {
    Frame,
    Manifest,
    Signers,
}

impl Document {
    /// What the signature covers in front of the document.
    const fn context(self) -> &'static str {
        match self {
            Self::Frame => "keyfob feed frame v1\n",
            Self::Manifest => "keyfob feed snapshot v1\n",
            Self::Signers => "keyfob feed signers v1\n",
        }
    }

    /// The member of the envelope that holds the document, as it stands between the signature and the
    /// document.
    const fn member(self) -> &'static str {
        match self {
            Self::Frame => r#"","frame":"#,
            Self::Manifest => r#"","snapshot":"#,
            Self::Signers => r#"","signers":"#,
        }
    }

    /// What is signed.
    pub(crate) fn message(self, raw: &[u8]) -> Vec<u8> {
        [self.context().as_bytes(), raw].concat()
    }
}

const SIGNER: &str = r#"{"signer":""#;
const SIGNER_CHARS: usize = 16;
const SIGNATURE: &str = r#"","sig":""#;
const SIGNATURE_CHARS: usize = 86;

/// The parts of a line.
pub(crate) struct Parts<'a> {
    pub(crate) signer: &'a [u8],
    pub(crate) signature: &'a [u8],
    pub(crate) raw: &'a [u8],
}

/// Takes a line apart; `None` if it is not of this form.
pub(crate) fn split(document: Document, line: &[u8]) -> Option<Parts<'_>> {
    let rest = line.strip_prefix(SIGNER.as_bytes())?;
    let (signer, rest) = rest.split_at_checked(SIGNER_CHARS)?;
    let rest = rest.strip_prefix(SIGNATURE.as_bytes())?;
    let (signature, rest) = rest.split_at_checked(SIGNATURE_CHARS)?;
    let rest = rest.strip_prefix(document.member().as_bytes())?;
    let raw = rest.strip_suffix(b"}")?;
    Some(Parts {
        signer,
        signature,
        raw,
    })
}

/// A signed document in one line. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedLine(Bytes);

impl SignedLine {
    /// The longest line, in bytes, without its line break. A reader can drop a longer one unread.
    pub const BYTES_MAX: usize = 4 << 20;
    /// The longest line with its line break, as [`SignedLine::to_sent`] returns it.
    pub const SENT_BYTES_MAX: usize = Self::BYTES_MAX + 1;

    pub(crate) fn new(document: Document, signer: &str, signature: &str, raw: &[u8]) -> Self {
        let parts = [
            SIGNER.as_bytes(),
            signer.as_bytes(),
            SIGNATURE.as_bytes(),
            signature.as_bytes(),
            document.member().as_bytes(),
            raw,
            b"}\n",
        ];
        let mut line = BytesMut::with_capacity(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            line.put_slice(part);
        }
        Self(line.freeze())
    }

    /// Takes a line that somebody else signed, without its line break, as a relay does. It is not
    /// verified here.
    pub fn received(line: &[u8]) -> Self {
        Self([line, b"\n"].concat().into())
    }

    /// The line without its line break.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.strip_suffix(b"\n").unwrap_or(&self.0)
    }

    /// The line without its line break, as a message of its own.
    pub fn to_line(&self) -> Bytes {
        self.0.slice(..self.as_bytes().len())
    }

    /// The line with its line break, as it is sent.
    pub fn to_sent(&self) -> Bytes {
        self.0.clone()
    }
}

impl fmt::Debug for SignedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// A line is not a document of a trusted signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// It is not a signed line of the expected kind, or a trusted signer signed what this version
    /// cannot read.
    #[error("the line is malformed")]
    Malformed,
    /// The signer is not trusted: it was retired, or the reader lacks a newer signers document.
    #[error("the signer is not trusted")]
    UnknownSigner,
    /// The signature is not that of the signer.
    #[error("the signature is wrong")]
    Forged,
}
