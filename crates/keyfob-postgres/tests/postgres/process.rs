//! What this program does when another test starts it as a process.

use keyfob_testkit::process::{Process, told};

use crate::{crashes, migrations, races, server};

#[test]
#[ignore = "other tests start it"]
fn part() {
    let (role, url) = (told("KEYFOB_ROLE"), told("KEYFOB_URL"));
    server::runtime().block_on(async {
        match role.as_str() {
            "burst" => crashes::burst(&url).await,
            "connect" => migrations::connect(&url).await,
            "race" => races::compete(&url).await,
            _ => panic!("no such role: {role}"),
        }
    });
}

/// Starts this program in a role, over the database of this URL.
pub(crate) fn start(role: &str, url: &str) -> Process {
    start_with(role, url, &[])
}

/// The same with more words in its environment. It is ready when this returns.
pub(crate) fn start_with(role: &str, url: &str, words: &[(&str, &str)]) -> Process {
    let words = [&[("KEYFOB_ROLE", role), ("KEYFOB_URL", url)], words].concat();
    let process = Process::start("process::part", &words);
    assert_eq!(process.heard().as_deref(), Some("ready"));
    process
}
