//! placeholder
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
mod digest;
mod format;
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
#[cfg(feature = "std")]
pub use index::{FollowError, Index, IndexError};
pub use issued::{IssuedKey, RandomError};
pub use key_id::KeyId;
#[cfg(feature = "std")]
pub use keyring::{Keyring, LegacyUse, ManageError};
pub use lifecycle::{Expiry, KeyUpdate, LifecycleError, NewKey, Rotation};
pub use name::{
    KeyName, LabelName, LabelValue, NameError, NameFault, NamespaceId, Reason, RequestId, Scope,
    ServiceId, TeamId, UserId,
};
pub use policy::Policy;
pub use presented::{KeyError, KeyPart, PresentedKey};
#[cfg(feature = "std")]
pub use principal::{Principal, PrincipalKind};
pub use record::{
    KeyInfo, KeyRecord, Labels, PreviousSecret, Revocation, RevocationCause, Standing, Status,
    TooManyLabels,
};
pub use revision::Revision;
pub use scope::{Scopes, TooManyScopes};
pub use timestamp::Timestamp;
pub use ttl::{Ttl, TtlError};
#[cfg(feature = "std")]
pub use usage::UsageRecorder;
pub use usage::{Usage, UsageTable};
#[cfg(feature = "std")]
pub use verify::{Access, Denied, DenyReason, Verifier};
#[cfg(feature = "std")]
pub use wait::wait;
