//! Legacy credentials: `OpenWhisk`'s shared credentials, accepted until a date set by policy.

mod credential;
#[cfg(feature = "import")]
mod import;
mod policy;
mod record;

#[cfg(feature = "std")]
pub use crate::keyring::{LegacyUse, NamespaceUse};
pub use credential::{LegacyError, LegacyId, LegacyIdError, LegacyPart, PresentedLegacy};
#[cfg(feature = "import")]
pub use import::{Import, ImportFault, ImportProblem, read_subjects};
pub use policy::{Brownout, LegacyPolicy, LegacyPolicyError};
pub use record::LegacyRecord;
