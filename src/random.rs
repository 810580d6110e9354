//! Where identifiers and secrets come from.

use ring::rand::SecureRandom;

/// A source of random bytes for identifiers and secrets.
///
/// # Security
///
/// It must be cryptographically secure: whoever can predict its bytes has every key that is made
/// with them. [`SystemRandom`] is, and is used where nothing else is named.
pub trait Random: Send + Sync {
    /// Fills `bytes` with random bytes.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the source failed. No key is made then.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError>;
}

/// The random source of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        let system = ring::rand::SystemRandom::new();
        system.fill(bytes).map_err(|_| RandomError)
    }
}

/// The source of random bytes failed; no key was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source of random bytes failed")]
pub struct RandomError;
