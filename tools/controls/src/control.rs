//! The list of controls, and the tests that it names.

use serde::Deserialize;

/// One way to remove a control.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Control {
    /// The threat, as SECURITY.md numbers it.
    pub(crate) threat: String,
    /// What the removal does, in a few words.
    pub(crate) removed: String,
    /// The file with the control.
    pub(crate) file: String,
    /// A text that the file has exactly once.
    pub(crate) find: String,
    /// The text to put in its place.
    pub(crate) replace: String,
    /// The tests that must fail, as SECURITY.md names them.
    pub(crate) tests: Vec<String>,
}

#[derive(Deserialize)]
struct List {
    control: Vec<Control>,
}

/// Parses `controls.toml`.
pub(crate) fn parse(list: &str) -> Result<Vec<Control>, String> {
    let list: List = toml::from_str(list).map_err(|error| format!("controls.toml: {error}"))?;
    Ok(list.control)
}

/// The test executable that has a test.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) package: String,
    /// The name of an integration test; `None` for the library's unit tests.
    pub(crate) integration: Option<String>,
}

/// Returns the executable and the name of a test that is written as `file::name`.
pub(crate) fn target(test: &str) -> Result<(Target, &str), String> {
    let unknown = || format!("{test}: not a test as in tests/verdicts.rs::name");
    let (file, name) = test.split_once("::").ok_or_else(unknown)?;
    let parts: Vec<&str> = file.split('/').collect();
    let (package, parts) = match parts.as_slice() {
        ["crates", package, rest @ ..] => (*package, rest),
        rest => ("keyfob", rest),
    };
    let integration = match parts {
        // A behaviour of stores is tried over the store in memory.
        ["src", ..] if package == "keyfob-conformance" => Some("memory"),
        ["src", ..] => None,
        ["tests", first, ..] => Some(first.trim_end_matches(".rs")),
        _ => return Err(unknown()),
    };
    let target = Target {
        package: package.to_owned(),
        integration: integration.map(str::to_owned),
    };
    Ok((target, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_belongs_to_an_executable() {
        for (test, package, integration) in [
            ("src/a/b.rs::t", "keyfob", None),
            ("tests/a.rs::t", "keyfob", Some("a")),
            ("crates/x/src/a.rs::t", "x", None),
            ("crates/x/tests/a/b.rs::t", "x", Some("a")),
            (
                "crates/keyfob-conformance/src/a.rs::t",
                "keyfob-conformance",
                Some("memory"),
            ),
        ] {
            let (target, name) = target(test).unwrap();
            assert_eq!((target.package.as_str(), name), (package, "t"));
            assert_eq!(target.integration.as_deref(), integration);
        }
        assert!(target("tests/a.rs").is_err());
    }
}
