//! `api-keys-simplified`, with a map from its key id to the record; as it comes, and with the
//! cache that its cost asks for.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use api_keys_simplified::{
    ApiKeyManagerV0, Environment, ExposeSecret, HashConfig, KeyConfig, KeyStatus, SecureString,
};

use crate::rival::{By, Facts, Grant, Owner, Rival};

pub(crate) struct ApiKeys {
    manager: ApiKeyManagerV0,
    records: HashMap<String, Record>,
    cached: bool,
}

struct Record {
    /// In PHC format.
    hash: String,
    /// Whether the key with this id was verified before, and need not be again. The id is 128
    /// bits of BLAKE3 over the whole text.
    seen: bool,
    grant: Grant,
}

impl ApiKeys {
    /// As it comes: Argon2id at every call.
    pub(crate) fn plain() -> Self {
        Self::new(HashConfig::default(), false)
    }

    /// Every key was seen before. Their slow hashes are never looked at, so that cheap ones will
    /// do.
    pub(crate) fn cached() -> Self {
        let cheap = HashConfig::custom(8, 1, 1).expect("Argon2's least");
        Self::new(cheap, true)
    }

    fn new(hash: HashConfig, cached: bool) -> Self {
        // The grace after the end, ten seconds by default, is none.
        let manager = ApiKeyManagerV0::init("cmp", KeyConfig::default(), hash, Duration::ZERO);
        Self {
            manager: manager.expect("a prefix"),
            records: HashMap::new(),
            cached,
        }
    }
}

impl Rival for ApiKeys {
    fn facts(&self) -> Facts {
        let facts = Facts {
            what: "`api-keys-simplified` without a cache: Argon2id",
            package: "api-keys-simplified",
            revocation: By::Caller,
            expiry: By::Crate,
            namespace: By::Caller,
            constant_time: "yes",
            lacks: "store anything: records, owners, namespaces and look-up are up to you; change \
                    the expiry of a key, which is part of its text",
        };
        if self.cached {
            Facts {
                what: "`api-keys-simplified`, hit in a cache of the caller's",
                expiry: By::Caller,
                constant_time: "no (of a hash)",
                lacks: "avoid Argon2id with 46 MiB on the first call of each key after each \
                        start; provide the cache",
                ..facts
            }
        } else {
            facts
        }
    }

    fn population(&self) -> usize {
        if self.cached { crate::rival::KEYS } else { 8 }
    }

    fn issue(&mut self, grant: &Grant) -> String {
        let end = Duration::from_secs(grant.expires_at.cast_unsigned());
        let end = SystemTime::UNIX_EPOCH + end;
        let key = self
            .manager
            .generate_with_expiry(Environment::production(), end.into())
            .expect("a key");
        let record = Record {
            hash: key.expose_hash().hash().to_owned(),
            seen: self.cached,
            grant: grant.clone(),
        };
        let id = key.expose_hash().key_id().to_owned();
        self.records.insert(id, record);
        key.key().expose_secret().to_owned()
    }

    fn verify(&self, credential: &str, namespace: &str, now: i64) -> Option<Owner<'_>> {
        let key = SecureString::from(credential);
        let record = self.records.get(&self.manager.extract_key_id(&key))?;
        let valid = record.seen
            || matches!(
                self.manager.verify(&key, &record.hash),
                Ok(KeyStatus::Valid)
            );
        // The record's end too: the cache stands for the crate's own look at it.
        let opens = valid && record.grant.opens(namespace, now);
        opens.then_some(Owner::Borrowed(&record.grant.owner))
    }

    fn revoke(&mut self, credential: &str, _now: i64) -> bool {
        let key = SecureString::from(credential);
        let id = self.manager.extract_key_id(&key);
        self.records.remove(&id).is_some()
    }
}
