//! The policy of every namespace that has none of its own.

pub(crate) mod set;
pub(crate) mod show;
pub(crate) mod unset;
