//! What the program leaves on the disk.

use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    program::{GUEST, Program, SUBJECTS, id},
    server::{Server, basic},
};

#[test]
fn no_file_of_the_program_has_a_secret() {
    let program = Program::new();
    program.done(&["namespaces", "create", "orders"]);
    let mut credentials = vec![program.create(&["laptop"]), program.create(&["desk"])];
    for grace in ["1h", "0s"] {
        let rotated = program.done(&["keys", "rotate", id(&credentials[0]), "--grace", grace]);
        credentials.push(rotated.out.trim_end().to_owned());
    }
    let import = ["legacy", "import", "-", "--until", "30d"];
    assert_eq!(program.run_with(&import, SUBJECTS).code, 0);
    credentials.push(GUEST.to_owned());

    // While a server verifies them, and writes their use.
    let server = Server::start(&program, &[]);
    let operator = server.operator.clone().expect("the first start shows one");
    credentials.push(server.create(&operator, "orders", "phone").unwrap());
    credentials.push(operator);
    for credential in &credentials {
        server.send(
            "GET",
            "/auth",
            &["X-Keyfob-Namespace: orders", &basic(credential)],
            "",
        );
    }
    program.done(&["backup", "copy.db"]);
    program.done(&["audit", "export", "--to", "trail.jsonl"]);
    server.stop("-TERM");

    let mut files = 0;
    for file in fs::read_dir(program.folder()).unwrap() {
        let path = file.unwrap().path();
        if !path.is_file() {
            continue;
        }
        files += 1;
        let bytes = fs::read(&path).unwrap();
        for credential in &credentials {
            let (_, secret) = credential.split_once(':').unwrap();
            // The random part, as text and as a part of a header.
            let secret = &secret.as_bytes()[secret.len() - 36..];
            let encoded = STANDARD.encode(secret);
            for needle in [secret, encoded.as_bytes()] {
                let found = bytes.windows(needle.len()).any(|window| window == needle);
                assert!(!found, "{}: a secret of {}", path.display(), id(credential));
            }
        }
    }
    assert!(files >= 3, "store, copy and trail: {files}");
}
