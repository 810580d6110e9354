//! Replays the stored inputs of the fuzz targets.

use std::{fs, path::Path};

#[expect(unreachable_pub, reason = "public to the fuzz targets")]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

#[test]
fn parse() {
    replay("parse", fuzz::parse);
}

#[test]
fn header() {
    replay("header", fuzz::header);
}

#[test]
fn round_trip() {
    replay("round_trip", fuzz::round_trip);
}

#[test]
#[cfg(feature = "import")]
fn legacy_import() {
    replay("legacy_import", fuzz::legacy_import);
}

#[test]
fn record_serde() {
    replay("record_serde", fuzz::record_serde);
}

#[test]
fn operations() {
    replay("operations", fuzz::operations);
}

/// A seed that no form accepts any more tests nothing.
#[test]
fn every_seed_of_a_record_is_accepted() {
    let accepted = |kind: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz")
            .join(kind);
        let files = fs::read_dir(folder.join("record_serde")).expect("the folder is kept");
        let mut counts = (0, 0);
        for entry in files {
            let path = entry.expect("the folder can be read").path();
            let data = fs::read(&path).expect("the file can be read");
            let forms = fuzz::accepted_forms(&data);
            assert!(
                kind != "seeds" || forms > 0,
                "{} is not accepted",
                path.display()
            );
            counts = (counts.0 + usize::from(forms > 0), counts.1 + 1);
        }
        counts
    };
    let (seeds, _) = accepted("seeds");
    assert!(seeds >= 17, "{seeds} seeds");
    // The corpus is damaged on purpose: few of it or none is accepted.
    let (_, damaged) = accepted("corpus");
    assert!(damaged > 0);
}

/// Runs a target over its seeds and over its corpus; neither is empty.
fn replay(name: &str, target: fn(&[u8])) {
    for kind in ["seeds", "corpus"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz")
            .join(kind)
            .join(name);
        let mut files = 0;
        for entry in fs::read_dir(&folder).expect("the folder is kept") {
            let path = entry.expect("the folder can be read").path();
            let data = fs::read(&path).expect("the file can be read");
            let outcome = std::panic::catch_unwind(|| target(&data));
            assert!(outcome.is_ok(), "{} breaks a property", path.display());
            files += 1;
        }
        assert!(files > 0, "{} is empty", folder.display());
    }
}
