//! Settings that cannot work are refused when the source is built.

use keyfob_replica::{HttpSource, HttpSourceError};

use crate::authority::{Authority, KEY};

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let authority = Authority::new().await;
    let local = || "http://127.0.0.1:1".parse().unwrap();
    let start = || HttpSource::builder(authority.trust());
    assert!(matches!(
        start().key(KEY).build(),
        Err(HttpSourceError::NoUpstream)
    ));
    assert!(matches!(
        start().upstream(local()).build(),
        Err(HttpSourceError::NoKey)
    ));
    for key in ["", "with space", "line\nbreak", "ü"] {
        let error = start().upstream(local()).key(key).build().unwrap_err();
        assert!(matches!(error, HttpSourceError::Key));
        assert!(key.is_empty() || !error.to_string().contains(key));
    }
    for name in ["line\nbreak".to_owned(), "x".repeat(129)] {
        let error = start().upstream(local()).key(KEY).name(name).build();
        assert!(matches!(error, Err(HttpSourceError::Name)));
    }
    let remote = || {
        start()
            .upstream("http://10.0.0.1:80".parse().unwrap())
            .key(KEY)
    };
    assert!(matches!(
        remote().build(),
        Err(HttpSourceError::PlainHttp(_))
    ));
    assert!(remote().allow_plain_http().build().is_ok());
    let tls = || {
        start()
            .upstream("https://keys.example".parse().unwrap())
            .key(KEY)
    };
    let missing = "/nonexistent/file.pem";
    let error = tls().root_certificates(missing).build();
    assert!(matches!(error, Err(HttpSourceError::RootCertificates(_))));
    let folder = tempfile::tempdir().unwrap();
    let source = start()
        .upstream(local())
        .key(KEY)
        .saved_in(folder.path())
        .build();
    let again = start()
        .upstream(local())
        .key(KEY)
        .saved_in(folder.path())
        .build();
    assert!(
        matches!(again, Err(HttpSourceError::Folder(_))),
        "one process at a time"
    );
    drop(source);
    assert!(
        start()
            .upstream(local())
            .key(KEY)
            .saved_in(folder.path())
            .build()
            .is_ok()
    );
}

#[tokio::test]
async fn nothing_that_is_printed_has_the_key() {
    let authority = Authority::new().await;
    let builder = HttpSource::builder(authority.trust())
        .upstream("http://127.0.0.1:1".parse().unwrap())
        .key(KEY);
    assert!(!format!("{builder:?}").contains(KEY));
    assert!(!format!("{:?}", builder.build().unwrap()).contains(KEY));
}
