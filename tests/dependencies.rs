//! The core's dependencies are the agreed packages and what those need, as DESIGN.md explains.

use std::{collections::BTreeSet, ffi::OsStr, fs, path::Path, process::Command};

/// The direct dependencies of the core.
const DIRECT: &[&str] = &[
    "async-trait",
    "base64",
    "crc32fast",
    "pollster",
    "prefetch-index",
    "ring",
    "serde",
    "subtle",
    "thiserror",
    "time",
    "zeroize",
];

/// The indirect dependencies on this machine.
const INDIRECT: &[&str] = &[
    "cfg-if",
    "deranged",
    "getrandom",
    "libc",
    "num-conv",
    "powerfmt",
    "proc-macro2",
    "quote",
    "serde_core",
    "serde_derive",
    "syn",
    "thiserror-impl",
    "time-core",
    "unicode-ident",
    "untrusted",
];

fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--package",
            "keyfob",
            "--edges",
            "normal",
            "--prefix",
            "none",
        ])
        .args(["--format", "{p}", "--locked"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .expect("cargo prints UTF-8")
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "keyfob")
        .map(str::to_owned)
        .collect()
}

fn names(lists: &[&[&str]]) -> BTreeSet<String> {
    lists
        .iter()
        .flat_map(|list| *list)
        .map(|name| (*name).to_owned())
        .collect()
}

#[test]
fn the_core_depends_only_on_the_agreed_packages() {
    let all = names(&[DIRECT, INDIRECT]);
    let found = tree(&[]);
    let surplus: Vec<_> = found.difference(&all).collect();
    assert!(surplus.is_empty(), "not agreed: {surplus:?}");
    assert_eq!(tree(&["--depth", "1"]), names(&[DIRECT]));
}

#[test]
fn without_std_the_core_has_fewer_dependencies() {
    let mut direct = names(&[DIRECT]);
    direct.remove("serde");
    direct.remove("pollster");
    direct.remove("prefetch-index");
    assert_eq!(tree(&["--no-default-features", "--depth", "1"]), direct);
}

#[test]
fn the_core_uses_no_clock_no_files_and_no_sockets() {
    // The only place that reads the clock, and the only function that calls it.
    const CLOCK: &[&str] = &["SystemTime"];
    const CALLS: &[&str] = &["crate::now", "timestamp::now"];
    fn check(folder: &Path) {
        for entry in fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                check(&path);
                continue;
            }
            let source = fs::read_to_string(&path).expect("the file can be read");
            let allowed = match path.file_name().and_then(OsStr::to_str) {
                Some("timestamp.rs") => CLOCK,
                Some("lib.rs" | "keyring.rs") => CALLS,
                _ => &[],
            };
            for foreign in [
                "SystemTime",
                "Instant",
                "now_utc",
                "crate::now",
                "timestamp::now",
                "std::fs",
                "std::net",
                "std::process",
                "std::env",
                "std::io",
                "println!",
                "static mut",
                "lazy_static",
                "LazyLock",
            ] {
                assert!(
                    allowed.contains(&foreign) || !source.contains(foreign),
                    "{} has {foreign}",
                    path.display()
                );
            }
        }
    }
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
}

#[test]
fn the_dependencies_include_no_runtime_and_no_protocol() {
    for name in tree(&["--all-features"]) {
        for foreign in [
            "tokio",
            "async-std",
            "hyper",
            "axum",
            "rusqlite",
            "mio",
            "socket2",
        ] {
            assert_ne!(name, foreign);
        }
    }
}
