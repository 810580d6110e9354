//! A process that was stopped (`SIGSTOP`, a frozen container) while its sender went on: when it
//! wakes, what it knows and what waits in its pipe is too old to decide by.
#![cfg(target_os = "linux")]

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use keyfob::{
    Access, Context, KeyStore, Keyring, MemoryStore, NewKey, Timestamp,
    gateway::{Index, UsageBatch},
    manage::CreatedKey,
};
use keyfob_replica::{Follower, Source, SourceError, Synced, async_trait};
use rustix::process::{Pid, Signal, kill_process};

/// The variable that makes the test binary the process that is stopped.
const ROLE: &str = "KEYFOB_TEST_STOPPED";
const STALE_AFTER: Duration = Duration::from_secs(2);

#[test]
fn a_stopped_process_answers_nothing_from_an_over_age_state_when_it_wakes() {
    let mut child = Stopped::start();
    child.send_bookmarks(Duration::from_secs(2));
    let before = child.verdicts();
    assert!(
        before.iter().any(|(_, verdict)| verdict == "accepted"),
        "{before:?}"
    );

    child.signal(Signal::STOP);
    child.send_bookmarks(Duration::from_secs(1));
    // The pipe has bookmarks from before the revocation.
    child.send("revoke");
    child.send_bookmarks(2 * STALE_AFTER);
    child.verdicts();
    let woken = unix_ms();
    child.signal(Signal::CONT);
    child.send_bookmarks(Duration::from_secs(5));

    let after: Vec<_> = child.verdicts();
    let after: Vec<_> = after.iter().filter(|(at, _)| *at >= woken).collect();
    assert!(after.len() > 100, "it answers: {}", after.len());
    let accepted = after.iter().find(|(_, verdict)| verdict == "accepted");
    assert_eq!(accepted, None, "woken at {woken}");
    assert!(after.iter().any(|(_, verdict)| verdict == "stale"));
    assert_eq!(after.last().unwrap().1, "revoked", "it caught up");
}

/// The process that is stopped, seen from its sender.
struct Stopped {
    process: Child,
    verdicts: mpsc::Receiver<(u128, String)>,
}

impl Stopped {
    fn start() -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "the_stopped_process", "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (sender, verdicts) = mpsc::channel();
        thread::spawn(move || {
            // The test harness writes lines of its own.
            for line in lines.map_while(Result::ok) {
                if let Some((at, verdict)) = line.split_once(' ')
                    && let Ok(at) = at.parse()
                {
                    let _ = sender.send((at, verdict.to_owned()));
                }
            }
        });
        Self { process, verdicts }
    }

    fn send(&mut self, what: &str) {
        let line = format!("{what} {}\n", keyfob::now().as_unix());
        let pipe = self.process.stdin.as_mut().unwrap();
        pipe.write_all(line.as_bytes()).unwrap();
    }

    fn send_bookmarks(&mut self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            self.send("bookmark");
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// The verdicts since the last call.
    fn verdicts(&self) -> Vec<(u128, String)> {
        self.verdicts.try_iter().collect()
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Not a test of its own: the process that the test stops.
#[test]
fn the_stopped_process() {
    if env::var_os(ROLE).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(verify_what_is_sent());
}

async fn verify_what_is_sent() {
    let store = Arc::new(MemoryStore::new());
    let keyring = Keyring::open(Arc::clone(&store), "acme").await.unwrap();
    let new = NewKey::for_user("team", "orders", "alice", "laptop").unwrap();
    let created = keyring.create(&Context::system(keyfob::now()), new).await;
    let CreatedKey { secret, info, .. } = created.unwrap();

    let (sender, lines) = tokio::sync::mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let source = Pipe {
        lines: tokio::sync::Mutex::new(lines),
        next: Mutex::default(),
        store,
        revoke: Box::new(move || {
            let context = Context::system(keyfob::now());
            keyfob::block_on(keyring.revoke(&context, &info.tenant, info.id, None)).unwrap();
        }),
    };
    let replica = Follower::from_source(source, "acme")
        .stale_after(STALE_AFTER)
        .start()
        .await
        .unwrap();
    let verifier = replica.verifier();
    let verifying = thread::spawn(move || {
        loop {
            let at = unix_ms();
            let text = secret.expose().as_bytes();
            let verdict = verifier.verify_text(text, &Access::to("orders"), keyfob::now());
            let text = match verdict {
                Ok(_) => "accepted".to_owned(),
                Err(denied) => denied.reason().to_string(),
            };
            if writeln!(io::stdout().lock(), "{at} {text}").is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    });
    tokio::task::spawn_blocking(|| verifying.join())
        .await
        .unwrap()
        .unwrap();
}

/// What the pipe delivers: the state of a store, as of the time that the line states.
struct Pipe {
    lines: tokio::sync::Mutex<tokio::sync::mpsc::UnboundedReceiver<String>>,
    /// Received, and not applied yet.
    next: Mutex<Option<String>>,
    store: Arc<MemoryStore>,
    revoke: Box<dyn Fn() + Send + Sync>,
}

#[async_trait]
impl Source for Pipe {
    async fn wait(&self, _: &Index) -> Result<bool, SourceError> {
        let mut lines = self.lines.lock().await;
        if self.next.lock().unwrap().is_none() {
            let line = lines.recv().await.ok_or("the pipe is closed");
            let line = line.map_err(SourceError::unavailable)?;
            *self.next.lock().unwrap() = Some(line);
        }
        Ok(true)
    }

    async fn sync(&self, index: &Index, _: Timestamp) -> Result<Synced, SourceError> {
        let Some(line) = self.next.lock().unwrap().take() else {
            return Ok(Synced::AsSent);
        };
        let (what, as_of) = line.split_once(' ').expect("two words");
        if what == "revoke" {
            (self.revoke)();
        }
        let as_of = Timestamp::from_unix(as_of.parse().expect("a number"));
        let changes = self.store.changes(index.as_of(), 1000).await;
        index.apply(&changes.map_err(SourceError::unavailable)?, as_of)?;
        // So slow that a caller sees each state.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(Synced::AsSent)
    }

    async fn report(&self, _: Option<&UsageBatch>, _: Timestamp) -> Result<(), SourceError> {
        Ok(())
    }
}

fn unix_ms() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is set").as_millis()
}
