//! The shared credentials of the old model: who still uses them, and until when they are accepted.

pub(crate) mod of_all;
pub(crate) mod of_namespace;
pub(crate) mod report;
pub(crate) mod report_of_team;
pub(crate) mod revoke;

mod policy;

pub(crate) use policy::{LegacyPolicyView, ShownLegacyPolicy};
