//! Signals, which are the program's.

/// Runs a function that starts threads, which receive no signals.
///
/// A program like nginx expects that a signal interrupts its own wait, which it does not if another
/// thread receives it. Signals that tell of a thread's own fault are left alone.
#[cfg(unix)]
pub(crate) fn blocked<T>(start: impl FnOnce() -> T) -> T {
    use std::{mem::MaybeUninit, ptr};

    struct Restore(libc::sigset_t);

    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: the set is one that the function returned before.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
        }
    }

    let mut all = MaybeUninit::uninit();
    // `sigfillset` fails for an invalid address only; the mask of before is written by success.
    let mut before = MaybeUninit::uninit();
    // SAFETY: the first function initializes the set, which the others change and read.
    let _restore = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        for fault in [
            libc::SIGABRT,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
            libc::SIGSEGV,
        ] {
            libc::sigdelset(all.as_mut_ptr(), fault);
        }
        let failed = libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        (failed == 0).then(|| Restore(before.assume_init()))
    };
    start()
}

#[cfg(not(unix))]
pub(crate) fn blocked<T>(start: impl FnOnce() -> T) -> T {
    start()
}
