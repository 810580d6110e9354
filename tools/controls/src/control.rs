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
    /// The store's package over which the behaviours of stores are run; in memory if not given.
    pub(crate) over: Option<String>,
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

/// The path of the module that has a test, as libtest prints it: empty for the root of an
/// integration test, and for behaviours of stores, which every store lists itself.
pub(crate) fn module(test: &str) -> String {
    let file = test.split("::").next().unwrap_or_default();
    let file = file.trim_end_matches(".rs");
    let path = match file.split_once("/src/").map_or(file, |(_, path)| path) {
        _ if file.starts_with("crates/keyfob-conformance/src/") => "",
        path if path.starts_with("src/") => path.trim_start_matches("src/"),
        path => match path.split_once("tests/") {
            Some((_, path)) => match path.split_once('/') {
                Some((_, "main")) | None => "",
                Some((_, path)) => path,
            },
            None => path,
        },
    };
    path.replace('/', "::")
}

/// The test executable that has a test.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) package: String,
    /// The name of an integration test; `None` for the unit tests of the library or program.
    pub(crate) integration: Option<String>,
}

/// Returns the executable and the name of a test that is written as `file::name`. `over` is the
/// package of the store over which the behaviours of stores are run.
pub(crate) fn target<'t>(test: &'t str, over: Option<&str>) -> Result<(Target, &'t str), String> {
    let unknown = || format!("{test}: not a test as in tests/verdicts.rs::name");
    let (file, name) = test.split_once("::").ok_or_else(unknown)?;
    let parts: Vec<&str> = file.split('/').collect();
    let (package, parts) = match parts.as_slice() {
        ["crates", package, rest @ ..] => (*package, rest),
        rest => ("keyfob", rest),
    };
    let integration = match parts {
        ["src", ..] if package == "keyfob-conformance" => Some(match over {
            Some("keyfob-postgres") => "postgres",
            Some(_) => "conformance",
            None => "memory",
        }),
        ["src", ..] => None,
        ["tests", first, ..] => Some(first.trim_end_matches(".rs")),
        _ => return Err(unknown()),
    };
    let package = match over {
        Some(store) if package == "keyfob-conformance" => store,
        _ => package,
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
            let (target, name) = target(test, None).unwrap();
            assert_eq!((target.package.as_str(), name), (package, "t"));
            assert_eq!(target.integration.as_deref(), integration);
        }
        for (test, expected) in [
            ("src/a/b.rs::t", "a::b"),
            ("tests/a.rs::t", ""),
            ("crates/x/src/a.rs::t", "a"),
            ("crates/x/tests/a/b.rs::t", "b"),
            ("crates/x/tests/a/main.rs::t", ""),
            ("crates/keyfob-conformance/src/a.rs::t", ""),
        ] {
            assert_eq!(module(test), expected, "{test}");
        }
        let behaviour = "crates/keyfob-conformance/src/a.rs::t";
        let (over_sqlite, _) = target(behaviour, Some("keyfob-sqlite")).unwrap();
        assert_eq!(over_sqlite.package, "keyfob-sqlite");
        assert_eq!(over_sqlite.integration.as_deref(), Some("conformance"));
        assert!(target("tests/a.rs", None).is_err());
    }
}
