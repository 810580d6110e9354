//! The policy for legacy credentials of one namespace.

pub(crate) mod cut_off;
pub(crate) mod set;
pub(crate) mod show;
pub(crate) mod unset;
