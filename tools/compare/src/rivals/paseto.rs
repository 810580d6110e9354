//! `pasetors`: PASETO version 4, encrypted under a shared key (local) or signed (public).

use keyfob::Timestamp;
use pasetors::{
    claims::{Claims, ClaimsValidationRules},
    errors::Error,
    keys::{AsymmetricKeyPair, Generate, SymmetricKey},
    local, public,
    token::{TrustedToken, UntrustedToken},
    version4::V4,
};

use crate::rival::{By, Facts, Grant, Owner, Rival};

pub(crate) struct Local {
    key: SymmetricKey<V4>,
    rules: ClaimsValidationRules,
}

impl Local {
    pub(crate) fn new() -> Self {
        Self {
            key: SymmetricKey::generate().expect("a key"),
            rules: rules(),
        }
    }
}

impl Rival for Local {
    fn facts(&self) -> Facts {
        Facts {
            what: "`pasetors` v4.local",
            constant_time: "yes",
            lacks: "revoke a token before it expires without a list that is read on every call; \
                    prevent verifiers from issuing tokens, because they share the key",
            ..FACTS
        }
    }

    fn issue(&mut self, grant: &Grant) -> String {
        let token = claims(grant).and_then(|claims| local::encrypt(&self.key, &claims, None, None));
        token.expect("a token")
    }

    fn verify(&self, credential: &str, namespace: &str, _now: i64) -> Option<Owner<'_>> {
        let token = UntrustedToken::try_from(credential).ok()?;
        let token = local::decrypt(&self.key, &token, &self.rules, None, None).ok()?;
        owner(&token, namespace)
    }

    fn revoke(&mut self, _credential: &str, _now: i64) -> bool {
        false
    }
}

pub(crate) struct Public {
    keys: AsymmetricKeyPair<V4>,
    rules: ClaimsValidationRules,
}

impl Public {
    pub(crate) fn new() -> Self {
        Self {
            keys: AsymmetricKeyPair::generate().expect("a key"),
            rules: rules(),
        }
    }
}

impl Rival for Public {
    fn facts(&self) -> Facts {
        Facts {
            what: "`pasetors` v4.public",
            constant_time: "not needed",
            lacks: "revoke a token before it expires without a list that is read on every call",
            ..FACTS
        }
    }

    fn issue(&mut self, grant: &Grant) -> String {
        let sign = |claims| public::sign(&self.keys.secret, &claims, None, None);
        claims(grant).and_then(sign).expect("a token")
    }

    fn verify(&self, credential: &str, namespace: &str, _now: i64) -> Option<Owner<'_>> {
        let token = UntrustedToken::try_from(credential).ok()?;
        let token = public::verify(&self.keys.public, &token, &self.rules, None, None).ok()?;
        owner(&token, namespace)
    }

    fn revoke(&mut self, _credential: &str, _now: i64) -> bool {
        false
    }
}

/// The end, and no look at the moments of issue and beginning, which nobody asks for.
fn rules() -> ClaimsValidationRules {
    let mut rules = ClaimsValidationRules::new();
    rules.disable_valid_at();
    rules
}

fn claims(grant: &Grant) -> Result<Claims, Error> {
    let mut claims = Claims::new()?;
    claims.remove_claim("iat");
    claims.remove_claim("nbf");
    claims.subject(&grant.owner)?;
    // Compared by hand: rules hold one audience, and would have to be made for each call.
    claims.audience(&grant.namespace)?;
    claims.expiration(&Timestamp::from_unix(grant.expires_at).to_string())?;
    Ok(claims)
}

fn owner(token: &TrustedToken, namespace: &str) -> Option<Owner<'static>> {
    let claims = token.payload_claims()?;
    let owner = claims.get_claim("sub")?.as_str()?;
    (claims.get_claim("aud")?.as_str()? == namespace).then(|| Owner::Owned(owner.to_owned()))
}

const FACTS: Facts = Facts {
    what: "",
    package: "pasetors",
    revocation: By::Nobody,
    expiry: By::Crate,
    namespace: By::Caller,
    constant_time: "",
    lacks: "",
};
