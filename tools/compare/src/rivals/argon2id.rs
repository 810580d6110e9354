//! API keys kept as passwords are: `argon2`, with its default parameters.

use std::collections::HashMap;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};

use super::straw_man::{new_id, new_secret};
use crate::rival::{By, Facts, Grant, Owner, Rival};

#[derive(Default)]
pub(crate) struct Argon2id {
    argon2: Argon2<'static>,
    records: HashMap<String, Record>,
}

struct Record {
    hash: PasswordHash,
    grant: Grant,
}

impl Rival for Argon2id {
    fn facts(&self) -> Facts {
        Facts {
            what: "`argon2`, default parameters, and a `HashMap`",
            package: "argon2",
            revocation: By::Caller,
            expiry: By::Caller,
            namespace: By::Caller,
            constant_time: "yes",
            lacks: "handle load: a core verifies some tens of calls per second, and anyone who \
                    knows an id can keep it busy",
        }
    }

    fn population(&self) -> usize {
        8
    }

    fn issue(&mut self, grant: &Grant) -> String {
        let (id, secret) = (new_id(), new_secret());
        let hash = self.argon2.hash_password(secret.as_bytes());
        let record = Record {
            hash: hash.expect("a hash"),
            grant: grant.clone(),
        };
        self.records.insert(id.clone(), record);
        format!("{id}:{secret}")
    }

    fn verify(&self, credential: &str, namespace: &str, now: i64) -> Option<Owner<'_>> {
        let (id, secret) = credential.split_once(':')?;
        let record = self.records.get(id)?;
        let matches = self.argon2.verify_password(secret.as_bytes(), &record.hash);
        let opens = matches.is_ok() && record.grant.opens(namespace, now);
        opens.then_some(Owner::Borrowed(&record.grant.owner))
    }

    fn revoke(&mut self, credential: &str, _now: i64) -> bool {
        let id = credential.split(':').next();
        id.is_some_and(|id| self.records.remove(id).is_some())
    }
}
