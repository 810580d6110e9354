//! Opening a replica, its state, and closing it.

use std::{
    ffi::c_char,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    clock, error,
    fork::Process,
    options::KeyfobOptions,
    result::{KeyfobResult, guarded},
    worker::{Shared, Worker},
};

/// A replica of an authority's keys, which a thread of the library keeps up to date.
///
/// All functions but keyfob_close can be called from any number of threads at once.
pub struct KeyfobReplica {
    pub(crate) shared: Arc<Shared>,
    pub(crate) opened_in: Process,
    worker: Worker,
}

/// The version of the library, as in 0.1.0: a text that ends with NUL and is never freed.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn keyfob_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Opens a replica, and returns at once: its thread reads the feed, again and again until that
/// succeeds. Until then every call is refused with 503; keyfob_wait_ready waits.
///
/// A server that forks opens a replica in each process that verifies, after the fork. The thread
/// receives no signals.
///
/// Returns KEYFOB_OK with a replica in `replica`, which keyfob_close frees. Otherwise `replica` is set
/// to NULL, and `error` to a text that ends with NUL and is shortened to `error_size` bytes:
///
/// - KEYFOB_INVALID: an option is missing or a file of it cannot be read
/// - KEYFOB_FAILED: the system has no thread left, for example
///
/// # Safety
///
/// `options` is NULL or of keyfob_options_new and not freed. `replica` is NULL or can be written, and
/// `error_size` bytes of `error` can be written, if it is not NULL.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn keyfob_open(
    options: *const KeyfobOptions,
    replica: *mut *mut KeyfobReplica,
    error: *mut c_char,
    error_size: usize,
) -> KeyfobResult {
    guarded(
        || KeyfobResult::KeyfobPanicked,
        || {
            if !replica.is_null() {
                // SAFETY: the caller vouches for the pointer.
                unsafe { replica.write(std::ptr::null_mut()) };
            }
            // SAFETY: the caller vouches for the pointer.
            let opened = match unsafe { options.as_ref() } {
                _ if replica.is_null() => Err(invalid("replica: must not be NULL")),
                None => Err(invalid("options: must not be NULL")),
                Some(options) => KeyfobReplica::open(options),
            };
            match opened {
                Ok(opened) => {
                    // SAFETY: the pointer is not null, and the caller vouches for it.
                    unsafe { replica.write(Box::into_raw(Box::new(opened))) };
                    KeyfobResult::KeyfobOk
                }
                Err((result, text)) => {
                    // SAFETY: the caller vouches for the buffer.
                    unsafe { error::write(&text, error, error_size) };
                    result
                }
            }
        },
    )
}

fn invalid(text: impl Into<String>) -> (KeyfobResult, String) {
    (KeyfobResult::KeyfobInvalid, text.into())
}

impl KeyfobReplica {
    fn open(options: &KeyfobOptions) -> Result<Self, (KeyfobResult, String)> {
        let settings = options.settings().map_err(invalid)?;
        let source = settings.source().map_err(invalid)?;
        let opened_in = Process::this();
        let shared = Arc::<Shared>::default();
        let worker = Worker::start(settings, source, Arc::clone(&shared));
        let worker = worker.map_err(|error| (KeyfobResult::KeyfobFailed, error.to_string()))?;
        Ok(Self {
            shared,
            opened_in,
            worker,
        })
    }

    fn is_ready(&self) -> bool {
        let started = self.shared.started();
        started.is_some_and(|started| started.verifier.is_ready(clock::now()))
    }
}

/// Waits until the replica decides calls, for this many milliseconds at most.
///
/// Returns KEYFOB_OK, or KEYFOB_NOT_READY after the time, KEYFOB_INVALID if `replica` is NULL, or
/// KEYFOB_FORKED.
///
/// # Safety
///
/// `replica` is NULL or of keyfob_open and not closed.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn keyfob_wait_ready(
    replica: *const KeyfobReplica,
    milliseconds: u64,
) -> KeyfobResult {
    guarded(
        || KeyfobResult::KeyfobPanicked,
        || {
            // SAFETY: the caller vouches for the pointer.
            let Some(replica) = (unsafe { replica.as_ref() }) else {
                return KeyfobResult::KeyfobInvalid;
            };
            if !replica.opened_in.is_this() {
                return KeyfobResult::KeyfobForked;
            }
            let (start, most) = (Instant::now(), Duration::from_millis(milliseconds));
            loop {
                if replica.is_ready() {
                    return KeyfobResult::KeyfobOk;
                }
                let left = most.saturating_sub(start.elapsed());
                if left.is_zero() || replica.shared.has_failed() {
                    return KeyfobResult::KeyfobNotReady;
                }
                thread::sleep(left.min(LOOK_EVERY));
            }
        },
    )
}

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The state of a replica.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct KeyfobState {
    /// The size of this structure: set it to sizeof(keyfob_state) before the call.
    pub size: usize,
    /// 1 if calls are decided now, 0 if all are refused with 503.
    pub ready: u32,
    /// 1 if the replica has given up: close it, and open another.
    pub failed: u32,
    /// The authority's revision up to which everything is known.
    pub revision: u64,
    /// When everything was last known that the authority had, in Unix seconds; 0 if never.
    pub confirmed_at: i64,
    /// How many seconds ago that was; UINT64_MAX if never.
    pub age: u64,
}

