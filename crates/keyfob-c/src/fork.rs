//! Finding out that the process was forked. A child has no threads but the one that forked, so a
//! replica that its parent opened is followed by nobody there.

use std::sync::{
    Once,
    atomic::{AtomicU32, Ordering},
};

/// How many forks there were from the first process that opened a replica to this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The process in which something was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn this() -> Self {
        static WATCHED: Once = Once::new();
        WATCHED.call_once(watch);
        Self::now()
    }

    fn now() -> Self {
        // Written before the child has a second thread.
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// Whether this is still the same process.
    pub(crate) fn is_this(self) -> bool {
        self == Self::now()
    }
}

#[cfg(unix)]
fn watch() {
    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler does what a signal handler may. The library is never unloaded
    // (`build.rs`). If there is no memory for it, forks are not detected, and the bound on staleness
    // holds.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
}

#[cfg(not(unix))]
fn watch() {}
