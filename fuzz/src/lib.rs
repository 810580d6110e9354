//! The properties that hold for every input: one function for each fuzz target.
//!
//! Each function takes arbitrary bytes and panics if the library violates a property. The targets
//! in `fuzz_targets/` call them, and `tests/fuzz_replay.rs` runs them over the stored inputs with
//! any toolchain.

mod decode;
mod header;
#[cfg(feature = "import")]
mod import;
pub mod model;
mod parse;
mod round_trip;
mod spec;
mod stored;

pub use header::header;
#[cfg(feature = "import")]
pub use import::legacy_import;
pub use parse::parse;
pub use round_trip::round_trip;
pub use stored::{accepted_forms, record_serde};

/// Runs the operations that `data` decodes to on the library and on the model.
///
/// # Panics
///
/// If the two differ.
pub fn operations(data: &[u8]) {
    model::run(&decode::operations(data));
}
