//! The audit trail.

pub(crate) mod list;
pub(crate) mod of_team;
pub(crate) mod verify;

mod filter;
mod view;
