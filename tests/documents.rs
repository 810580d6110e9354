//! The documents name only tests and files that exist.

use std::{collections::BTreeSet, fs, path::Path};

fn read(path: &str) -> String {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(whole).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the texts between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_test_named_in_security_exists() {
    let security = read("SECURITY.md");
    let named: Vec<(&str, &str)> = code(&security)
        .filter(|code| code.contains(".rs::"))
        .filter_map(|code| code.split_once("::"))
        .collect();
    assert!(named.len() >= 40, "found {} names", named.len());
    for (file, test) in named {
        let source = read(file);
        let found = [
            format!("fn {test}("),
            format!("const {test}:"),
            format!("static {test}:"),
        ];
        assert!(
            found.iter().any(|definition| source.contains(definition)),
            "{file} has no {test}"
        );
    }
}

/// A way to remove a control, in `tools/controls/controls.toml`.
#[derive(serde::Deserialize)]
struct Control {
    threat: String,
    file: String,
    find: String,
    tests: Vec<String>,
}

fn controls() -> Vec<Control> {
    #[derive(serde::Deserialize)]
    struct List {
        control: Vec<Control>,
    }
    let list: List = toml::from_str(&read("tools/controls/controls.toml")).unwrap();
    list.control
}

#[test]
fn every_test_named_in_security_is_tried_without_its_control() {
    let mut rows: BTreeSet<(String, String)> = BTreeSet::new();
    for row in read("SECURITY.md").lines() {
        let threat = row.strip_prefix("| ").and_then(|row| row.split(' ').next());
        let tests = code(row).filter(|code| code.contains(".rs::"));
        rows.extend(tests.map(|test| (threat.unwrap_or_default().to_owned(), test.to_owned())));
    }
    let tried: BTreeSet<(String, String)> = controls()
        .into_iter()
        .flat_map(|control| {
            control
                .tests
                .into_iter()
                .map(move |test| (control.threat.clone(), test))
        })
        .collect();
    let missing: Vec<_> = rows.difference(&tried).collect();
    assert!(missing.is_empty(), "not in controls.toml: {missing:#?}");
    let unknown: Vec<_> = tried.difference(&rows).collect();
    assert!(unknown.is_empty(), "not in SECURITY.md: {unknown:#?}");
}

#[test]
fn every_control_can_be_removed() {
    for control in controls() {
        let found = read(&control.file).matches(&control.find).count();
        assert_eq!(found, 1, "{} in {}", control.find, control.file);
    }
}

#[test]
fn every_threat_has_a_row() {
    let security = read("SECURITY.md");
    let rows: BTreeSet<&str> = security
        .lines()
        .filter_map(|line| line.strip_prefix("| T")?.split(' ').next())
        .collect();
    for threat in 1..=51 {
        assert!(
            rows.contains(threat.to_string().as_str()),
            "T{threat} is missing"
        );
    }
    for line in security.lines().filter(|line| line.starts_with("| T")) {
        let proven = line.contains(".rs::");
        let said = line.contains("pen**") || line.contains("embedder's") || line.contains("T35");
        assert!(proven || said, "no test and not marked as open: {line}");
    }
}

#[test]
fn every_file_named_in_the_documents_exists() {
    for document in ["README.md", "DESIGN.md", "CONTRIBUTING.md"] {
        let text = read(document);
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        let paths = code(&text).filter(|code| {
            let has_folder = ["src/", "tests/", "examples/", "crates/", "fuzz/"];
            has_folder.iter().any(|folder| code.starts_with(folder)) && !code.contains(' ')
        });
        for path in links.chain(paths).filter(|path| !path.starts_with("http")) {
            let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            assert!(whole.exists(), "{document} names {path}");
        }
    }
}

#[test]
fn the_example_key_parses_but_its_checksum_is_wrong() {
    let format = keyfob::key::KeyFormat::new("acme").unwrap();
    let readme = read("README.md");
    let text = readme
        .lines()
        .find(|line| line.starts_with("acme_v1_"))
        .unwrap();
    assert!(keyfob::key::PresentedKey::parse(&format, text.as_bytes()).is_ok());
    let (_, secret) = text.split_once(':').unwrap();
    // The checksum belongs to another prefix, so secret scanners ignore the text.
    assert!(!format.is_well_formed_secret(secret));
}
