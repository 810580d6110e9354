//! What a gateway has of the keys: neither its memory nor its files have a name, a label, a reason or a secret.
#![cfg(target_os = "linux")]

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use keyfob_testkit::peer::missing;

use crate::{
    gateway::Authority,
    program::{Program, id},
    server::Server,
};

/// Words that nothing else has.
const NAME: &str = "laptop-of-zorblatt";
const LABEL: &str = "quibbleford";
const LABELS: &str = "desk=quibbleford";
const REASON: &str = "left for wexmoor";
/// What a gateway does have: the owner, for the principal.
const OWNER: &str = "marmaduke";
/// The owner of the last key, and its name.
const LAST: &str = "thistledown";

#[test]
fn neither_the_memory_nor_the_files_of_a_gateway_have_a_name_a_label_a_reason_or_a_secret() {
    let authority = Authority::new();
    let place = ["--owner", OWNER, "--label", LABELS];
    let key = authority.program.create(&[&[NAME][..], &place].concat());
    let ended = authority
        .program
        .create(&[&["ended-of-zorblatt"][..], &place].concat());
    let revoke = ["keys", "revoke", id(&ended), "--reason", REASON];
    authority.program.done(&revoke);
    let all = authority.replica_key("operators", "control:operators");
    let server = authority.serve();
    let elsewhere = Program::bare();
    let gateway = authority.gateway(&elsewhere, &all, &["--state", "state"]);
    gateway.await_ready();
    // Another one, which arrives as a frame, and the reason too.
    let later = authority
        .program
        .create(&[&["later-of-zorblatt"][..], &place].concat());
    authority
        .program
        .done(&["keys", "revoke", id(&later), "--reason", REASON]);
    authority.program.create(&[LAST, "--owner", LAST]);
    // No call has shown a secret to it before its memory is read.
    let mut sought: Vec<&str> = vec!["zorblatt", LABEL, REASON];
    let secrets = [&key, &ended, &later].map(|key| key.split_once(':').unwrap().1);
    sought.extend(secrets);
    let log = elsewhere.path("state").join("feed.log");
    await_text(&log, LAST);
    if let Some(memory) = memory(&gateway) {
        assert_none("memory", &memory, &sought);
        assert!(contains(&memory, OWNER), "the memory can be searched");
    }

    let (mut logs, mut objects) = (0, 0);
    for entry in fs::read_dir(elsewhere.path("state")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if path.extension().is_some_and(|extension| extension == "zst") {
            bytes = zstd::decode_all(&*bytes).unwrap();
            objects += usize::from(contains(&bytes, OWNER));
        } else if path == log {
            logs += usize::from(contains(&bytes, OWNER));
        }
        assert_none(&path.display().to_string(), &bytes, &sought);
    }
    assert_eq!((logs, objects), (1, 1), "both can be searched");
    drop(server);
}

fn await_text(file: &Path, text: &str) {
    let start = std::time::Instant::now();
    while !fs::read(file).is_ok_and(|bytes| contains(&bytes, text)) {
        assert!(start.elapsed() < crate::server::PATIENCE);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn assert_none(place: &str, bytes: &[u8], sought: &[&str]) {
    for (n, text) in sought.iter().enumerate() {
        // The text may be a secret.
        assert!(!contains(bytes, text), "{place}: the text {n} was found");
    }
}

fn contains(bytes: &[u8], part: &str) -> bool {
    let part = regex::escape(part);
    regex::bytes::Regex::new(&part).unwrap().is_match(bytes)
}

/// What a process can write of its memory. Only root can read that of a program that hides it.
fn memory(process: &Server) -> Option<Vec<u8>> {
    let pid = process.pid();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"));
    let file = File::open(format!("/proc/{pid}/mem"));
    let (maps, mut file) = match (maps, file) {
        (Ok(maps), Ok(file)) => (maps, file),
        (maps, file) => {
            let (maps, file) = (maps.err(), file.err());
            missing(&format!(
                "only root reads a gateway's memory: {maps:?} {file:?}"
            ));
            return None;
        }
    };
    let mut memory = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else {
            continue;
        };
        let is_special = line.contains("[v");
        if !rights.starts_with("rw") || is_special {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        read(&mut file, from, to, &mut memory).unwrap();
    }
    Some(memory)
}

/// Reads a range page by page: some may be gone by now.
fn read(file: &mut File, from: u64, to: u64, memory: &mut Vec<u8>) -> io::Result<()> {
    const PIECE: usize = 1 << 16;
    let mut piece = vec![0; PIECE];
    let mut at = from;
    while at < to {
        let length = PIECE.min(usize::try_from(to - at).unwrap_or(PIECE));
        file.seek(SeekFrom::Start(at))?;
        match file.read(&mut piece[..length]) {
            Ok(0) | Err(_) => at += length as u64,
            Ok(read) => {
                memory.extend_from_slice(&piece[..read]);
                at += read as u64;
            }
        }
    }
    Ok(())
}
