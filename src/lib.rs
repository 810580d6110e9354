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
//! | `std` | yes | [`Index`], [`Verifier`], [`Keyring`], [`MemoryStore`](store::MemoryStore), [`UsageRecorder`], [`wait`] |
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
mod boundary;
mod credential;
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
mod lifecycle;
mod name;
mod policy;
mod presented;
#[cfg(feature = "std")]
mod principal;
mod record;
mod revision;
mod scope;
pub mod store;
mod timestamp;
mod ttl;
mod usage;
#[cfg(feature = "std")]
mod verify;
#[cfg(feature = "std")]
mod wait;

pub use boundary::{Boundary, Realm};
pub use credential::{Credential, CredentialId};
pub use digest::{DigestError, KeyDigest, PepperError, PepperId, Peppers};
pub use format::{FormatError, KeyFormat};
pub use identity::{Actor, Context, Owner, Tenant};
pub use issued::{IssuedKey, RandomError};
pub use key_id::KeyId;
pub use lifecycle::{Expiry, KeyUpdate, LifecycleError, NewKey, Rotation};
pub use name::{
    KeyName, LabelName, LabelValue, NameError, NameFault, NamespaceId, Reason, RequestId, Scope,
    ServiceId, TeamId, UserId,
};
pub use policy::Policy;
pub use presented::{KeyError, KeyPart, PresentedKey};
pub use record::{
    KeyInfo, KeyRecord, Labels, PreviousSecret, Revocation, RevocationCause, Standing, Status,
    TooManyLabels,
};
pub use revision::Revision;
pub use scope::{Scopes, TooManyScopes};
pub use timestamp::Timestamp;
pub use ttl::{Ttl, TtlError};
pub use usage::{Usage, UsageTable};
#[cfg(feature = "std")]
pub use {
    denied::{Denied, DenyReason},
    index::{FollowError, Index, IndexError},
    keyring::{Keyring, LegacyUse, ManageError, NamespaceUse},
    principal::{Principal, PrincipalKind},
    usage::UsageRecorder,
    verify::{Access, Verifier},
    wait::wait,
};

/// The example in the README, compiled.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;
