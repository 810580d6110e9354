//! What other programs read in a target that the authorizer accepts.

use keyfob_gateway::{Reading, Rules};
use percent_encoding::percent_decode;
use proptest::{prelude::*, sample::select};
use url::Url;

/// The path of a target in origin or absolute form, without its query.
fn path(target: &[u8]) -> &[u8] {
    let path = match target.windows(3).position(|three| three == b"://") {
        Some(at) if !target.starts_with(b"/") => {
            let rest = &target[at + 3..];
            let slash = rest.iter().position(|byte| *byte == b'/');
            &rest[slash.unwrap_or(rest.len())..]
        }
        _ => target,
    };
    path.split(|byte| *byte == b'?').next().unwrap()
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    percent_decode(bytes).collect()
}

/// The segment after `/api/v1/namespaces`, of segments as a program sees them.
fn fourth<S: AsRef<[u8]>>(segments: &[S]) -> Option<Vec<u8>> {
    let segments: Vec<&[u8]> = segments.iter().map(AsRef::as_ref).collect();
    match &segments[..] {
        [b"", b"api", b"v1", b"namespaces", namespace, ..] => Some(namespace.to_vec()),
        _ => None,
    }
}

/// A program that compares raw segments, and decodes the one that it takes.
fn raw(target: &[u8]) -> Option<Vec<u8>> {
    let segments: Vec<&[u8]> = path(target).split(|byte| *byte == b'/').collect();
    fourth(&segments).map(|segment| decoded(&segment))
}

/// A program that reads URLs as browsers do.
fn whatwg(target: &[u8]) -> Option<Vec<u8>> {
    let target = std::str::from_utf8(target).ok()?;
    let base = Url::parse("http://gw.test/").unwrap();
    let url = base.join(target).ok()?;
    let segments = url.path_segments()?;
    let segments: Vec<Vec<u8>> = segments
        .map(|segment| decoded(segment.as_bytes()))
        .collect();
    fourth(&[vec![Vec::new()], segments].concat())
}

/// A router that decodes each segment before it compares.
fn decoding(target: &[u8]) -> Option<Vec<u8>> {
    let segments = path(target).split(|byte| *byte == b'/');
    fourth(&segments.map(decoded).collect::<Vec<_>>())
}

/// A program that decodes the path, and then takes it apart, as Starlette does.
fn decoding_first(target: &[u8]) -> Option<Vec<u8>> {
    let path = decoded(path(target));
    fourth(&path.split(|byte| *byte == b'/').collect::<Vec<_>>())
}

/// The most lenient one: it decodes twice, takes backslashes for slashes, cuts parameters off, merges slashes,
/// follows dots and ignores case.
fn lenient(target: &[u8]) -> Option<Vec<u8>> {
    let text = decoded(&decoded(path(target)));
    let text = text.to_ascii_lowercase();
    let mut segments: Vec<&[u8]> = vec![b""];
    for segment in text.split(|byte| matches!(byte, b'/' | b'\\')) {
        let segment = segment.split(|byte| matches!(byte, b';' | b'?' | b'#' | 0));
        let mut segment = segment;
        let segment = segment.next().unwrap_or_default();
        match segment.trim_ascii() {
            b"" | b"." => {}
            b".." => segments.truncate(segments.len().saturating_sub(1).max(1)),
            _ => segments.push(segment),
        }
    }
    fourth(&segments)
}

/// Parts of targets that programs read differently.
const PARTS: [&str; 48] = [
    "/",
    "/",
    "/",
    "//",
    "orders",
    "other",
    "_",
    "api",
    "v1",
    "namespaces",
    "Namespaces",
    "a",
    "actions",
    ".",
    "..",
    "...",
    "%2e",
    "%2E%2e",
    "%2f",
    "%2F",
    "%5c",
    "\\",
    ";",
    ";x=y",
    "%3b",
    "%25",
    "%252f",
    "%6f",
    "%5F",
    "%40",
    "@",
    "+",
    "%20",
    "%2B",
    "~",
    "%7e",
    "%00",
    "%0d%0a",
    "%c3%a9",
    "%c0%af",
    "%ef%bc%8f",
    "%E2%80%A5",
    "?",
    "?x=/../",
    "#",
    "%3f",
    "%23",
    "é",
];

const STARTS: [&str; 7] = [
    "/api/v1/namespaces/",
    "/api/v1/namespaces/orders",
    "/api/v1/namespaces/orders/",
    "http://gw.test/api/v1/namespaces/",
    "/",
    "",
    "/api/v1",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn a_target_that_is_accepted_is_read_alike_by_every_program(
        start in select(&STARTS[..]),
        parts in prop::collection::vec(select(&PARTS[..]), 0..8),
    ) {
        let target = [start, &parts.concat()].concat();
        let target = target.as_bytes();
        let read = Rules::openwhisk().read(target, Some(b"GET"), None);
        let namespace = match read {
            Reading::Namespace(name) => name,
            Reading::Credential => "_".to_owned(),
            _ => return Ok(()),
        };
        let expected = Some(namespace.clone().into_bytes());
        let is_list = matches!(path(target), b"/api/v1/namespaces" | b"/api/v1/namespaces/");
        for read in [raw, whatwg, decoding, decoding_first] {
            let found = read(target).filter(|name| !name.is_empty());
            if is_list {
                prop_assert_eq!(found, None);
            } else {
                prop_assert_eq!(found, expected.clone());
            }
        }
        // Case matters in the names of namespaces only.
        let found = lenient(target);
        if !is_list {
            prop_assert_eq!(found, Some(namespace.to_ascii_lowercase().into_bytes()));
        }
    }
}
