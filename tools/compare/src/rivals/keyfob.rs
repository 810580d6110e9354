//! Keyfob itself.

use base64::{Engine, engine::general_purpose::STANDARD};
use keyfob::{
    Access, Context, Denied, Keyring, MemoryStore, NewKey, Principal, Tenant, Timestamp, Verifier,
    block_on,
};

use crate::rival::{By, Facts, Grant, Owner as Whose, Rival};

pub(crate) struct Keyfob {
    keyring: Keyring,
    verifier: Verifier,
    basic: bool,
    made: usize,
}

impl Keyfob {
    /// Verifies the credential's text.
    pub(crate) fn text() -> Self {
        let keyring = block_on(Keyring::open(MemoryStore::new(), "cmp")).expect("a keyring");
        Self {
            verifier: keyring.verifier(),
            keyring,
            basic: false,
            made: 0,
        }
    }

    /// Verifies a whole `Authorization: Basic` header.
    pub(crate) fn header() -> Self {
        Self {
            basic: true,
            ..Self::text()
        }
    }

    fn principal(
        &self,
        credential: &str,
        access: &Access<'_>,
        now: i64,
    ) -> Result<Principal<'_>, Denied> {
        let (credential, now) = (credential.as_bytes(), Timestamp::from_unix(now));
        if self.basic {
            self.verifier.verify_header(credential, access, now)
        } else {
            self.verifier.verify_text(credential, access, now)
        }
    }
}

impl Rival for Keyfob {
    fn facts(&self) -> Facts {
        Facts {
            what: match (self.basic, cfg!(feature = "rustcrypto")) {
                (false, false) => "**Keyfob, credential text**",
                (true, false) => "**Keyfob, Basic header**",
                (false, true) => "**Keyfob with `rustcrypto`, credential text**",
                (true, true) => "**Keyfob with `rustcrypto`, Basic header**",
            },
            package: "keyfob",
            revocation: By::Crate,
            expiry: By::Crate,
            namespace: By::Crate,
            constant_time: "yes",
            lacks: "verify without the index: each gateway holds all keys in memory and follows \
                    the store",
        }
    }

    fn issue(&mut self, grant: &Grant) -> String {
        self.made += 1;
        let name = format!("key {}", self.made);
        let new = NewKey::for_user("acme", &grant.namespace, &grant.owner, &name)
            .expect("valid names")
            .expires_at(Timestamp::from_unix(grant.expires_at));
        let context = Context::system(Timestamp::from_unix(grant.issued_at));
        let key = block_on(self.keyring.create(&context, new))
            .expect("a key")
            .secret;
        if self.basic {
            format!("Basic {}", STANDARD.encode(key.expose()))
        } else {
            key.expose().to_owned()
        }
    }

    fn verify(&self, credential: &str, namespace: &str, now: i64) -> Option<Whose<'_>> {
        let principal = self
            .principal(credential, &Access::to(namespace), now)
            .ok()?;
        Some(Whose::Named(principal.owner()?))
    }

    fn revoke(&mut self, credential: &str, now: i64) -> bool {
        let principal = self.principal(credential, &Access::to_own_namespace(), now);
        let principal = principal.expect("a valid key");
        let tenant = Tenant::new(principal.team().clone(), principal.namespace().clone());
        let id = principal.key_id().expect("not a legacy credential");
        let context = principal.context(Timestamp::from_unix(now));
        block_on(self.keyring.revoke(&context, &tenant, id, None)).is_ok()
    }
}
