//! Models of the table that verification reads: `cargo run --release`.
//!
//! The sources of the library are compiled with the atomics of `loom` in place of the standard
//! library's, and segments of four slots and two groups. Each model is run in every order in which a
//! reader and the writer can meet with up to two interruptions, and with every value that the memory
//! model allows a load to see.

extern crate alloc;

mod digest {
    pub(crate) type Lanes = [u64; 4];
}

mod index {
    pub(crate) mod sync {
        pub(crate) use loom::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

        pub(crate) const SLOTS: usize = 4;
        pub(crate) const GROUPS: usize = 2;
    }

    #[expect(dead_code, reason = "the models do not need all of it")]
    #[path = "../../../../src/index/append_vec.rs"]
    pub(crate) mod append_vec;
    #[path = "../../../../src/index/line.rs"]
    pub(crate) mod line;
    pub(crate) mod model;
    #[expect(dead_code, reason = "the models do not need all of it")]
    #[path = "../../../../src/index/table.rs"]
    pub(crate) mod table;
}

fn main() {
    index::model::run();
}
