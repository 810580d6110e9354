//! `jsonwebtoken`: claims under a shared secret or a signature.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde::{Deserialize, Serialize};

use super::straw_man::new_secret;
use crate::rival::{By, Facts, Grant, Owner, Rival};

pub(crate) struct Jwt {
    what: &'static str,
    constant_time: &'static str,
    header: Header,
    signing: EncodingKey,
    verifying: DecodingKey,
    validation: Validation,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    /// The namespace. As `aud` it would take a `Validation` of its own for each.
    ns: String,
    exp: i64,
}

impl Jwt {
    pub(crate) fn hs256() -> Self {
        let secret = new_secret();
        Self {
            what: "`jsonwebtoken` HS256",
            constant_time: "yes",
            ..Self::new(
                Algorithm::HS256,
                EncodingKey::from_secret(secret.as_bytes()),
                DecodingKey::from_secret(secret.as_bytes()),
            )
        }
    }

    pub(crate) fn es256() -> Self {
        let (algorithm, rng) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let private = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref(), &rng).expect("a key");
        Self {
            what: "`jsonwebtoken` ES256",
            ..Self::new(
                Algorithm::ES256,
                EncodingKey::from_ec_der(private.as_ref()),
                DecodingKey::from_ec_der(pair.public_key().as_ref()),
            )
        }
    }

    pub(crate) fn eddsa() -> Self {
        let private = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).expect("a key");
        Self {
            what: "`jsonwebtoken` EdDSA",
            ..Self::new(
                Algorithm::EdDSA,
                EncodingKey::from_ed_der(private.as_ref()),
                DecodingKey::from_ed_der(pair.public_key().as_ref()),
            )
        }
    }

    fn new(algorithm: Algorithm, signing: EncodingKey, verifying: DecodingKey) -> Self {
        let mut validation = Validation::new(algorithm);
        validation.leeway = 0;
        Self {
            what: "",
            constant_time: "not needed",
            header: Header::new(algorithm),
            signing,
            verifying,
            validation,
        }
    }
}

impl Rival for Jwt {
    fn facts(&self) -> Facts {
        Facts {
            what: self.what,
            package: "jsonwebtoken",
            revocation: By::Nobody,
            expiry: By::Crate,
            namespace: By::Caller,
            constant_time: self.constant_time,
            lacks: if self.header.alg == Algorithm::HS256 {
                "revoke a token before it expires without a list that is read on every call; \
                 prevent verifiers from issuing tokens, because they share the secret"
            } else {
                "revoke a token before it expires without a list that is read on every call"
            },
        }
    }

    fn issue(&mut self, grant: &Grant) -> String {
        let claims = Claims {
            sub: grant.owner.clone(),
            ns: grant.namespace.as_ref().to_owned(),
            exp: grant.expires_at,
        };
        encode(&self.header, &claims, &self.signing).expect("a token")
    }

    fn verify(&self, credential: &str, namespace: &str, _now: i64) -> Option<Owner<'_>> {
        let token = decode::<Claims>(credential, &self.verifying, &self.validation).ok()?;
        (token.claims.ns == namespace).then_some(Owner::Owned(token.claims.sub))
    }

    fn revoke(&mut self, _credential: &str, _now: i64) -> bool {
        false
    }
}
