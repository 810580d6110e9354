//! The documents and the packaging match the program.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::Value;

use crate::program::{Program, pattern};

fn read(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn settings(program: &Program) -> Vec<(String, String, String)> {
    let shown = program.json(&["config", "show"]);
    let settings = shown["settings"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    settings
        .map(|set| {
            (
                text(&set["name"]),
                text(&set["value"]),
                text(&set["origin"]),
            )
        })
        .collect()
}

#[test]
fn the_example_configuration_is_the_defaults() {
    let defaults = settings(&Program::bare());
    let program = Program::bare().with("KEYFOB_CONFIG", "keyfob.toml");
    program.write("keyfob.toml", read("packaging/keyfob.toml"));
    let example = settings(&program);
    for (default, set) in defaults.iter().zip(&example) {
        assert_eq!((&default.0, &default.1), (&set.0, &set.1));
        let expected = match (&*default.0, &*default.1) {
            // The test itself asks for JSON.
            ("output", _) => "flag",
            // A setting without a default is commented out.
            (_, "") => "default",
            _ => "file",
        };
        assert_eq!(set.2, expected, "{}", set.0);
    }
    // The commented-out settings exist.
    let text = read("packaging/keyfob.toml");
    let uncommented = pattern("(?m)^# ?([a-z_0-9]+ = |\\[)").replace_all(&text, "$1");
    program.write("keyfob.toml", uncommented.as_ref());
    let ran = program.run(&["config", "show", "--output", "json"]);
    assert!(!ran.err.contains("unknown field"), "{}", ran.err);
}

#[test]
fn the_operations_guide_lists_every_setting_metric_and_exit_code() {
    let guide = read("docs/operations.md");
    for (name, ..) in settings(&Program::bare()) {
        let name = name.split_once('.').map_or(&*name, |(_, short)| short);
        assert!(guide.contains(&format!("`{name}`")), "{name}");
    }
    let metrics = [
        "crates/keyfob-cli/src/server/metrics.rs",
        "crates/keyfob-feed/src/server/metrics.rs",
        "crates/keyfob-gateway/src/metrics.rs",
        "crates/keyfob-listen/src/metrics.rs",
        "crates/keyfob-nats/src/metrics.rs",
        "crates/keyfob-replica/src/metrics.rs",
    ]
    .map(read)
    .concat();
    let names = pattern("\"(keyfob_[a-z_]+)\"");
    let names: BTreeSet<_> = names
        .captures_iter(&metrics)
        .map(|name| name[1].to_owned())
        .collect();
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        assert!(guide.contains(&format!("`{name}`")), "{name}");
    }
    let help = Program::bare().done(&["--help"]).out;
    let codes = pattern("(?m)^  ([0-6])  (.+)$");
    let codes: Vec<_> = codes.captures_iter(&help).collect();
    assert_eq!(codes.len(), 7);
    for code in codes {
        let row = format!("| {} | {} |", &code[1], &code[2]);
        assert!(guide.contains(&row), "{row}");
    }
}

#[test]
fn commands_and_options_in_the_guides_exist() {
    let program = Program::bare();
    let mut commands = 0;
    for document in ["docs/migration.md", "docs/operations.md"] {
        let text = read(document);
        for line in text.lines().filter_map(|line| line.strip_prefix("keyfob ")) {
            // `--help` comes last, so unknown options before it are refused.
            let line = line.split_once("  # ").map_or(line, |(line, _)| line);
            let words = pattern("\"([^\"]*)\"|(\\S+)");
            let mut args: Vec<&str> = words
                .captures_iter(line)
                .filter_map(|word| word.get(1).or(word.get(2)))
                .map(|word| word.as_str())
                .collect();
            args.push("--help");
            let ran = program.run(&args);
            assert_eq!(ran.code, 0, "{document}: {line}: {}", ran.err);
            commands += 1;
        }
    }
    assert!(commands > 20, "{commands}");
    assert_eq!(
        program.run(&["keys", "list", "--no-such", "--help"]).code,
        2
    );
}
