//! What a control plane waits for, over a file:
//!
//! ```sh
//! cargo bench -p keyfob-sqlite --bench store
//! ```
//!
//! With `-- --quick` it is only a look, with few keys.

#![expect(clippy::print_stdout, reason = "a benchmark shows what it measured")]

mod workload;

use keyfob_sqlite::SqliteStore;
use workload::{Size, measure};

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let size = if quick { Size::QUICK } else { Size::FULL };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let store = SqliteStore::open(&path).unwrap();
    let report = keyfob::block_on(measure(store, size));
    println!("{report}");
    let bytes = path.metadata().unwrap().len();
    println!("{} keys take {} MiB", size.many, bytes >> 20);
    assert!(
        report.removal_ratio < 2.0,
        "to remove a person costs more with more keys"
    );
}
