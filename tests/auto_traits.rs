//! The traits that the crate's types implement and do not implement, checked by the compiler.

use std::{
    error::Error,
    fmt::{Debug, Display},
    hash::Hash,
};

use keyfob::{
    Access, Actor, Context, Denied, IssuedKey, KeyInfo, KeyStore, Keyring, MemoryStore, NewKey,
    Principal, Scopes, Tenant, Verifier,
    audit::{AuditEvent, ChainError, VerifyError},
    authorization::{HeaderBuffer, HeaderError},
    block_on,
    gateway::{Credential, FollowError, Index, IndexError, UsageRecorder},
    key::{FormatError, KeyDigest, KeyError, PepperError, Peppers, PresentedKey, RandomError},
    legacy::{LegacyPolicy, LegacyRecord, PresentedLegacy},
    manage::{self, LifecycleError, Policy, TtlError},
    name::NameError,
    store::{Commit, CommitError, Conflict, Cutoff, KeyRecord, StoreError},
};
use static_assertions::{assert_impl_all, assert_not_impl_any};

#[test]
fn all_public_types_are_send_and_sync() {
    fn shared<T: Send + Sync>() {}
    shared::<Access<'_>>();
    shared::<AuditEvent>();
    shared::<Cutoff>();
    shared::<Context>();
    shared::<Credential<'_>>();
    shared::<HeaderBuffer>();
    shared::<Index>();
    shared::<IssuedKey>();
    shared::<KeyInfo>();
    shared::<KeyRecord>();
    shared::<Keyring>();
    shared::<LegacyPolicy>();
    shared::<LegacyRecord>();
    shared::<MemoryStore>();
    shared::<std::sync::Arc<dyn KeyStore>>();
    shared::<NewKey>();
    shared::<Policy>();
    shared::<Principal<'_>>();
    shared::<UsageRecorder>();
    shared::<Verifier>();
}

#[test]
fn futures_of_the_management_api_are_send() {
    fn sent<T: Send>(value: T) -> T {
        value
    }
    let keyring = block_on(sent(Keyring::open(MemoryStore::new(), "dof"))).unwrap();
    let json = r#"{"team": "acme", "namespace": "fn-a"}"#;
    let tenant: Tenant = serde_json::from_str(json).unwrap();
    let new = NewKey::new(
        tenant.clone(),
        serde_json::from_str(r#""user:alice""#).unwrap(),
        keyfob::name::KeyName::new("laptop").unwrap(),
    );
    let context = Context::new(Actor::system(), keyfob::Timestamp::UNIX_EPOCH);
    drop(sent(keyring.create(&context, new)));
    drop(sent(keyring.remove_namespace(&context, &tenant)));
    drop(sent(keyring.verify_audit(None)));
    drop(sent(keyring.sync(keyfob::Timestamp::UNIX_EPOCH)));
    drop(sent(
        keyring
            .walk(keyfob::store::KeyQuery::namespace(&tenant))
            .next(),
    ));
}

// A secret cannot be copied, compared, printed or serialised.
assert_not_impl_any!(IssuedKey: Clone, Copy, PartialEq, Hash, Display, AsRef<str>, AsRef<[u8]>, serde::Serialize, std::ops::Deref);
assert_not_impl_any!(PresentedKey<'static>: PartialEq, Hash, Display, AsRef<[u8]>, serde::Serialize);
assert_not_impl_any!(PresentedLegacy<'static>: PartialEq, Hash, Display, AsRef<[u8]>, serde::Serialize);
assert_not_impl_any!(Peppers: PartialEq, Display, serde::Serialize);
assert_not_impl_any!(HeaderBuffer: Clone, PartialEq, Display, AsRef<[u8]>, serde::Serialize);
// Digests have no `==`, which would stop at the first difference.
assert_not_impl_any!(KeyDigest: PartialEq, Hash, Display);
assert_not_impl_any!(KeyRecord: PartialEq);
// A proof of verification can be neither constructed nor deserialised by a caller.
assert_not_impl_any!(Principal<'static>: Default, serde::Serialize, serde::de::DeserializeOwned);
assert_not_impl_any!(KeyInfo: serde::de::DeserializeOwned);
assert_impl_all!(Principal<'static>: Copy, Debug);
assert_impl_all!(Scopes: Clone, Eq, Debug);
assert_impl_all!(Commit: serde::Serialize, serde::de::DeserializeOwned);

#[test]
fn error_types_implement_error_and_are_send_and_sync() {
    fn error<T: Error + Send + Sync + 'static>() {}
    error::<ChainError>();
    error::<VerifyError>();
    error::<CommitError>();
    error::<Conflict>();
    error::<Denied>();
    error::<FollowError>();
    error::<FormatError>();
    error::<HeaderError>();
    error::<IndexError>();
    error::<KeyError>();
    error::<LifecycleError>();
    error::<manage::Error>();
    error::<NameError>();
    error::<PepperError>();
    error::<RandomError>();
    error::<StoreError>();
    error::<TtlError>();
}

#[test]
fn a_store_error_keeps_its_source() {
    let error = manage::Error::from(StoreError::unknown("the cable was cut"));
    let manage::Error::Store(store) = &error else {
        panic!("another error");
    };
    assert!(!store.is_definite());
    assert_eq!(store.source().unwrap().to_string(), "the cable was cut");
    assert!(StoreError::definite("refused").is_definite());
}
