//! Processes of their own: this binary again, told by its environment what to be.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use crate::{crashes, migrations, races, server};

/// What this process is, if another test started it.
#[test]
#[ignore = "other tests start it"]
fn a_process_of_its_own() {
    let role = env::var("KEYFOB_ROLE").expect("the test that starts it sets the role");
    let url = env::var("KEYFOB_URL").expect("and with which database");
    server::runtime().block_on(async {
        match role.as_str() {
            "burst" => crashes::burst(&url).await,
            "connect" => migrations::connect(&url).await,
            "race" => races::compete(&url).await,
            _ => panic!("no such role: {role}"),
        }
    });
}

pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    pub(crate) fn start(role: &str, url: &str) -> Self {
        let mut child = Command::new(env::current_exe().expect("this binary is known"))
            .args(["--ignored", "--exact", "--nocapture", "--test-threads=1"])
            .arg("process::a_process_of_its_own")
            .env("KEYFOB_ROLE", role)
            .env("KEYFOB_URL", url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this binary can be run");
        let output = child.stdout.take().expect("it is piped");
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // What the harness of tests prints is not marked.
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

    pub(crate) fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it was not closed");
        writeln!(input, "{line}").expect("the process reads");
    }

    pub(crate) fn hear(&self) -> String {
        let line = self.lines.recv_timeout(Duration::from_mins(1));
        line.expect("the process says something")
    }

    /// Kills it without a word, and gives all that it has said.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is gone");
        self.lines.iter().collect()
    }

    /// Lets it end by itself, and gives all that it has said.
    pub(crate) fn end(mut self) -> Vec<String> {
        drop(self.input.take());
        let said = self.lines.iter().collect();
        assert!(self.child.wait().expect("it ends").success());
        said
    }
}

/// Says something to the process that started this one.
pub(crate) fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{MARK}{line}").expect("the other process reads");
    output.flush().expect("the other process reads");
}

/// Stands before what is said, wherever the harness has begun a line.
const MARK: &str = "\u{1}";
