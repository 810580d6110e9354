//! Legacy credentials: `OpenWhisk`'s shared credentials, accepted until a date set by policy.

mod credential;
#[cfg(feature = "import")]
mod export;
#[cfg(feature = "import")]
mod import;
mod policy;
mod record;
#[cfg(feature = "std")]
mod usage;

#[cfg(feature = "std")]
pub use crate::keyring::Imported;
pub use crate::legacy_id::{LegacyId, LegacyIdError};
pub use credential::{LegacyError, LegacyPart, PresentedLegacy};
#[cfg(feature = "import")]
pub use import::{Import, ImportFault, ImportProblem, PassedOver, read_subjects};
pub use policy::{Brownout, LegacyPolicy, LegacyPolicyError};
pub use record::LegacyRecord;
#[cfg(feature = "std")]
pub use usage::{LegacyUse, NamespaceUse};
