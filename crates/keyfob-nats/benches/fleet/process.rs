//! Other processes of this program, which are told and tell lines of text.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::{sync::mpsc, time::timeout};

/// A process, which is killed with this.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Process {
    /// Runs this program in a role.
    pub(crate) fn start(role: &str, arguments: &[String]) -> Self {
        let program = env::current_exe().expect("the program has a path");
        let mut child = Command::new(program)
            .arg(role)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be run");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = mpsc::unbounded_channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            input,
            lines,
        }
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let told = writeln!(self.input, "{line}").and_then(|()| self.input.flush());
        told.expect("the other process runs");
    }

    /// The next line that it tells.
    pub(crate) async fn next(&mut self) -> String {
        let line = timeout(LONGEST, self.lines.recv()).await;
        let line = line.expect("the other process answers in time");
        line.expect("the other process runs")
    }

    /// The next line, if there is one already.
    pub(crate) fn try_next(&mut self) -> Option<String> {
        self.lines.try_recv().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The time in nanoseconds by a clock that all processes of the machine share.
pub(crate) fn nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let nanos = Duration::new(now.tv_sec as u64, now.tv_nsec as u32).as_nanos();
    nanos as u64
}

const LONGEST: Duration = Duration::from_mins(2);
