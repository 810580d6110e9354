//! The C interface of Keyfob: opens a replica of an authority's keys, and verifies `Authorization`
//! header fields from memory.
//!
//! The functions are those of `include/keyfob.h`. Nothing in this crate is for Rust programs, which
//! use `keyfob-replica`.
//!
#![doc = include_str!("../README.md")]
#![expect(
    unsafe_code,
    reason = "functions for C read and write by pointers that their caller passes"
)]
#![warn(clippy::undocumented_unsafe_blocks)]
#![expect(
    clippy::doc_markdown,
    reason = "the texts are also those of the header"
)]

mod clock;
mod error;
mod fork;
mod options;
mod pause;
mod replica;
mod result;
mod signals;
mod verify;
mod view;
mod worker;

pub use options::{KeyfobOptions, keyfob_options_free, keyfob_options_new, keyfob_options_set};
pub use replica::{
    KeyfobReplica, KeyfobState, keyfob_close, keyfob_last_error, keyfob_open, keyfob_read_state,
    keyfob_version, keyfob_wait_ready,
};
pub use result::KeyfobResult;
pub use verify::{
    KEYFOB_CREDENTIAL_SIZE, KEYFOB_OWNER_SIZE, KEYFOB_REPLACED_SECRET, KEYFOB_SCOPES_SIZE,
    KeyfobIdentity, KeyfobKind, KeyfobQuestion, KeyfobVerdict, keyfob_verify,
};
pub use view::KeyfobView;
