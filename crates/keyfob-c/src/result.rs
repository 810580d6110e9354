//! What a function returns, and the border that no panic crosses.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a function returns. Everything but KEYFOB_OK is a refusal or an error.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyfobResult {
    /// It was done; of keyfob_verify: the call may pass.
    KeyfobOk = 0,
    /// The call must not pass. The verdict says with which status.
    KeyfobRefused = 1,
    /// The replica is not ready, or not any more.
    KeyfobNotReady = 2,
    /// An argument is NULL that must not be, has a wrong size, or is not what its description asks for.
    KeyfobInvalid = 3,
    /// The process was forked after the replica was opened: open one in each process.
    KeyfobForked = 4,
    /// The library has a bug, which was stopped at its border.
    KeyfobPanicked = 5,
    /// It failed; the text of the error says why.
    KeyfobFailed = 6,
}

/// Runs the body of a function, and returns the other's value in place of a panic.
///
/// A panic that gets past it, such as one of the value of a panic when it is dropped, aborts the
/// process: that is what `extern "C"` does.
#[inline]
pub(crate) fn guarded<T>(panicked: impl FnOnce() -> T, body: impl FnOnce() -> T) -> T {
    // What the body changes is the caller's, or behind locks that are used although poisoned.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| panicked())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_result() {
        let result = guarded(
            || KeyfobResult::KeyfobPanicked,
            || panic!("expected by the test"),
        );
        assert_eq!(result, KeyfobResult::KeyfobPanicked);
    }
}
