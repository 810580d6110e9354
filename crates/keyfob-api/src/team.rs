//! People, services and whole teams: one file for each kind of call.

pub(crate) mod member;
pub(crate) mod preview;
pub(crate) mod revoke_all;
pub(crate) mod service;
pub(crate) mod whole;
