//! The files that pages need, compiled in.
//!
//! `assets/files.txt` lists them with their hashes; a test compares.

use std::{io::Write as _, sync::LazyLock};

use axum::{
    body::Bytes,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use flate2::{Compression, write::GzEncoder};
use ring::digest::{Context, SHA256};

struct File {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! file {
    ($name:literal, $kind:literal) => {
        File {
            name: $name,
            kind: $kind,
            bytes: include_bytes!(concat!("../assets/", $name)),
        }
    };
}

const FILES: [File; 6] = [
    file!("pico.min.css", "text/css; charset=utf-8"),
    file!("panel.css", "text/css; charset=utf-8"),
    file!("htmx.min.js", "text/javascript; charset=utf-8"),
    file!("hx-csp.min.js", "text/javascript; charset=utf-8"),
    file!("panel.js", "text/javascript; charset=utf-8"),
    file!("icon.svg", "image/svg+xml"),
];

/// The hash over all files, which is in their addresses: they never change under one address.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Context::new(&SHA256);
    for file in &FILES {
        hash.update(file.name.as_bytes());
        hash.update(file.bytes);
    }
    let hash = hash.finish();
    URL_SAFE_NO_PAD.encode(hash.as_ref().get(..12).unwrap_or_default())
});

/// The files, compressed once.
static COMPRESSED: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
    let compress = |file: &File| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let written = encoder.write_all(file.bytes);
        written.and_then(|()| encoder.finish()).unwrap_or_default()
    };
    FILES
        .iter()
        .map(|file| Bytes::from(compress(file)))
        .collect()
});

/// The folder of the files.
pub(crate) fn base() -> String {
    format!("/assets/{}", *VERSION)
}

pub(crate) async fn serve(
    Path((version, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let at = FILES.iter().position(|file| file.name == name);
    let Some((at, file)) = at.and_then(|at| Some((at, FILES.get(at)?))) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if version != *VERSION {
        return StatusCode::NOT_FOUND.into_response();
    }
    let accepts = headers.get(header::ACCEPT_ENCODING);
    let accepts = accepts.and_then(|value| value.to_str().ok());
    let gzip = accepts.is_some_and(|text| {
        text.split(',')
            .any(|coding| coding.trim().eq_ignore_ascii_case("gzip"))
    });
    let compressed = COMPRESSED.get(at).filter(|bytes| gzip && !bytes.is_empty());
    let mut response = match compressed {
        Some(bytes) => bytes.clone().into_response(),
        None => Bytes::from_static(file.bytes).into_response(),
    };
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    fields.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    fields.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if compressed.is_some() {
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

#[cfg(test)]
mod tests {
    use ring::digest::{SHA256, digest};

    use super::*;

    #[test]
    fn the_files_are_those_of_the_list() {
        let list = include_str!("../assets/files.txt");
        for file in &FILES {
            let hash = digest(&SHA256, file.bytes);
            let hex: String = hash
                .as_ref()
                .iter()
                .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
            let line = format!("{hex}  {}", file.name);
            assert!(
                list.lines().any(|listed| listed.starts_with(&line)),
                "assets/files.txt must have: {line}"
            );
        }
        let listed = list.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(listed.count(), FILES.len());
    }
}
