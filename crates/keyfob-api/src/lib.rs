#![doc = include_str!("../README.md")]
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
pub use directory::{Directory, DirectoryAnswer, DirectoryError, NamespaceFacts, OneRegion};
pub use limits::{Limits, Quota};
