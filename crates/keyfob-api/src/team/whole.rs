//! Whole teams.

pub(crate) mod remove;
pub(crate) mod restore;
