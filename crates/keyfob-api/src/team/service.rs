//! Services of a team.

pub(crate) mod keys;
pub(crate) mod remove;
pub(crate) mod restore;
