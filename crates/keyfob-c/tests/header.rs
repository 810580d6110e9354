//! The header is what cbindgen makes of the sources.

use std::{env, fs, path::Path};

use cbindgen::{Builder, Config};

/// `KEYFOB_UPDATE=1 cargo test -p keyfob-c --test header` writes it.
#[test]
fn the_header_is_up_to_date() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = Config::from_file(crate_folder.join("cbindgen.toml")).unwrap();
    let generated = Builder::new()
        .with_crate(crate_folder)
        .with_config(config)
        .generate()
        .unwrap();
    let mut now = Vec::new();
    generated.write(&mut now);
    let file = crate_folder.join("include/keyfob.h");
    if env::var_os("KEYFOB_UPDATE").is_some() {
        fs::write(&file, &now).unwrap();
    }
    let committed = fs::read(&file).unwrap_or_default();
    assert!(
        now == committed,
        "include/keyfob.h is not what the sources say: \
         KEYFOB_UPDATE=1 cargo test -p keyfob-c --test header"
    );
}
