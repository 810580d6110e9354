//! The assets of others, against the packages that publish them.

use std::{collections::BTreeMap, fs, path::Path};

use keyfob_testkit::peer::npm;
use serde_json::{Value, json};

/// A file of the panel that a package publishes.
struct Asset<'a> {
    file: &'a str,
    package: &'a str,
    version: &'a str,
    integrity: &'a str,
    path: &'a str,
}

impl<'a> Asset<'a> {
    /// Reads a line of `files.txt`; none for a file of our own.
    fn parse(line: &'a str) -> Option<Self> {
        let [_, file, package, integrity, path] = line.split_whitespace().collect::<Vec<_>>()[..]
        else {
            return None;
        };
        let (package, version) = package.rsplit_once('@').expect("PACKAGE@VERSION");
        Some(Self {
            file,
            package,
            version,
            integrity,
            path,
        })
    }
}

#[test]
fn committed_assets_are_the_files_of_their_packages() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../keyfob-panel/assets");
    let list = fs::read_to_string(assets.join("files.txt")).expect("the list");
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    let of_others: Vec<Asset<'_>> = lines.filter_map(Asset::parse).collect();
    assert_eq!(of_others.len(), 3, "Pico, htmx and its extension");

    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (sources, folder) = (target.join("assets-wanted"), target.join("assets"));
    fs::create_dir_all(&sources).expect("a folder");
    let wanted = of_others.iter().map(|asset| (asset.package, asset.version));
    let wanted: BTreeMap<_, _> = wanted.collect();
    let package = json!({ "private": true, "dependencies": wanted }).to_string();
    fs::write(sources.join("package.json"), package).expect("the folder can be written");
    if !npm(&sources, &folder, &["--ignore-scripts"]) {
        return;
    }

    let modules = folder.join("node_modules");
    let lock = fs::read(modules.join(".package-lock.json")).expect("what npm installed");
    let lock: Value = serde_json::from_slice(&lock).expect("JSON");
    for asset in of_others {
        let installed = &lock["packages"][format!("node_modules/{}", asset.package)];
        assert_eq!(installed["version"], asset.version, "{}", asset.package);
        assert_eq!(installed["integrity"], asset.integrity, "{}", asset.package);
        let published = fs::read(modules.join(asset.package).join(asset.path));
        let committed = fs::read(assets.join(asset.file)).expect("the asset");
        let same = published.expect("the file of the package") == committed;
        assert!(same, "{} is not {}", asset.file, asset.path);
    }
}
