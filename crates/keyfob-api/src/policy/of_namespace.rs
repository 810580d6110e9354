//! The policy of one namespace.

pub(crate) mod set;
pub(crate) mod show;
pub(crate) mod unset;
