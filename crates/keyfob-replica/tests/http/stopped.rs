//! A replica over HTTP that was stopped (`SIGSTOP`) while the feed went on, which waits in its socket.
#![cfg(target_os = "linux")]

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use keyfob::Access;
use keyfob_feed::Trust;
use keyfob_replica::HttpSource;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use crate::{
    Gateway, STALE_AFTER,
    authority::{Authority, KEY, now_ms},
    following::until,
};

/// The variables that make the test binary the process that is stopped.
const ROLE: [&str; 2] = ["KEYFOB_TEST_STOPPED_ADDRESS", "KEYFOB_TEST_STOPPED_SIGNER"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_replica_answers_nothing_from_what_waits_in_its_socket() {
    let authority = Authority::new().await;
    let key = authority.create("alice").await;
    let server = authority.serve().await;
    let mut process = Process(
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "stopped::the_stopped_process", "--nocapture"])
            .env(ROLE[0], &server.address)
            .env(ROLE[1], authority.signer())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let text = format!("{}\n", key.secret.expose());
    let mut input = process.0.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    let lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
    let (sender, verdicts) = mpsc::channel();
    thread::spawn(move || {
        // The test harness writes lines of its own.
        for line in lines.map_while(Result::ok) {
            if let Some((at, verdict)) = line.split_once(' ')
                && let Ok(at) = at.parse::<u64>()
            {
                let _ = sender.send((at, verdict.to_owned()));
            }
        }
    });
    until(|| {
        verdicts
            .try_iter()
            .any(|(_, verdict)| verdict == "accepted")
    })
    .await;

    process.signal(Signal::STOP);
    sleep(Duration::from_secs(1)).await;
    authority.revoke(&key).await;
    sleep(STALE_AFTER + Duration::from_secs(1)).await;
    let _ = verdicts.try_iter().count();
    let woken = now_ms();
    process.signal(Signal::CONT);
    sleep(Duration::from_secs(3)).await;
    let after: Vec<_> = verdicts.try_iter().filter(|(at, _)| *at >= woken).collect();
    assert!(after.len() > 100, "it answers: {}", after.len());
    let accepted = after.iter().find(|(_, verdict)| verdict == "accepted");
    assert_eq!(accepted, None, "woken at {woken}");
    assert_eq!(after.last().unwrap().1, "revoked", "it caught up");
}

struct Process(Child);

impl Process {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test of its own: the process that the test stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stopped_process() {
    let [Ok(address), Ok(signer)] = ROLE.map(std::env::var) else {
        return;
    };
    let mut key = String::new();
    std::io::stdin().read_line(&mut key).unwrap();
    let builder = HttpSource::builder(Trust::pinned([signer.parse().unwrap()]).unwrap())
        .upstream(address.parse().unwrap())
        .key(KEY);
    let gateway = Gateway::start(builder).await;
    let verifier = gateway.replica.verifier();
    let verifying = tokio::task::spawn_blocking(move || {
        loop {
            let at = now_ms();
            let key = key.trim().as_bytes();
            let verdict = verifier.verify_text(key, &Access::to("orders"), keyfob::now());
            let text = match verdict {
                Ok(_) => "accepted".to_owned(),
                Err(denied) => denied.reason().to_string(),
            };
            if writeln!(std::io::stdout().lock(), "{at} {text}").is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    verifying.await.unwrap();
}
