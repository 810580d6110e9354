//! The source of identifiers and secrets.

use ring::rand::SecureRandom;

/// A source of random bytes for identifiers and secrets.
///
/// # Security
///
/// The source must be cryptographically secure: anyone who can predict its bytes knows every key
/// made from them. The default, [`SystemRandom`], is secure.
pub trait Random: Send + Sync {
    /// Fills `bytes` with random bytes.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the source failed. No key is created then.
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

/// The source of random bytes failed; no key was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source of random bytes failed")]
pub struct RandomError;
