//! Access keys: one file for each call.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod disable;
pub(crate) mod enable;
pub(crate) mod list;
pub(crate) mod revoke;
pub(crate) mod rotate;
pub(crate) mod show;
pub(crate) mod single_flight;
pub(crate) mod update;

mod asked;
mod filter;
mod precondition;
mod repeat;
mod scopes;
mod view;

pub(crate) use asked::{Because, parse_owner};
pub(crate) use delete::Done;
pub(crate) use filter::{parse_cursor, parse_limit};
pub(crate) use view::{AccessKey, ActorView, OwnerView};
