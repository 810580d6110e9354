#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod answer;
mod authorizer;
#[cfg(feature = "http")]
pub mod http;
mod log_limit;
pub mod metrics;
mod question;
mod refusal;
mod rules;
mod signer;
mod target;
mod throttle;

pub use answer::{Answer, Identity, field};
pub use authorizer::{Authorizer, AuthorizerBuilder};
pub use question::Question;
pub use refusal::{Body, Challenges, ChallengesError, RefusalForm};
pub use rules::{HostPattern, HostPatternError, Place, Reading, Rule, RuleError, Rules};
pub use signer::{IdentitySigner, SignerError};
pub use throttle::Throttle;

pub use keyfob_tower::{PathPattern, PatternError};
