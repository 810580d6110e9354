//! Options of the linker for the shared library.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The thread of a replica may still run when a program unloads a module that uses the library.
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
