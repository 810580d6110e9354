//! The program, in a temporary folder with its own environment.

use std::{
    fs,
    path::{Path, PathBuf},
};

use assert_cmd::Command;
use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;

/// A temporary folder with a store, and the program in it.
pub(crate) struct Program {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

impl Program {
    /// With the team `acme`, the namespace `orders` and the actor alice.
    pub(crate) fn new() -> Self {
        let program = Self::bare();
        program
            .with("KEYFOB_TEAM", "acme")
            .with("KEYFOB_NAMESPACE", "orders")
            .with("KEYFOB_AS", "alice")
    }

    /// Without settings.
    pub(crate) fn bare() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            environment: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.environment.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Runs the program.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "")
    }

    /// Runs the program with this on its standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: impl Into<Vec<u8>>) -> Ran {
        let output = Command::new(BINARY)
            .args(args)
            .current_dir(self.folder())
            .env_clear()
            .envs(
                args.contains(&"serve")
                    .then_some(("KEYFOB_AUTH_LISTEN", "127.0.0.1:0")),
            )
            .envs(self.environment())
            .write_stdin(input)
            // A command that ought to end, and serves.
            .timeout(std::time::Duration::from_mins(2))
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).expect("the output is text");
        Ran {
            code: output.status.code().expect("the program ends by itself"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Runs the program, which must succeed.
    pub(crate) fn done(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.redacted());
        ran
    }

    /// Runs the program, and parses its JSON output.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        self.done(&[args, &["--output", "json"]].concat()).json()
    }

    /// Creates a key, and its namespace unless it exists, and returns its credential.
    pub(crate) fn create(&self, args: &[&str]) -> String {
        let given = args
            .iter()
            .position(|arg| matches!(*arg, "-n" | "--namespace"));
        let given = given.and_then(|at| args.get(at + 1)).copied();
        let set = self
            .environment()
            .find(|(name, _)| *name == "KEYFOB_NAMESPACE");
        let namespace = given.or(set.map(|(_, value)| value)).unwrap_or("orders");
        let place = ["--prefix", "--team"];
        let place = args.windows(2).filter(|pair| place.contains(&pair[0]));
        let place: Vec<&str> = place.flatten().copied().collect();
        self.run(&[&["namespaces", "create", namespace][..], &place].concat());
        let ran = self.done(&[&["keys", "create"], args].concat());
        ran.out.trim_end().to_owned()
    }
}

/// The output and exit code of the program. It has no `Debug`, since it may contain a secret.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect("the answer is JSON")
    }

    /// The whole output, with placeholders for what differs between runs.
    pub(crate) fn redacted(&self) -> String {
        let text = format!(
            "code: {}\n--- out\n{}--- err\n{}",
            self.code, self.out, self.err
        );
        redacted(&text)
    }

    /// The number of secrets in the output.
    pub(crate) fn secrets(&self) -> usize {
        secrets(&self.out) + secrets(&self.err)
    }
}

/// The number of secrets in a text.
pub(crate) fn secrets(text: &str) -> usize {
    pattern("[a-z]+_sk_[A-Za-z0-9_-]+").find_iter(text).count()
}

pub(crate) fn redacted(text: &str) -> String {
    let mut text = text.to_owned();
    for (expression, mark) in [
        ("[a-z]+_sk_[A-Za-z0-9_-]{36}", "[SECRET]"),
        ("[a-z]+_v1_[0-9a-f]{32}", "[KEY]"),
        ("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z", "[TIME]"),
        ("\\b[0-9a-f]{64}\\b", "[HASH]"),
    ] {
        text = pattern(expression).replace_all(&text, mark).into_owned();
    }
    text
}

/// The id of a credential.
pub(crate) fn id(credential: &str) -> &str {
    credential
        .split_once(':')
        .expect("a credential has a colon")
        .0
}

pub(crate) fn pattern(expression: &str) -> Regex {
    Regex::new(expression).unwrap()
}

/// The path of the program.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_keyfob");

/// `OpenWhisk`'s public example, as its database exports it.
pub(crate) const SUBJECTS: &str = r#"{"_id": "guest", "subject": "guest", "namespaces": [{"name": "guest", "uuid": "23bc46b1-71f6-4ed5-8c54-816aa4f8c502", "key": "123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"}]}
"#;
/// The credential in it.
pub(crate) const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";
pub(crate) const GUEST_ID: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502";
