//! The screens, a file for each.

pub(crate) mod audit;
pub(crate) mod create;
pub(crate) mod expiring;
pub(crate) mod fleet;
pub(crate) mod key;
pub(crate) mod keys;
pub(crate) mod leaks;
pub(crate) mod leave;
pub(crate) mod migration;
pub(crate) mod namespace;
pub(crate) mod policies;
pub(crate) mod revoke;
pub(crate) mod rotate;
pub(crate) mod search;
pub(crate) mod secret;
pub(crate) mod sign_in;
pub(crate) mod team;
