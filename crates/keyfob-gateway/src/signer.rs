//! Signed identities: JSON Web Tokens for the services behind a gateway.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use keyfob::Timestamp;
use ring::{
    digest,
    signature::{Ed25519KeyPair, KeyPair},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde::Serialize;

use crate::Identity;

/// Signs who sent a request, as a JSON Web Token (RFC 7519) with `EdDSA` (RFC 8037). The service behind
/// the gateway checks it with the public keys, [`IdentitySigner::jwks`], so who goes past the gateway cannot
/// write who they are.
///
/// A token is valid for a minute at most, and never beyond the expiry of the key.
pub struct IdentitySigner {
    /// The first one signs.
    keys: Vec<SigningKey>,
    issuer: String,
    audience: Option<String>,
    lifetime: u64,
    recent: Recent,
}

struct SigningKey {
    pair: Ed25519KeyPair,
    /// The thumbprint of the public key (RFC 7638).
    id: String,
    /// The head of its tokens, encoded.
    head: String,
}

impl IdentitySigner {
    /// Reads keys in PEM (PKCS#8), as `openssl genpkey -algorithm ed25519` makes them. The first one
    /// signs; the public keys of all are published, so that a key can be replaced without a gap.
    ///
    /// # Errors
    ///
    /// [`SignerError`] has nothing of the keys in it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, SignerError> {
        let keys = PrivatePkcs8KeyDer::pem_slice_iter(pem)
            .map(|der| {
                let der = der.map_err(|_| SignerError::Pem)?;
                SigningKey::from_der(der.secret_pkcs8_der())
            })
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(SignerError::Pem);
        }
        Ok(Self {
            keys,
            issuer: "keyfob".to_owned(),
            audience: None,
            lifetime: LIFETIME_MAX,
            recent: Recent::new(),
        })
    }

    /// Names this issuer (`iss`). The default is `keyfob`.
    #[must_use]
    pub fn with_issuer(self, issuer: impl Into<String>) -> Self {
        let issuer = issuer.into();
        Self { issuer, ..self }
    }

    /// Names this audience (`aud`). The default is none.
    #[must_use]
    pub fn with_audience(self, audience: impl Into<Option<String>>) -> Self {
        let audience = audience.into();
        Self { audience, ..self }
    }

    /// Limits the validity of a token to this time, from 2 seconds to a minute. The default is a minute.
    #[must_use]
    pub fn with_lifetime(self, lifetime: Duration) -> Self {
        let lifetime = lifetime.as_secs().clamp(2, LIFETIME_MAX);
        Self { lifetime, ..self }
    }

    /// The public keys as a JSON Web Key Set (RFC 7517).
    pub fn jwks(&self) -> String {
        let keys: Vec<String> = self.keys.iter().map(SigningKey::jwk).collect();
        format!(r#"{{"keys":[{}]}}"#, keys.join(","))
    }

    /// The token for an identity that was verified at `now`, and when it expires.
    pub(crate) fn sign(&self, identity: &Identity, now: Timestamp) -> (Arc<str>, Timestamp) {
        let (token, at) = self.recent.token(identity, now, self.lifetime / 6, || {
            self.made(identity, now)
        });
        (token, self.expires(identity, at))
    }

    /// When a token that is made at `at` expires.
    fn expires(&self, identity: &Identity, at: Timestamp) -> Timestamp {
        let ends = at.plus_seconds(self.lifetime);
        identity.expires_at.map_or(ends, |at| at.min(ends))
    }

    fn made(&self, identity: &Identity, now: Timestamp) -> Arc<str> {
        let claims = Claims {
            iss: &self.issuer,
            aud: self.audience.as_deref(),
            sub: &identity.owner,
            iat: now.as_unix(),
            exp: self.expires(identity, now).as_unix(),
            key_id: &identity.key_id,
            team: identity.team.as_str(),
            namespace: identity.namespace.as_str(),
            scope: &identity.scopes,
        };
        let (Some(key), Ok(claims)) = (self.keys.first(), serde_json::to_vec(&claims)) else {
            unreachable!("there is a key, and texts and numbers are serialized");
        };
        let mut token = key.head.clone();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = key.pair.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token.into()
    }
}

impl SigningKey {
    fn from_der(der: &[u8]) -> Result<Self, SignerError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
        let pair = pair.map_err(|_| SignerError::Algorithm)?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key());
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let id = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()));
        let head = format!(r#"{{"alg":"EdDSA","kid":"{id}","typ":"JWT"}}"#);
        let head = URL_SAFE_NO_PAD.encode(head);
        Ok(Self { pair, id, head })
    }

    fn jwk(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        let id = &self.id;
        format!(
            r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"{id}","alg":"EdDSA","use":"sig"}}"#
        )
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    sub: &'a str,
    iat: i64,
    exp: i64,
    key_id: &'a str,
    team: &'a str,
    namespace: &'a str,
    scope: &'a str,
}

/// The tokens of recent calls. A signature takes longer than the rest of an answer, and most calls are
/// made with few keys. Only the token is kept: every call is verified first.
struct Recent {
    slots: Box<[Mutex<Option<Made>>]>,
    hasher: RandomState,
}

struct Made {
    identity: Identity,
    at: Timestamp,
    token: Arc<str>,
}

impl Recent {
    fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Mutex::new(None)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The token that was made for this identity within `seconds`, or a new one, and when it was made.
    fn token(
        &self,
        identity: &Identity,
        now: Timestamp,
        seconds: u64,
        make: impl FnOnce() -> Arc<str>,
    ) -> (Arc<str>, Timestamp) {
        let hash = self.hasher.hash_one(identity.credential);
        let slot = usize::try_from(hash).unwrap_or(0) % SLOTS;
        let Some(slot) = self.slots.get(slot) else {
            return (make(), now);
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*slot
            && made.identity == *identity
            && now >= made.at
            && now.seconds_since(made.at) <= seconds
        {
            return (Arc::clone(&made.token), made.at);
        }
        let token = make();
        *slot = Some(Made {
            identity: identity.clone(),
            at: now,
            token: Arc::clone(&token),
        });
        (token, now)
    }
}

impl fmt::Debug for IdentitySigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.keys.iter().map(|key| key.id.as_str()).collect();
        f.debug_struct("IdentitySigner")
            .field("keys", &keys)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

/// Keys for signing cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// There is no key, or one that is not in PEM.
    #[error("has no private key in PEM (PKCS#8)")]
    Pem,
    /// A key is of another algorithm.
    #[error("has a key that is not for Ed25519")]
    Algorithm,
}

/// The longest validity of a token, in seconds.
const LIFETIME_MAX: u64 = 60;
/// The number of tokens that are kept.
const SLOTS: usize = 1 << 12;
