//! A C program that uses every function, from several threads, with a real feed: linked with the shared
//! and the static library, and run under valgrind.

#[path = "support/fed.rs"]
mod fed;

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keyfob::{Context, NewKey, Scopes, Ttl, manage::CreatedKey, name::Scope};
use keyfob_testkit::peer::missing;

use crate::fed::Fed;

/// How the program is linked.
#[derive(Clone, Copy)]
enum Link {
    Shared,
    Static,
}

#[test]
fn a_c_program_verifies_with_the_shared_library() {
    Run::new("shared", Link::Shared).with(&[], Some("3s"), 2_000);
}

#[test]
fn a_c_program_verifies_with_the_static_library() {
    Run::new("static", Link::Static).with(&[], Some("3s"), 2_000);
}

/// Valgrind runs ring's code of this processor some fifty times as slowly.
#[test]
fn valgrind_finds_neither_errors_nor_leaks() {
    if !installed("valgrind") {
        return;
    }
    Run::new("valgrind", Link::Shared).with(
        &[
            "valgrind",
            "--quiet",
            "--error-exitcode=99",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite,indirect,possible",
            "--child-silent-after-fork=yes",
            // Threads that do not wait for one another would run one after the other.
            "--fair-sched=yes",
        ],
        None,
        50,
    );
}

/// Whether a program is there; with `CI=true` it must be.
fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        missing(&format!("{program} is not installed"));
    }
    found
}

/// The program, compiled in a folder of its own.
struct Run {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Run {
    fn new(name: &str, link: Link) -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let program = folder.path().join(name);
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let libraries = libraries();
        let mut compile = Command::new("cc");
        compile
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-g"])
            .arg("-I")
            .arg(here.join("include"))
            .arg(here.join("tests/c/client.c"))
            .arg("-o")
            .arg(&program);
        match link {
            Link::Shared => compile
                .arg("-L")
                .arg(&libraries)
                .arg("-lkeyfob_c")
                .arg(format!("-Wl,-rpath,{}", libraries.display())),
            Link::Static => compile
                .arg(libraries.join("libkeyfob_c.a"))
                .args(["-lm", "-ldl"]),
        };
        let compiled = compile.arg("-lpthread").output().expect("cc runs");
        let errors = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "{errors}");
        Self { folder, program }
    }

    /// Runs the program, under this command if there is one, and with this bound until the end of the
    /// feed if there is one.
    fn with(&self, under: &[&str], stale_after: Option<&str>, rounds: usize) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let (fed, orders, billing) = runtime.block_on(fed());
        let file = self.folder.path().join("key");
        fs::write(&file, "not-a-key\n").expect("the folder can be written to");
        let mut arguments: Vec<String> = under.iter().map(ToString::to_string).collect();
        arguments.push(self.program.display().to_string());
        arguments.push(fed.upstream.clone());
        arguments.push(fed.signer.clone());
        arguments.push(file.display().to_string());
        arguments.push(stale_after.unwrap_or("60s").to_owned());
        arguments.push(rounds.to_string());
        let mut client = Client::start(&arguments);

        let alice = orders.secret.expose();
        let bot = billing.secret.expose();
        client.tell(&format!("Bearer {alice}"));
        client.tell(&format!("Bearer {bot}"));
        client.tell(&format!("Basic {}", STANDARD.encode(bot)));
        client.says("verified");
        client.signal("-STOP");
        client.tell("revoked");
        let (context, info) = (Context::system(keyfob::now()), &orders.info);
        let revoked = fed.keyring.revoke(&context, &info.tenant, info.id, None);
        runtime.block_on(revoked).expect("the key is there");
        // Long enough to be a pause, and shorter than the bound on staleness.
        thread::sleep(Duration::from_millis(700));
        client.signal("-CONT");
        client.says("revoked");
        if stale_after.is_some() {
            drop(fed);
            client.tell("ended");
            client.says("stale");
        }
        drop(client.input.take());
        let status = client.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

/// A feed with a key of Alice's and one of a service.
async fn fed() -> (Fed, CreatedKey, CreatedKey) {
    let fed = Fed::new().await;
    let scopes = ["read", "invoke"].map(|name| Scope::new(name).expect("it is a scope"));
    let new = NewKey::for_user("acme", "orders", "alice", "laptop")
        .expect("the names are valid")
        .with_scopes(Scopes::only(scopes).expect("they are few"))
        .expires_in(Ttl::hours(1).expect("it is short"));
    let orders = fed.create(new).await;
    let new = NewKey::for_service("acme", "billing", "bot", "bot").expect("they are valid");
    let billing = fed.create(new).await;
    (fed, orders, billing)
}

/// The folder of the libraries, which cargo built with this test.
fn libraries() -> PathBuf {
    let test = env::current_exe().expect("it is a file");
    test.parent().expect("it is in a folder").to_owned()
}

struct Client {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<std::process::ChildStdout>,
}

impl Client {
    fn start(arguments: &[String]) -> Self {
        let mut child = Command::new(&arguments[0])
            .args(&arguments[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        Self {
            child,
            input,
            output,
        }
    }

    fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it is open");
        writeln!(input, "{line}").expect("the program reads");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("kill can be run").success());
    }

    /// Waits for this line. The program ends by itself if something never comes.
    fn says(&mut self, wanted: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it can be read");
        assert_eq!(line.trim_end(), wanted);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
