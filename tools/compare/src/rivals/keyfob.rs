//! Keyfob itself.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use keyfob::{Access, Actor, Context, Denied, Expiry, Keyring, MemoryStore, NewKey, Owner, Principal, Tenant, Timestamp, Verifier, block_on, gateway::Index, key::KeyFormat, name::{KeyName, NamespaceId, TeamId, UserId}};

use crate::rival::{By, Snapshot, Grant, Owner as Whose, Rival};

pub(crate) struct Keyfob {
    keyring: Keyring<MemoryStore>,
    verifier: Verifier,
    basic: bool,
    made: usize,
}

impl Keyfob {
    /// Judging the credential's text.
    pub(crate) fn text() -> Self {
        let format = KeyFormat::new("cmp").expect("a prefix");
        let index = Arc::new(Index::new());
        let keyring = Keyring::new(MemoryStore::new(), format).with_index(Arc::clone(&index));
        Self {
            verifier: keyring.verifier(index),
            keyring,
            basic: false,
            made: 0,
        }
    }

    /// Judging a whole `Authorization: Basic` header.
    pub(crate) fn header() -> Self {
        Self {
            basic: true,
            ..Self::text()
        }
    }

    fn decide(
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
    fn snapshot(&self) -> Snapshot {
        Snapshot {
            what: match (self.basic, cfg!(feature = "rustcrypto")) {
                (false, false) => "**Keyfob, credential text**",
                (true, false) => "**Keyfob, Basic header**",
                (false, true) => "**Keyfob by `rustcrypto`, credential text**",
                (true, true) => "**Keyfob by `rustcrypto`, Basic header**",
            },
            package: "keyfob",
            revocation: By::Crate,
            expiry: By::Crate,
            namespace: By::Crate,
            constant_time: "yes",
            lacks: "verify where the index is not: each gateway holds all keys in memory and \
                    follows the store",
        }
    }

    fn issue(&mut self, grant: &Grant) -> String {
        let namespace = NamespaceId::new(&grant.namespace).expect("a namespace");
        let tenant = Tenant::new(TeamId::new("acme").expect("a team"), namespace);
        let owner = Owner::User(UserId::new(&grant.owner).expect("a user"));
        self.made += 1;
        let name = KeyName::new(&format!("key {}", self.made)).expect("a name");
        let new = NewKey::new(tenant, owner, name)
            .with_expiry(Expiry::At(Timestamp::from_unix(grant.expires_at)));
        let context = Context::new(Actor::system(), Timestamp::from_unix(grant.issued_at));
        let (key, _) = block_on(self.keyring.create(&context, new)).expect("a key");
        if self.basic {
            format!("Basic {}", STANDARD.encode(key.expose()))
        } else {
            key.expose().to_owned()
        }
    }

    fn verify(&self, credential: &str, namespace: &str, now: i64) -> Option<Whose<'_>> {
        let principal = self.decide(credential, &Access::to(namespace), now).ok()?;
        Some(Whose::Borrowed(principal.owner()?.as_str()))
    }

    fn revoke(&mut self, credential: &str, now: i64) -> bool {
        let principal = self.decide(credential, &Access::to_own_namespace(), now);
        let principal = principal.expect("a valid key");
        let tenant = Tenant::new(principal.team().clone(), principal.namespace().clone());
        let id = principal.key_id().expect("not a legacy credential");
        let context = Context::new(principal.to_actor(), Timestamp::from_unix(now));
        block_on(self.keyring.revoke(&context, &tenant, id)).is_ok()
    }
}
