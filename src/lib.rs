//! Issues, verifies, rotates and revokes access keys that belong to one person or service and open
//! one namespace.
//!
//! The core has no socket, no file and no async runtime. Time and randomness are arguments, and
//! keys live in a [`KeyStore`] of your choice.
//!
//! | you write | start with | module |
//! |---|---|---|
//! | a gateway, or a service that checks its own calls | [`Verifier::verify_headers`], which returns a [`Principal`] or [`Denied`] | [`gateway`] |
//! | a control plane or an operator's tool | [`Keyring`], which creates, lists, rotates and revokes keys | [`manage`] |
//! | a store | [`KeyStore`], and the crate `keyfob-conformance` to test it | [`store`] |
//! | a secret scanner, or code that handles key texts | [`KeyFormat`](key::KeyFormat) | [`key`] |
//! | code that takes identifiers and names as text | the validated types, such as [`TeamId`](name::TeamId) | [`name`] |
//! | code that reads the audit trail | [`AuditEvent`](audit::AuditEvent) | [`audit`] |
//! | a migration from `OpenWhisk`'s shared credentials | [`LegacyPolicy`](legacy::LegacyPolicy) | [`legacy`] |
//!
//! [`now`] reads the system clock. [`block_on`] runs a call of [`Keyring`] without a runtime.
//!
//! Each stage of a key's life has its type: [`NewKey`] (request), [`IssuedKey`] (plain text, shown
//! once), [`PresentedKey`](key::PresentedKey) (untrusted input), [`KeyRecord`](store::KeyRecord)
//! (stored), [`Principal`] (verified).
//!
//! # Examples
//!
//! [`Verifier`] shows a key from creation to verification. The `examples` folder has `quickstart`,
//! `gateway` (an axum server), `custom_store` (a durable store in a file), `rotate` and `leaver`
//! (offboarding).
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `std` | yes | [`Keyring`], [`Verifier`], [`Index`](gateway::Index), [`MemoryStore`], [`UsageRecorder`](gateway::UsageRecorder), [`now`], [`block_on`] |
//! | `serde` | yes | `Serialize` and `Deserialize` for the types that are stored or shown |
//! | `import` | no | `legacy::read_subjects`, which reads `OpenWhisk`'s `subjects` documents |
//! | `rustcrypto` | no | SHA-256 and HMAC from `sha2` and `hmac` instead of `ring`: same digests, faster |
//!
//! Without `std` the crate is `no_std` with `alloc` and has the key format, parser, digests,
//! records, lifecycle, policies, audit chain and store contract.

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
mod namespace;
#[cfg(feature = "serde")]
mod parsed;
mod policy;
mod presented;
#[cfg(feature = "std")]
mod principal;
mod projection;
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

/// Verification: for gateways and for services that check their own calls.
pub mod gateway {
    pub use crate::{
        credential::Credential,
        projection::{
            ReplicaChanges, ReplicaEntry, ReplicaItem, ReplicaLegacy, ReplicaPolicy, ReplicaRecord,
            ReplicaStatus,
        },
        usage::{
            Usage, UsageBatch, UsageDelta, UsageOutcome, UsageOutcomeError, UsageSource,
            UsageSourceError, UsageTable,
        },
    };
    #[cfg(feature = "std")]
    pub use crate::{
        index::{FollowError, Index, IndexError},
        principal::{OwnedPrincipal, PrincipalKind},
        usage::UsageRecorder,
    };
}

/// Key texts, identifiers, digests, peppers and the random source.
pub mod key {
    pub use crate::{
        credential_id::{CredentialId, CredentialIdError},
        digest::{DigestError, KeyDigest, PepperError, PepperId, Peppers, SecretTag},
        format::{FormatError, KeyFormat},
        issued::BearerValue,
        key_id::KeyIdError,
        presented::{KeyError, KeyPart, PresentedKey},
        random::{Random, RandomError, SystemRandom},
    };
}

/// Key management: for control planes and operators' tools.
pub mod manage {
    #[cfg(feature = "std")]
    pub use crate::keyring::{CreatedKey, Error, KeyringBuilder, Query, Walk};
    pub use crate::{
        identity::{Authority, OwnerError},
        lifecycle::{KeyUpdate, LifecycleError, Rotation},
        namespace::NewNamespace,
        policy::Policy,
        record::{EffectiveStatus, Labels, Status, TooManyLabels},
        revocation::{Revocation, RevocationCause},
        scope::TooManyScopes,
        timestamp::TimestampError,
        ttl::TtlError,
        usage::{
            UsageBucket, UsageCounts, UsageOf, UsageRange, UsageRangeError, UsageSeries, UsageStep,
        },
    };
}

/// Runs a future to completion on the current thread.
///
/// With a store whose futures are always ready, such as [`MemoryStore`], this turns a call of
/// [`Keyring`] into a blocking call. Do not use it with a store that needs an async runtime, such
/// as `keyfob-postgres`.
#[cfg(feature = "std")]
pub fn block_on<F: Future>(future: F) -> F::Output {
    pollster::block_on(future)
}

/// Compiles the examples in the README.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;
