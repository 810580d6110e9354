#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

// The router and what stands before its handlers.
mod admission;
mod authenticate;
mod authority;
mod body;
mod caller;
mod caller_context;
mod concurrency;
mod control_keys;
mod control_plane;
mod cross_site;
mod directory;
mod docs;
mod limits;
mod middleware;
mod openapi;
mod rate;
mod refusal;
mod request_id;
mod request_limits;
mod request_meta;
mod routes;
mod single_flight;
mod state;
mod stream;

// The handlers, a file for each resource, and the JSON that they share.
mod audit;
mod fleet;
mod keys;
mod legacy;
mod namespaces;
mod policies;
mod targets;
mod teams;
mod tokens;
mod usage;
mod whoami;
mod wire;

pub use authenticate::{Authenticate, Authentication, Unauthenticated};
pub use caller::{Caller, Right, Rights};
pub use control_keys::{ControlKeys, FirstCredentialError, control_namespace, first_credential};
pub use control_plane::ControlPlane;
pub use directory::{
    ApiHost, ApiHostError, Directory, DirectoryAnswer, DirectoryError, Gateways, NamespaceFacts,
};
pub use fleet::{Fleet, Replica};
pub use limits::{Limits, Quota};
