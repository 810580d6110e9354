//! The file by which a client authenticates itself to NATS.

use std::{io, path::Path};

use async_nats::Auth;
use nkeys::KeyPair;
use zeroize::Zeroizing;

/// Reads the file, and signs the server's nonce with the key in it. It is read for each connection, so that
/// it can be replaced.
pub(crate) async fn sign(file: &Path, nonce: &[u8]) -> Result<Auth, CredentialsError> {
    let text = tokio::fs::read(file).await;
    let text = Zeroizing::new(text.map_err(CredentialsError::Unreadable)?);
    let text = std::str::from_utf8(&text).map_err(|_| CredentialsError::Malformed)?;
    let Parts { jwt, seed } = Parts::find(text).ok_or(CredentialsError::Malformed)?;
    // Errors of this library are not repeated: they are of a secret.
    let pair = KeyPair::from_seed(seed).map_err(|_| CredentialsError::Malformed)?;
    let signature = pair.sign(nonce).map_err(|_| CredentialsError::Malformed)?;
    let mut auth = Auth::new();
    auth.signature = Some(signature);
    match jwt {
        Some(jwt) => auth.jwt = Some(jwt.to_owned()),
        None => auth.nkey = Some(pair.public_key()),
    }
    Ok(auth)
}

struct Parts<'a> {
    jwt: Option<&'a str>,
    seed: &'a str,
}

impl<'a> Parts<'a> {
    /// Finds the JWT and the seed in a file of credentials, or a seed alone.
    fn find(text: &'a str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let (mut jwt, mut seed) = (None, None);
        let mut alone = None;
        while let Some(line) = lines.next() {
            if line.starts_with("-----BEGIN NATS USER JWT") {
                jwt = lines.next();
            } else if line.starts_with("-----BEGIN USER NKEY SEED") {
                seed = lines.next();
            } else if line.starts_with("SU") {
                alone = Some(line);
            }
        }
        let seed = seed.or(alone.filter(|_| jwt.is_none()))?;
        Some(Self { jwt, seed })
    }
}

/// The file of credentials cannot be used. It does not say what the file has.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    #[error("the file of credentials cannot be read")]
    Unreadable(#[source] io::Error),
    #[error(
        "the file of credentials must have the seed of a user's nkey, alone or with the user's JWT"
    )]
    Malformed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_found_alone_and_with_a_jwt() {
        let both = "-----BEGIN NATS USER JWT-----\nJWT\n------END NATS USER JWT------\n\n\
                    ************************* IMPORTANT *************************\n\
                    NKEY Seed printed below can be used to sign and prove identity.\n\n\
                    -----BEGIN USER NKEY SEED-----\nSUSEED\n------END USER NKEY SEED------\n";
        let parts = Parts::find(both).unwrap();
        assert_eq!((parts.jwt, parts.seed), (Some("JWT"), "SUSEED"));
        for text in [
            "SUSEED",
            "# gateway\nSUSEED\n",
            "-----BEGIN USER NKEY SEED-----\nSUSEED\n------",
        ] {
            let parts = Parts::find(text).unwrap();
            assert_eq!((parts.jwt, parts.seed), (None, "SUSEED"), "{text}");
        }
        for text in ["", "SASEED", "-----BEGIN NATS USER JWT-----\nJWT\n---\n"] {
            assert!(Parts::find(text).is_none(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_refused_is_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nats.creds");
        std::fs::write(&file, "SUwrong").unwrap();
        let error = sign(&file, b"nonce").await.err().unwrap();
        assert!(matches!(error, CredentialsError::Malformed));
        assert!(!format!("{error} {error:?}").contains("wrong"));
        let error = sign(&folder.path().join("none"), b"").await.err().unwrap();
        assert!(matches!(error, CredentialsError::Unreadable(_)));

        let pair = KeyPair::new_user();
        std::fs::write(&file, pair.seed().unwrap()).unwrap();
        let auth = sign(&file, b"nonce").await.unwrap();
        assert_eq!(auth.nkey, Some(pair.public_key()));
        pair.verify(b"nonce", &auth.signature.unwrap()).unwrap();
    }
}
