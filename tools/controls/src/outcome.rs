//! What the output of a test executable says about one test.

use std::fmt;

/// What a test did without its control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It failed, as it must.
    Failed,
    /// It did not end in time, or ended the process.
    Aborted,
    /// It passed: it does not test the control.
    Passed,
    /// There is no test of this name.
    Missing,
    /// The code without the control does not compile.
    NotCompiled,
}

impl Outcome {
    /// Reads the lines that libtest prints for each test. `module` has the test `test`.
    pub(crate) fn read(output: &str, module: &str, test: &str) -> Self {
        let mut started = false;
        for line in output.lines() {
            started |= line.starts_with("running ");
            let named = line.strip_prefix("test ").and_then(|line| {
                let (name, verdict) = line.split_once(" ... ")?;
                let (path, last) = name.rsplit_once("::").unwrap_or(("", name));
                (path.starts_with(module) && last == test).then_some(verdict)
            });
            match named {
                Some("ok") => return Self::Passed,
                Some(verdict) if verdict.starts_with("FAILED") => return Self::Failed,
                _ => {}
            }
        }
        if !started {
            Self::NotCompiled
        } else if output.contains("test result: ") {
            Self::Missing
        } else {
            Self::Aborted
        }
    }

    /// Whether the test noticed that its control is gone.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Aborted)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Failed => "failed",
            Self::Aborted => "aborted or hung",
            Self::Passed => "PASSED",
            Self::Missing => "NO SUCH TEST",
            Self::NotCompiled => "DOES NOT COMPILE",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_run_are_read() {
        let run =
            "running 2 tests\ntest a::one ... FAILED\ntest a::two ... ok\ntest result: FAILED.";
        for (output, module, test, outcome) in [
            (run, "a", "one", Outcome::Failed),
            (run, "", "two", Outcome::Passed),
            (run, "b", "two", Outcome::Missing),
            (run, "a", "three", Outcome::Missing),
            ("running 1 test\nSIGABRT", "a", "one", Outcome::Aborted),
            ("error: could not compile", "a", "one", Outcome::NotCompiled),
        ] {
            let read = Outcome::read(output, module, test);
            assert_eq!(read, outcome, "{module} {test} in {output}");
        }
    }
}
