//! Lists what a library offers, a line an item, from the JSON that rustdoc wrote of it.
//!
//! An implementation that was derived is one line, without its functions. Blanket implementations
//! are left out, and automatic ones too: `tests/auto_traits.rs` has those that are promised.

use std::{collections::HashSet, env, ffi::OsStr, process::ExitCode};

use public_api::{Builder, Error, PublicApi};

fn main() -> ExitCode {
    let Some(path) = env::args_os().nth(1) else {
        eprintln!("usage: keyfob-api RUSTDOC_JSON");
        return ExitCode::from(2);
    };
    match listing(&path) {
        Ok(lines) => {
            for line in lines {
                println!("{line}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            eprintln!("each rustc has its own form of this file: `public-api` must fit it");
            ExitCode::FAILURE
        }
    }
}

fn listing(path: &OsStr) -> Result<Vec<String>, Error> {
    let written: HashSet<String> = lines(&public_api(path, true)?).collect();
    let is_listed = |line: &String| {
        let is_derived = !written.contains(line);
        // What `derive(PartialEq)` adds is the compiler's, and nobody can name it.
        !line.starts_with("impl core::marker::StructuralPartialEq for ")
            && (!is_derived || line.starts_with("impl"))
    };
    Ok(lines(&public_api(path, false)?).filter(is_listed).collect())
}

fn public_api(path: &OsStr, omit_derived: bool) -> Result<PublicApi, Error> {
    Builder::from_rustdoc_json(path)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(omit_derived)
        .build()
}

fn lines(api: &PublicApi) -> impl Iterator<Item = String> {
    api.items().map(ToString::to_string)
}
