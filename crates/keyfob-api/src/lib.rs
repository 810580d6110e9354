//! Keyfob's control plane over HTTP: an [`axum::Router`] to be merged into a program of one's own.
//!
//! ```
//! use std::sync::Arc;
//!
//! use keyfob::{Index, KeyFormat, Keyring, store::MemoryStore};
//! use keyfob_api::ControlPlane;
//!
//! let index = Arc::new(Index::new());
//! let format = KeyFormat::new("dof")?;
//! let keyring = Keyring::new(MemoryStore::new(), format).with_index(Arc::clone(&index));
//! let verifier = keyring.verifier(index);
//! let router: axum::Router = ControlPlane::new(Arc::new(keyring), verifier).into_router();
//! # let _ = router;
//! # Ok::<(), keyfob::FormatError>(())
//! ```

#![forbid(unsafe_code)]

mod admission;
mod audit;
mod authenticate;
mod authority;
mod body;
mod caller;
mod calls;
mod control_keys;
mod control_plane;
mod directory;
mod docs;
mod frame;
mod key;
mod legacy;
mod limits;
mod moment;
mod namespace;
mod openapi;
mod operation;
mod policy;
mod rate;
mod refusal;
mod request_id;
mod team;
mod tenant;
mod token;
mod whoami;

pub use authenticate::{Authenticate, Authentication, Unauthenticated};
pub use caller::{Caller, Right, Rights};
pub use control_keys::{ControlKeys, FirstCredentialError, control_namespace, first_credential};
pub use control_plane::ControlPlane;
pub use directory::{Answer, Directory, DirectoryError, NamespaceFacts, OneRegion};
pub use limits::{Limits, Quota};