/// Writes the state of a replica.
///
/// Returns KEYFOB_OK, KEYFOB_INVALID if a pointer is NULL or `state->size` is too small, or
/// KEYFOB_FORKED.
///
/// # Safety
///
/// `replica` is NULL or of keyfob_open and not closed. `state` is NULL, or has the size that its first
/// member says.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn keyfob_read_state(
    replica: *const KeyfobReplica,
    state: *mut KeyfobState,
) -> KeyfobResult {
    guarded(
        || KeyfobResult::KeyfobPanicked,
        || {
            if state.is_null() || !state.is_aligned() {
                return KeyfobResult::KeyfobInvalid;
            }
            // SAFETY: the caller vouches for the pointers; `size` is the first member.
            let (replica, size) = unsafe { (replica.as_ref(), (&raw const (*state).size).read()) };
            let Some(replica) = replica else {
                return KeyfobResult::KeyfobInvalid;
            };
            if size < size_of::<KeyfobState>() {
                return KeyfobResult::KeyfobInvalid;
            }
            if !replica.opened_in.is_this() {
                return KeyfobResult::KeyfobForked;
            }
            let status = replica.shared.started().map(|it| it.monitor.status());
            let confirmed_at = status.as_ref().and_then(|status| status.confirmed_at);
            let age = status.as_ref().and_then(|status| status.age);
            let now = KeyfobState {
                size,
                ready: replica.is_ready().into(),
                failed: replica.shared.has_failed().into(),
                revision: status.map_or(0, |status| status.revision.get()),
                confirmed_at: confirmed_at.map_or(0, keyfob::Timestamp::as_unix),
                age: age.map_or(u64::MAX, |age| age.as_secs()),
            };
            // SAFETY: there is room for it, as the caller says in `size`.
            unsafe { state.write(now) };
            KeyfobResult::KeyfobOk
        },
    )
}

/// Writes why the feed cannot be read: a text that ends with NUL and is shortened to `size` bytes. It
/// is empty if the last attempt succeeded.
///
/// Returns KEYFOB_OK, KEYFOB_INVALID if a pointer is NULL or `size` is 0, or KEYFOB_FORKED.
///
/// # Safety
///
/// `replica` is NULL or of keyfob_open and not closed. `size` bytes of `text` can be written, if it
/// is not NULL.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn keyfob_last_error(
    replica: *const KeyfobReplica,
    text: *mut c_char,
    size: usize,
) -> KeyfobResult {
    guarded(
        || KeyfobResult::KeyfobPanicked,
        || {
            // SAFETY: the caller vouches for the pointer.
            let Some(replica) = (unsafe { replica.as_ref() }) else {
                return KeyfobResult::KeyfobInvalid;
            };
            if text.is_null() || size == 0 {
                return KeyfobResult::KeyfobInvalid;
            }
            if !replica.opened_in.is_this() {
                return KeyfobResult::KeyfobForked;
            }
            let last = replica.shared.last_error().unwrap_or_default();
            // SAFETY: the caller vouches for the buffer.
            unsafe { error::write(&last, text, size) };
            KeyfobResult::KeyfobOk
        },
    )
}

/// Ends the thread of a replica, and frees it; NULL is allowed. The last uses are reported before,
/// which takes 5 seconds at most. The thread that notices pauses of the process ends a moment later.
///
/// All other calls with the replica must have returned, and what its verdicts borrowed must not be
/// read any more. In a process that was forked since keyfob_open it does nothing.
///
/// # Safety
///
/// `replica` is NULL or of keyfob_open and not closed, and nobody else uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn keyfob_close(replica: *mut KeyfobReplica) {
    guarded(
        || (),
        || {
            // SAFETY: the caller vouches for the pointer.
            if !unsafe { replica.as_ref() }.is_some_and(|replica| replica.opened_in.is_this()) {
                // The memory is the parent's, and its thread does not exist here.
                return;
            }
            // SAFETY: it is of `Box::into_raw`, and nobody else uses it.
            let replica = unsafe { Box::from_raw(replica) };
            replica.worker.stop();
        },
    );
}
