//! What must hold for every input: one function for each fuzz target.
//!
//! Each takes arbitrary bytes and panics where the library breaks a property. The targets in
//! `fuzz_targets/` hand their input on, and `tests/fuzz_replay.rs` runs the same functions over
//! the kept inputs with the toolchain at hand.

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

/// Runs the operations that `data` stands for on the library and on the model of it.
///
/// # Panics
///
/// The two differ.
pub fn operations(data: &[u8]) {
    model::run(&decode::operations(data));
}
