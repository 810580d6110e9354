//! The old model: one shared credential for a namespace, accepted while policy says so.

mod credential;
#[cfg(feature = "import")]
mod import;
mod policy;
mod record;

pub use credential::{LegacyError, LegacyId, LegacyPart, PresentedLegacy};
#[cfg(feature = "import")]
pub use import::{Import, ImportFault, ImportProblem, read_subjects};
pub use policy::{Brownout, LegacyPolicy, LegacyPolicyError};
pub use record::LegacyRecord;
