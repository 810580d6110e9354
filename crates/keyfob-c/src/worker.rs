//! The thread of a replica.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use keyfob::{
    KeyId, Verifier,
    key::{CredentialId, KeyFormat},
};
use keyfob_replica::{HttpSource, Monitor, Replica};
use tokio::{runtime::Builder, sync::oneshot, time::sleep};

use crate::{error::chain, options::Settings, pause::Gate, signals};

/// What the thread tells those who verify.
#[derive(Default)]
pub(crate) struct Shared {
    started: OnceLock<Started>,
    trouble: Mutex<Trouble>,
}

/// What there is once the feed was read to its end for the first time.
pub(crate) struct Started {
    pub(crate) verifier: Verifier,
    pub(crate) monitor: Monitor,
    pub(crate) ids: Ids,
    pub(crate) gate: Gate,
}

#[derive(Default)]
struct Trouble {
    last_error: Option<String>,
    has_failed: bool,
}

impl Shared {
    pub(crate) fn started(&self) -> Option<&Started> {
        self.started.get()
    }

    /// The last error, if what failed did not succeed since.
    pub(crate) fn last_error(&self) -> Option<String> {
        let own = self.trouble().last_error.clone();
        own.or_else(|| self.started()?.monitor.status().last_error)
    }

    /// Whether the thread has given up.
    pub(crate) fn has_failed(&self) -> bool {
        self.trouble().has_failed
    }

    fn fail(&self, error: String) {
        *self.trouble() = Trouble {
            last_error: Some(error),
            has_failed: true,
        };
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The public texts of credentials' ids, without an allocation for those of keys.
pub(crate) struct Ids {
    format: KeyFormat,
    /// What comes before the digits.
    prefix: String,
}

impl Ids {
    fn new(format: KeyFormat) -> Self {
        let mut prefix = format.key_id(KeyId::from_bytes([0; 16]));
        prefix.truncate(prefix.len() - 32);
        Self { format, prefix }
    }

    /// Writes the text of an id with a NUL; `None` if there is no room.
    pub(crate) fn write(&self, id: CredentialId, to: &mut [u8]) -> Option<()> {
        let CredentialId::Key(id) = id else {
            let text = self.format.credential_id(id);
            to.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
            return to.get_mut(text.len()).map(|byte| *byte = 0);
        };
        let (prefix, rest) = to.split_at_mut_checked(self.prefix.len())?;
        prefix.copy_from_slice(self.prefix.as_bytes());
        let (digits, rest) = rest.split_at_mut_checked(32)?;
        for (pair, byte) in digits.chunks_exact_mut(2).zip(id.to_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        rest.first_mut().map(|byte| *byte = 0)
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// A running thread, and how it is asked to end.
pub(crate) struct Worker {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Worker {
    /// Starts a thread that follows the feed with this source, or one that is made again if it
    /// could not start.
    pub(crate) fn start(
        settings: Settings,
        source: HttpSource,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let thread = signals::blocked(|| {
            thread::Builder::new()
                .name("keyfob".to_owned())
                .spawn(move || run(&settings, source, &shared, stopped))
        })?;
        Ok(Self { thread, stop })
    }

    /// Ends the thread, which reports the last uses before; that takes 5 seconds at most.
    pub(crate) fn stop(self) {
        let _ = self.stop.send(());
        // A panic was printed, and is in the state.
        let _ = self.thread.join();
    }
}

fn run(
    settings: &Settings,
    source: HttpSource,
    shared: &Shared,
    mut stopped: oneshot::Receiver<()>,
) {
    let _guard = FailAfterPanic(shared);
    // Made here, so that nothing of it is the calling thread's.
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return shared.fail(error.to_string()),
    };
    runtime.block_on(async {
        let replica = tokio::select! {
            biased;
            _ = &mut stopped => return,
            replica = start(settings, source, shared) => replica,
        };
        let failure = tokio::select! {
            biased;
            _ = &mut stopped => None,
            failure = replica.failed() => Some(failure),
        };
        if let Some(failure) = failure {
            shared.fail(chain(&failure));
            let _ = stopped.await;
        }
        replica.stop().await;
    });
}

/// Starts the replica, as often as it takes: calls are refused meanwhile.
async fn start(settings: &Settings, source: HttpSource, shared: &Shared) -> Replica {
    let mut source = Some(source);
    let mut pause = PAUSE_MIN;
    loop {
        // A source knows what its replica's index has, so each has its own.
        let tried = match source.take().map_or_else(|| settings.source(), Ok) {
            Ok(source) => try_to_start(settings, source).await,
            Err(error) => Err(error),
        };
        match tried {
            Ok((replica, format)) => {
                let started = Started {
                    verifier: replica.verifier(),
                    monitor: replica.monitor(),
                    ids: Ids::new(format),
                    gate: Gate::new(replica.pauses()),
                };
                shared.trouble().last_error = None;
                // It is set once, here.
                let _ = shared.started.set(started);
                return replica;
            }
            Err(error) => shared.trouble().last_error = Some(error),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn try_to_start(
    settings: &Settings,
    source: HttpSource,
) -> Result<(Replica, KeyFormat), String> {
    let format = match settings.format() {
        Some(format) => format,
        None => source.key_format().await.map_err(|error| chain(&error))?,
    };
    let started = settings.follower(source, format).start().await;
    let replica = started.map_err(|error| chain(&error))?;
    Ok((replica, format))
}

struct FailAfterPanic<'a>(&'a Shared);

impl Drop for FailAfterPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail("the thread of the replica panicked".to_owned());
        }
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_elsewhere_or_not_at_all() {
        let format = KeyFormat::new("acme").unwrap();
        let ids = Ids::new(format);
        for text in [
            "key:00ff4f4f4f4f4f4f4f4f4f4f4f4f4f4a",
            "legacy:23bc46b1-71f6-4ed5-8c54-816aa4f8c502",
        ] {
            let id = text.parse().unwrap();
            let public = format.credential_id(id);
            let mut buffer = [0xff; 64];
            ids.write(id, &mut buffer).unwrap();
            assert_eq!(buffer[..public.len()], *public.as_bytes());
            assert_eq!(buffer[public.len()], 0);
            assert!(ids.write(id, &mut buffer[..public.len()]).is_none());
            assert!(ids.write(id, &mut buffer[..3]).is_none());
            ids.write(id, &mut buffer[..=public.len()]).unwrap();
        }
    }
}
