//! `keyfob check`, and damaged stores.

use std::fs;

use crate::program::Program;

#[test]
fn a_sound_store_passes() {
    let program = Program::new();
    program.create(&["laptop"]);
    let checked = program.json(&["check"]);
    assert_eq!(checked["file"], true);
    assert_eq!(checked["records"], 2);
    assert!(checked["head"].as_str().unwrap().starts_with("1:"));
    assert_eq!(Program::new().run(&["check"]).code, 5);
}

#[test]
fn a_damaged_file_is_detected_and_not_served() {
    let program = Program::new();
    for number in 0..20 {
        program.create(&[&format!("key-{number}")]);
    }
    let path = program.path("keyfob.db");
    let sound = fs::read(&path).unwrap();
    // Page 1 has the schema, without which the file is not opened.
    for page in (4_096..sound.len()).step_by(4_096) {
        let mut damaged = sound.clone();
        damaged[page..page + 512].fill(0xa5);
        fs::write(&path, damaged).unwrap();
        let ran = program.run(&["check"]);
        assert_ne!(ran.code, 0, "page at {page}: {}", ran.redacted());
        let ran = program.run(&["serve", "--listen", "127.0.0.1:0"]);
        assert!(
            [1, 5].contains(&ran.code),
            "page at {page}: {}",
            ran.redacted()
        );
        assert!(!ran.err.contains("listening"), "page at {page}");
    }
}
