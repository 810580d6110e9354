//! Parts that are played by processes of their own.

#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test uses a part of it"
)]

use std::{
    io::{BufRead, BufReader, Lines},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};

/// This test program once more, as a process of its own that plays one part.
pub(crate) struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// `part` is a test that is ignored but for this; `words` are what it is told.
    pub(crate) fn start(part: &str, words: &[(&str, &str)]) -> Self {
        Self::spawn(Command::new(program()), part, words)
    }

    /// As `start`, by another program that is told what to start.
    pub(crate) fn start_by(by: &str, how: &[&str], part: &str, words: &[(&str, &str)]) -> Self {
        let mut command = Command::new(by);
        command.args(how).arg(program());
        Self::spawn(command, part, words)
    }

    fn spawn(mut command: Command, part: &str, words: &[(&str, &str)]) -> Self {
        let mut child = command
            .args(["--ignored", "--exact", "--nocapture", part])
            .envs(words.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line that the part says; none once it has ended.
    pub(crate) fn heard(&mut self) -> Option<String> {
        loop {
            let line = self.lines.next()?.ok()?;
            // The harness's own lines may begin on the same one.
            if let Some((_, said)) = line.split_once("say ") {
                return Some(said.to_owned());
            }
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for the end; whether it was a good one.
    pub(crate) fn end(mut self) -> bool {
        drop(self.child.stdin.take());
        while self.heard().is_some() {}
        self.child.wait().unwrap().success()
    }

    /// Says a line to the part.
    pub(crate) fn tell(&mut self, line: &str) {
        use std::io::Write as _;
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        stdin.flush().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// What the part was told under this name.
pub(crate) fn told(name: &str) -> String {
    std::env::var(name).expect("this part is started by a test")
}

/// Prints a line for the process that started this one.
pub(crate) fn say(line: impl std::fmt::Display) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "say {line}").unwrap();
    out.flush().unwrap();
}

/// Prints figures, which `--nocapture` shows.
#[expect(
    clippy::print_stdout,
    reason = "the figures of a test are worth a look"
)]
pub(crate) fn count(figures: impl std::fmt::Display) {
    println!("{figures}");
}
