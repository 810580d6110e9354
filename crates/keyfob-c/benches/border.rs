//! What a verification costs through the C interface, compared with the library's own:
//! `cargo bench -p keyfob-c`.
//!
//! Both follow the same feed with 1,000 keys. The cases are measured in turns in one run, and the median
//! of the rounds is reported. `-- --quick` measures fewer rounds, `-- --write README.md` writes the table
//! between the marks of the file.

#![expect(unsafe_code, reason = "it calls the functions as C does")]

#[path = "../tests/support/fed.rs"]
mod fed;

use std::{
    env,
    fmt::Write as _,
    fs,
    hint::black_box,
    ptr,
    time::{Duration, Instant},
};

use keyfob::{Access, NewKey, Verifier};
use keyfob_c::{
    KeyfobIdentity, KeyfobQuestion, KeyfobReplica, KeyfobResult, KeyfobVerdict, KeyfobView,
    keyfob_close, keyfob_open, keyfob_options_free, keyfob_options_new, keyfob_options_set,
    keyfob_verify, keyfob_wait_ready,
};
use keyfob_feed::Trust;
use keyfob_replica::{Follower, HttpSource};
use keyfob_testkit::figures;

use fed::Fed;

const KEYS: u32 = 1_000;

fn main() {
    let rounds = if env::args().any(|argument| argument == "--quick") {
        50
    } else {
        2_000
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let file = folder.path().join("key");
    fs::write(&file, "not-a-key\n").expect("the folder can be written to");
    let file = file.to_str().expect("it is UTF-8");
    let (fed, headers) = runtime.block_on(async {
        let fed = Fed::new().await;
        let mut headers = Vec::new();
        for number in 0..KEYS {
            let owner = format!("user-{}", number / 100);
            let new = NewKey::for_user("acme", "orders", &owner, &format!("key-{number}"));
            let key = fed.create(new.expect("the names are valid")).await;
            headers.push(format!("Bearer {}", key.secret.expose()));
        }
        (fed, headers)
    });
    let own = runtime.block_on(async {
        let signer = fed.signer.parse().expect("it is a key");
        let source = HttpSource::builder(Trust::pinned([signer]).expect("there is one"))
            .upstream(fed.upstream.parse().expect("it is a URL"))
            .key_file(file)
            .build()
            .expect("the settings are sound");
        Follower::from_source(source, "acme")
            .start()
            .await
            .expect("the feed can be read")
    });
    let verifier = own.verifier();
    let replica = open(&[
        ("upstream", &fed.upstream),
        ("signers", &fed.signer),
        ("credential_file", file),
    ]);

    let mut cases: [(&str, Case<'_>, Vec<Duration>); 5] = [
        ("library, time given", Case::Library(&verifier), Vec::new()),
        (
            "library, reads the time",
            Case::Clock(&verifier),
            Vec::new(),
        ),
        ("C interface", Case::C(replica), Vec::new()),
        (
            "C interface, with the identity",
            Case::Identity(replica),
            Vec::new(),
        ),
        (
            "library, time given, measured once more",
            Case::Library(&verifier),
            Vec::new(),
        ),
    ];
    for _ in 0..rounds {
        for (_, case, times) in &mut cases {
            times.push(case.measure(&headers));
        }
    }
    let mut table =
        format!("| one thread, {KEYS} keys, a valid `Bearer` header | ns |\n|---|---:|\n");
    for (name, _, times) in &mut cases {
        times.sort();
        let each = times[times.len() / 2].as_secs_f64() * 1e9 / f64::from(KEYS);
        let _ = writeln!(table, "| {name} | {each:.1} |");
    }
    figures::show("border", &table);
    // SAFETY: nobody uses it any more.
    unsafe { keyfob_close(replica) };
}

fn open(options: &[(&str, &str)]) -> *mut KeyfobReplica {
    let view = |text: &str| KeyfobView {
        data: text.as_ptr().cast(),
        length: text.len(),
    };
    let made = keyfob_options_new();
    let mut replica = ptr::null_mut();
    // SAFETY: the texts live as long as the calls; the pointers are of the functions before.
    unsafe {
        for (name, value) in options {
            let set = keyfob_options_set(made, view(name), view(value), ptr::null_mut(), 0);
            assert_eq!(set, KeyfobResult::KeyfobOk);
        }
        let opened = keyfob_open(made, &raw mut replica, ptr::null_mut(), 0);
        assert_eq!(opened, KeyfobResult::KeyfobOk);
        keyfob_options_free(made);
        assert_eq!(keyfob_wait_ready(replica, 10_000), KeyfobResult::KeyfobOk);
    }
    replica
}

enum Case<'a> {
    Library(&'a Verifier),
    Clock(&'a Verifier),
    C(*const KeyfobReplica),
    Identity(*const KeyfobReplica),
}

impl Case<'_> {
    /// Verifies each header once, and returns how long all took.
    fn measure(&self, headers: &[String]) -> Duration {
        let now = keyfob::now();
        let access = Access::to("orders");
        let mut verdict = KeyfobVerdict {
            size: size_of::<KeyfobVerdict>(),
            status: 0,
            flags: 0,
            expires_at: 0,
            reason: EMPTY,
            namespace_id: EMPTY,
            team_id: EMPTY,
            credential: [0; keyfob_c::KEYFOB_CREDENTIAL_SIZE],
        };
        let mut identity = KeyfobIdentity {
            size: size_of::<KeyfobIdentity>(),
            kind: keyfob_c::KeyfobKind::KeyfobNone,
            owner_length: 0,
            scopes_length: 0,
            owner: [0; keyfob_c::KEYFOB_OWNER_SIZE],
            scopes: [0; keyfob_c::KEYFOB_SCOPES_SIZE],
        };
        let start = Instant::now();
        for header in headers {
            let header = black_box(header.as_bytes());
            match self {
                Self::Library(verifier) => {
                    let answer = verifier.verify_headers([header], black_box(&access), now);
                    assert!(black_box(answer).is_ok());
                }
                Self::Clock(verifier) => {
                    let now = keyfob::now();
                    let answer = verifier.verify_headers([header], black_box(&access), now);
                    assert!(black_box(answer).is_ok());
                }
                Self::C(replica) => ask(*replica, header, &mut verdict, ptr::null_mut()),
                Self::Identity(replica) => {
                    ask(*replica, header, &mut verdict, &raw mut identity);
                }
            }
        }
        start.elapsed()
    }
}

const EMPTY: KeyfobView = KeyfobView {
    data: ptr::null(),
    length: 0,
};

fn ask(
    replica: *const KeyfobReplica,
    header: &[u8],
    verdict: &mut KeyfobVerdict,
    identity: *mut KeyfobIdentity,
) {
    let field = KeyfobView {
        data: header.as_ptr().cast(),
        length: header.len(),
    };
    let question = KeyfobQuestion {
        size: size_of::<KeyfobQuestion>(),
        authorization: &raw const field,
        authorization_count: 1,
        namespace_id: KeyfobView {
            data: c"orders".as_ptr(),
            length: 6,
        },
        own_namespace: 0,
        scopes: ptr::null(),
        scopes_count: 0,
    };
    // SAFETY: the pointers are of what lives here, or of `keyfob_open`.
    let result =
        unsafe { keyfob_verify(replica, black_box(&raw const question), verdict, identity) };
    assert_eq!(result, KeyfobResult::KeyfobOk);
    black_box(verdict);
}
