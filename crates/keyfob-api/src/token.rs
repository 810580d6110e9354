//! Calls about a credential whose text is at hand.

pub(crate) mod introspect;
pub(crate) mod leaks;
pub(crate) mod revoke;

mod end;
mod presented;
