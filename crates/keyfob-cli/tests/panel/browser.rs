//! Chromium, driven by a script.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Condvar, Mutex, OnceLock, PoisonError},
    thread,
};

use keyfob_testkit::peer::{missing, npm};
use serde_json::json;

use crate::server::{BINARY, Server};

/// The folder with the packages of `browser/package.json`, and the scripts.
pub(crate) struct Browser {
    folder: PathBuf,
    chromium: &'static str,
    turns: Turns,
}

const CHROMIUM: [&str; 3] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
];

impl Browser {
    /// Installs the packages. Returns `None` if Chromium or Node.js is missing.
    pub(crate) fn get() -> Option<&'static Self> {
        static BROWSER: OnceLock<Option<Browser>> = OnceLock::new();
        BROWSER.get_or_init(Self::install).as_ref()
    }

    fn install() -> Option<Self> {
        let Some(chromium) = CHROMIUM.into_iter().find(|path| Path::new(path).exists()) else {
            missing("install Chromium (Debian: chromium)");
            return None;
        };
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/panel/browser");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
        if !npm(&sources, &folder, &[]) {
            return None;
        }
        Some(Self {
            folder,
            chromium,
            turns: Turns::new(),
        })
    }

    /// Plays a scene; its steps are printed, and a step that fails fails the test.
    pub(crate) fn play(&self, scene: &str, server: &Server) {
        let _turn = self.turns.take();
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let pictures = target.join("panel").join(scene);
        fs::create_dir_all(&pictures).expect("a folder");
        let world = json!({
            "scene": scene,
            "url": server.url,
            "proxy": server.auth,
            "operator": server.operator,
            "feed": server.feed,
            "signer": server.signer,
            "program": BINARY,
            "folder": server.folder.path(),
            "chromium": self.chromium,
            "pictures": pictures,
        });
        let mut script = Command::new("node")
            .arg("play.mjs")
            .current_dir(&self.folder)
            .env("NO_PROXY", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("node runs");
        let mut input = script.stdin.take().expect("it is piped");
        // The credential goes into no argument.
        let written = writeln!(input, "{world}");
        written.expect("the script reads");
        drop(input);
        let output = script.wait_with_output().expect("the script ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (steps, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{scene}:\n{steps}\n{errors}");
        if scene == "first" {
            // How long a first start takes is of interest also when the test passes, of which nothing that
            // is printed is shown.
            let _ = writeln!(std::io::stderr(), "{scene}:\n{steps}");
        } else {
            #[expect(clippy::print_stdout, reason = "the steps are of interest")]
            {
                println!("{steps}");
            }
        }
    }
}

/// One browser per core at a time: each step of a scene has a time limit, and what a scene waits for
/// needs a core.
struct Turns {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Turns {
    fn new() -> Self {
        Self {
            free: Mutex::new(thread::available_parallelism().map_or(1, usize::from)),
            freed: Condvar::new(),
        }
    }

    fn take(&self) -> Turn<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.freed.wait_while(free, |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Turn(self)
    }
}

struct Turn<'a>(&'a Turns);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free += 1;
        self.0.freed.notify_one();
    }
}
