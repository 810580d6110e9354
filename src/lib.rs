//! Access keys for services: issued to a person, for one namespace, checked on every call, and
//! cut off for good when the person leaves.
//!
//! The crate is the part that decides. It has no clock, no socket, no file and no runtime: time
//! and randomness are arguments, and keys live in a [`KeyStore`](store::KeyStore) that the
//! embedder chooses.
//!
//! | to | use |
//! |---|---|
//! | judge a call | [`Verifier`]: header, namespace and time in, [`Principal`] or [`Denied`] out |
//! | make, list, rotate and end keys | [`Keyring`], over any [`KeyStore`](store::KeyStore) |
//! | hold every key in memory for the verifier | [`Index`], which follows a store's changes |
//! | accept the old shared credentials for a while | [`legacy`] |
//! | know who used what | [`UsageRecorder`] and [`audit`] |
//! | look for leaked keys | [`KeyFormat`]'s patterns and its check of a secret |
//! | write a store | [`store`], and the crate `keyfob-conformance` to prove it |
//!
//! A key goes through one type per stage of its life: [`NewKey`] (asked for), [`IssuedKey`]
//! (plain text, once), [`PresentedKey`] (untrusted), [`KeyRecord`] (kept), [`Principal`] (proof).
//!
//! # Examples
//!
//! See [`Verifier`] for the whole path, and the `examples` folder: `quickstart`, `gateway`,
//! `custom_store`, `rotate`, `leaver`.
//!
//! # Features
//!
//! | feature | on by default | gives |
//! |---|---|---|
//! | `std` | yes | [`Index`], [`Verifier`], [`Keyring`], [`MemoryStore`](store::MemoryStore), [`UsageRecorder`], [`block_on`] |
//! | `serde` | yes | `Serialize` and `Deserialize` for what is kept or shown |
//! | `import` | no | `legacy::read_subjects`, for `OpenWhisk`'s database |
//! | `rustcrypto` | no | SHA-256 and HMAC by `sha2` and `hmac` in place of `ring`: the same digests, sooner |
//!
//! Without `std` the crate is `no_std` with `alloc`: format, parser, digests, records, lifecycle,
//! policies, audit chain and the store contract.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod audit;
pub mod authorization;
mod credential;
mod credential_id;
mod cutoff;
#[cfg(feature = "std")]
mod denied;
mod digest;
mod format;
mod hash;
mod identity;
#[cfg(feature = "std")]
mod index;
mod issued;
mod key_id;
#[cfg(feature = "std")]
mod keyring;
pub mod legacy;
mod legacy_id;
mod lifecycle;
pub mod name;
mod policy;
mod presented;
#[cfg(feature = "std")]
mod principal;
mod random;
mod record;
mod revision;
mod revocation;
mod scope;
pub mod store;
mod timestamp;
mod ttl;
mod usage;
#[cfg(feature = "std")]
mod verify;

pub use identity::{Actor, Context, Owner, Tenant};
pub use issued::IssuedKey;
pub use key_id::KeyId;
pub use lifecycle::{Expiry, NewKey};
pub use record::KeyInfo;
pub use scope::Scopes;
pub use store::KeyStore;
pub use timestamp::Timestamp;
#[cfg(feature = "std")]
pub use timestamp::now;
pub use ttl::Ttl;
#[cfg(feature = "std")]
pub use {
    denied::{Denied, DenyReason},
    keyring::Keyring,
    principal::Principal,
    store::MemoryStore,
    verify::{Access, Verifier},
};

/// For whoever verifies: gateways, and services that protect themselves.
pub mod gateway {
    pub use crate::{
        credential::Credential,
        usage::{Usage, UsageTable},
    };
    #[cfg(feature = "std")]
    pub use crate::{
        index::{FollowError, Index, IndexError},
        principal::{OwnedPrincipal, PrincipalKind},
        usage::UsageRecorder,
    };
}

/// The text of keys, their identifiers and digests.
pub mod key {
    pub use crate::{
        credential_id::{CredentialId, CredentialIdError},
        digest::{DigestError, KeyDigest, PepperError, PepperId, Peppers},
        format::{FormatError, KeyFormat},
        issued::BearerValue,
        key_id::KeyIdError,
        presented::{KeyError, KeyPart, PresentedKey},
        random::{Random, RandomError, SystemRandom},
    };
}

/// For whoever manages keys: control planes, and operators' tools.
pub mod manage {
    #[cfg(feature = "std")]
    pub use crate::keyring::{CreatedKey, Error, KeyringBuilder, Query, Walk};
    pub use crate::{
        identity::{Authority, OwnerError},
        lifecycle::{KeyUpdate, LifecycleError, Rotation},
        policy::Policy,
        record::{EffectiveStatus, Labels, Status, TooManyLabels},
        revocation::{Revocation, RevocationCause},
        scope::TooManyScopes,
        timestamp::TimestampError,
        ttl::TtlError,
    };
}

/// Runs a future to completion on this thread.
///
/// Over a store that never waits, such as [`MemoryStore`](store::MemoryStore), every call of
/// [`Keyring`] is ready at once. A store that needs a runtime's reactor says so; then use that
/// runtime.
#[cfg(feature = "std")]
pub fn block_on<F: Future>(future: F) -> F::Output {
    pollster::block_on(future)
}

/// The example in the README, compiled.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;
