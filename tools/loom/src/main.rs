//! Models of the table that verification reads: `just models`.
//!
//! The sources of the library are compiled with the atomics of `loom` in place of the standard
//! library's, and segments of four slots and two groups. Each model runs one reader and the writer in
//! every interleaving with up to two preemptions, and with every value that the memory model allows a
//! load to return.

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

    #[expect(dead_code, reason = "the models use a part of it")]
    #[path = "../../../../src/index/append_vec.rs"]
    pub(crate) mod append_vec;
    #[path = "../../../../src/index/line.rs"]
    pub(crate) mod line;
    pub(crate) mod model;
    #[expect(dead_code, reason = "the models use a part of it")]
    #[path = "../../../../src/index/table.rs"]
    pub(crate) mod table;
}

fn main() {
    index::model::run();
}
