//! `prefixed-api-key`, with a map from the short token to the record.

use std::collections::HashMap;

use prefixed_api_key::{PrefixedApiKey, PrefixedApiKeyController, rand::rngs::OsRng, sha2::Sha256};

use crate::rival::{By, Facts, Grant, Owner, Rival};

pub(crate) struct Prefixed {
    controller: PrefixedApiKeyController<OsRng, Sha256>,
    records: HashMap<String, Record>,
}

struct Record {
    /// Of the long token.
    hash: String,
    grant: Grant,
}

impl Prefixed {
    pub(crate) fn new() -> Self {
        let controller = PrefixedApiKeyController::configure()
            .prefix(PREFIX.to_owned())
            .seam_defaults()
            .finalize();
        Self {
            controller: controller.expect("all is set"),
            records: HashMap::new(),
        }
    }
}

impl Rival for Prefixed {
    fn facts(&self) -> Facts {
        Facts {
            what: "`prefixed-api-key` and a `HashMap`",
            package: "prefixed-api-key",
            revocation: By::Caller,
            expiry: By::Caller,
            namespace: By::Caller,
            constant_time: "yes",
            lacks: "store anything: records, expiry, owners, namespaces and look-up are up to \
                    you; bind the id into the digest",
        }
    }

    fn issue(&mut self, grant: &Grant) -> String {
        let (key, hash) = self.controller.generate_key_and_hash();
        let grant = grant.clone();
        let record = Record { hash, grant };
        self.records.insert(key.short_token().to_owned(), record);
        key.to_string()
    }

    fn verify(&self, credential: &str, namespace: &str, now: i64) -> Option<Owner<'_>> {
        let key = PrefixedApiKey::from_string(credential).ok()?;
        let record = self.records.get(key.short_token())?;
        let opens = key.prefix() == PREFIX
            && self.controller.check_hash(&key, &record.hash)
            && record.grant.opens(namespace, now);
        opens.then_some(Owner::Borrowed(&record.grant.owner))
    }

    fn revoke(&mut self, credential: &str, _now: i64) -> bool {
        let key = PrefixedApiKey::from_string(credential).expect("one of ours");
        self.records.remove(key.short_token()).is_some()
    }
}

const PREFIX: &str = "cmp";
