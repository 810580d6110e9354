//! What one writes in an afternoon: a map from the id to the hash of the secret.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

use crate::rival::{By, Facts, Grant, Owner, Rival};

/// Without a lock: as fast as can be, and nobody can write while anybody reads.
#[derive(Default)]
pub(crate) struct Unlocked {
    records: HashMap<String, Record>,
}

impl Rival for Unlocked {
    fn facts(&self) -> Facts {
        Facts {
            what: "straw man: `HashMap`, `sha2`, `==`",
            lacks: "change while others read: that needs a lock or a swap",
            ..FACTS
        }
    }

    fn issue(&mut self, grant: &Grant) -> String {
        let (id, secret) = (new_id(), new_secret());
        self.records.insert(id.clone(), Record::new(&secret, grant));
        format!("{id}:{secret}")
    }

    fn verify(&self, credential: &str, namespace: &str, now: i64) -> Option<Owner<'_>> {
        let (id, secret) = credential.split_once(':')?;
        let record = self.records.get(id)?;
        let opens = record.admits(secret, namespace, now);
        opens.then_some(Owner::Borrowed(&record.grant.owner))
    }

    fn revoke(&mut self, credential: &str, _now: i64) -> bool {
        let id = credential.split(':').next();
        id.is_some_and(|id| self.records.remove(id).is_some())
    }
}

/// Behind a lock, as a service would have it.
#[derive(Default)]
pub(crate) struct Locked {
    records: RwLock<HashMap<String, Record>>,
}

impl Rival for Locked {
    fn facts(&self) -> Facts {
        Facts {
            what: "the same behind an `RwLock`",
            lacks: "scale: readers on all cores write to one lock and to the owner's reference \
                    count",
            ..FACTS
        }
    }

    fn issue(&mut self, grant: &Grant) -> String {
        let (id, secret) = (new_id(), new_secret());
        let record = Record::new(&secret, grant);
        let mut records = self.records.write().expect("no writer panicked");
        records.insert(id.clone(), record);
        format!("{id}:{secret}")
    }

    fn verify(&self, credential: &str, namespace: &str, now: i64) -> Option<Owner<'_>> {
        let (id, secret) = credential.split_once(':')?;
        let records = self.records.read().ok()?;
        let record = records.get(id)?;
        let opens = record.admits(secret, namespace, now);
        opens.then(|| Owner::Shared(Arc::clone(&record.owner)))
    }

    fn revoke(&mut self, credential: &str, _now: i64) -> bool {
        let mut records = self.records.write().expect("no writer panicked");
        let id = credential.split(':').next();
        id.is_some_and(|id| records.remove(id).is_some())
    }
}

struct Record {
    digest: [u8; 32],
    grant: Grant,
    owner: Arc<str>,
}

impl Record {
    fn new(secret: &str, grant: &Grant) -> Self {
        Self {
            digest: Sha256::digest(secret).into(),
            grant: grant.clone(),
            owner: grant.owner.as_str().into(),
        }
    }

    fn admits(&self, secret: &str, namespace: &str, now: i64) -> bool {
        let digest: [u8; 32] = Sha256::digest(secret).into();
        digest == self.digest && self.grant.opens(namespace, now)
    }
}

const FACTS: Facts = Facts {
    what: "",
    package: "sha2",
    revocation: By::Caller,
    expiry: By::Caller,
    namespace: By::Caller,
    constant_time: "no",
    lacks: "",
};

/// 128 random bits in hexadecimal digits.
pub(crate) fn new_id() -> String {
    format!("{:032x}", u128::from_ne_bytes(random()))
}

/// 256 random bits in base64url.
pub(crate) fn new_secret() -> String {
    URL_SAFE_NO_PAD.encode(random::<32>())
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.expect("the system has randomness");
    bytes
}
