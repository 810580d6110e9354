//! A keyring with keys, and questions about them.

use std::sync::atomic::{AtomicU32, Ordering};

use keyfob::{Context, Keyring, MemoryStore, NewKey, Timestamp, block_on};
use keyfob_gateway::{Answer, Authorizer, AuthorizerBuilder, Question};

/// The time of all decisions.
pub(crate) fn now() -> Timestamp {
    keyfob::now()
}

pub(crate) struct Fixture {
    pub(crate) keyring: Keyring,
    count: AtomicU32,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let keyring = block_on(Keyring::open(MemoryStore::new(), "acme")).unwrap();
        Self {
            keyring,
            count: AtomicU32::new(0),
        }
    }

    /// The value of an `Authorization` field with a new key of a namespace.
    pub(crate) fn key(&self, namespace: &str) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let name = format!("laptop {count}");
        let new = NewKey::for_user("team", namespace, "alice", name.as_str()).unwrap();
        self.create(new)
    }

    pub(crate) fn create(&self, new: NewKey) -> String {
        let created = block_on(self.keyring.create(&Context::system(now()), new)).unwrap();
        created.secret.bearer().as_str().to_owned()
    }

    pub(crate) fn builder(&self) -> AuthorizerBuilder {
        Authorizer::builder(self.keyring.verifier(), *self.keyring.format())
    }

    pub(crate) fn authorizer(&self) -> Authorizer {
        self.builder().build()
    }

    /// Revokes all keys of alice.
    pub(crate) fn revoke(&self) {
        let context = Context::system(now());
        block_on(self.keyring.remove_member(&context, "team", "alice")).unwrap();
    }
}

/// Asks about a target with a credential.
pub(crate) fn ask(authorizer: &Authorizer, target: &[u8], header: &str) -> Answer {
    let fields = [header.as_bytes()];
    let question = Question::of_request(target, &fields).with_method(b"GET");
    authorizer.decide(&question, now())
}

/// The value of a field that an answer has once.
pub(crate) fn field(answer: &Answer, name: &str) -> Option<String> {
    let mut values = answer.fields().filter(|(field, _)| *field == name);
    let value = values.next().map(|(_, value)| value.into_owned());
    assert!(values.next().is_none(), "{name} is repeated");
    value
}
