//! Access keys: one file for each call.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod show;
pub(crate) mod single_flight;
pub(crate) mod update;

mod asked;
mod precondition;
mod repeat;
mod scopes;
mod view;

pub(crate) use view::{AccessKey, OwnerView};
