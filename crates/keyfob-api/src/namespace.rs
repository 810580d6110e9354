//! Namespaces: one file for each call.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod remove;
pub(crate) mod restore;
pub(crate) mod show;

mod filter;
mod view;

pub(crate) use view::NamespaceView;
