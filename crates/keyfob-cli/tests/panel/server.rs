//! The program as a server over a new store.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use keyfob_testkit::port::free_port;
use serde_json::Value;
use tempfile::TempDir;

/// A running server. It is killed on drop.
pub(crate) struct Server {
    child: Child,
    pub(crate) folder: TempDir,
    pub(crate) url: String,
    /// Where a proxy asks whether a call may pass.
    pub(crate) auth: String,
    pub(crate) operator: String,
    /// Where it feeds gateways, and the key that signs what they read; empty without a feed.
    pub(crate) feed: String,
    pub(crate) signer: String,
}

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_keyfob");

impl Server {
    /// Starts one on a free port of the loopback, after the store in its folder was prepared.
    pub(crate) fn start(prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        prepare(folder.path());
        Self::start_in(folder, &[])
    }

    /// Starts one that feeds gateways.
    pub(crate) fn start_with_feed() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let created = Command::new(BINARY)
            .args(["feed", "create", "feed.keys", "--output", "json"])
            .current_dir(folder.path())
            .output()
            .expect("the program runs");
        let created: Value = serde_json::from_slice(&created.stdout).expect("JSON");
        let feed = format!("127.0.0.1:{}", free_port());
        let own = ["--feed-listen", &feed, "--feed-keys", "feed.keys"];
        let mut server = Self::start_in(folder, &own);
        server.feed = format!("http://{feed}");
        created["signers"][0]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut server.signer);
        server
    }

    fn start_in(folder: TempDir, args: &[&str]) -> Self {
        let child = Command::new(BINARY)
            .args(["serve", "--listen", "127.0.0.1:0", "--output", "json"])
            .args(["--auth-listen", "127.0.0.1:0"])
            .args([
                "--follow-every",
                "100ms",
                "--flush-every",
                "200ms",
                "--log",
                "warn",
            ])
            .args(args)
            .current_dir(folder.path())
            .env_clear()
            .env("HOME", folder.path())
            .envs(env::var_os("PATH").map(|path| ("PATH", path)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut server = Self {
            child,
            folder,
            url: String::new(),
            auth: String::new(),
            operator: String::new(),
            feed: String::new(),
            signer: String::new(),
        };
        let output = server.child.stdout.take().expect("it is piped");
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        read.expect("the server says where it listens");
        // The line has a secret: no message repeats it.
        let hello: Value = serde_json::from_str(&line).unwrap_or_default();
        let text = |name: &str| hello[name].as_str().unwrap_or_default().to_owned();
        server.url = format!("http://{}", text("address"));
        server.auth = format!("http://{}", text("auth"));
        server.operator = text("operator");
        assert!(!server.operator.is_empty(), "it is a first start");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
