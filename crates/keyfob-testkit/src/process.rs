//! This test program again, as another process that plays one part.
//!
//! A part is a test that is ignored unless it is started here. It reads what it is told from its
//! environment and its standard input, and answers by [`say`].

use std::{
    env,
    fmt::Display,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

/// Stands before what a part says, since the test harness may have begun a line.
const MARK: &str = "\u{1}";

/// A process that plays a part. It is killed with this value.
#[derive(Debug)]
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    /// Starts the ignored test `part`, which finds `words` in its environment.
    pub fn start(part: &str, words: &[(&str, &str)]) -> Self {
        Self::spawn(Command::new(program()), part, words)
    }

    /// Starts it by another program, which gets the path of this one as its last argument.
    pub fn start_by(by: &str, arguments: &[&str], part: &str, words: &[(&str, &str)]) -> Self {
        let mut command = Command::new(by);
        command.args(arguments).arg(program());
        Self::spawn(command, part, words)
    }

    fn spawn(mut command: Command, part: &str, words: &[(&str, &str)]) -> Self {
        let mut child = command
            .args(["--ignored", "--exact", "--nocapture", part])
            .envs(words.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be run");
        let output = child.stdout.take().expect("it is piped");
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some((_, said)) = line.split_once(MARK) {
                    let _ = send.send(said.to_owned());
                }
            }
        });
        let input = child.stdin.take();
        Self {
            child,
            input,
            lines,
        }
    }

    /// Writes a line to the part.
    pub fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it was not closed");
        writeln!(input, "{line}").expect("the process reads");
    }

    /// The next line that the part says; `None` once it has ended.
    pub fn heard(&self) -> Option<String> {
        match self.lines.recv_timeout(Duration::from_mins(1)) {
            Ok(line) => Some(line),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("the process hangs"),
        }
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is gone");
    }

    /// Closes the input of the part and waits until it ends; whether it ended well.
    pub fn end(mut self) -> bool {
        drop(self.input.take());
        self.child.wait().expect("it ends").success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> std::path::PathBuf {
    env::current_exe().expect("this program is known")
}

/// What this process was told under a name.
pub fn told(name: &str) -> String {
    env::var(name).expect("this part is started by a test")
}

/// Says a line to the process that started this one.
pub fn say(line: impl Display) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{MARK}{line}").expect("somebody reads");
    output.flush().expect("somebody reads");
}

/// The lines that this process is told, until its input is closed.
pub fn lines() -> impl Iterator<Item = String> {
    let lines = std::io::stdin().lock().lines();
    lines.map(|line| line.expect("the test writes lines"))
}

/// Prints figures of a test for `--nocapture`.
#[expect(clippy::print_stdout, reason = "the figures of a test are of interest")]
pub fn count(figures: impl Display) {
    println!("{figures}");
}
