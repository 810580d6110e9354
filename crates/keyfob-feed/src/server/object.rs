//! The objects of snapshots: immutable, with ranges.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;

use crate::snapshot::ObjectName;

/// Answers a request for an object, or for a range of it (RFC 9110, section 14).
pub(crate) fn answer(name: ObjectName, object: &Bytes, headers: &HeaderMap) -> Response {
    let tag = format!("\"{name}\"");
    let field = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let is_named = |tags: &str| {
        tags.split(',')
            .any(|one| matches!(one.trim(), t if t == tag || t == "*"))
    };
    let mut response = if field(header::IF_NONE_MATCH).is_some_and(is_named) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        // A range of another object is a range of nothing.
        let same = field(header::IF_RANGE).is_none_or(|of| of == tag);
        match field(header::RANGE)
            .filter(|_| same)
            .map(|range| parse(range, object.len()))
        {
            None | Some(Range::Whole) => object.clone().into_response(),
            Some(Range::Part(start, end)) => {
                let part = object.slice(start..end);
                let range = format!("bytes {start}-{}/{}", end - 1, object.len());
                partial(StatusCode::PARTIAL_CONTENT, &range, part)
            }
            Some(Range::Outside) => {
                let range = format!("bytes */{}", object.len());
                partial(StatusCode::RANGE_NOT_SATISFIABLE, &range, Bytes::new())
            }
        }
    };
    let fields = response.headers_mut();
    let kind = HeaderValue::from_static("application/zstd");
    fields.insert(header::CONTENT_TYPE, kind);
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let lasting = HeaderValue::from_static("public, max-age=86400, immutable");
    fields.insert(header::CACHE_CONTROL, lasting);
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        fields.insert(header::ETAG, tag);
    }
    response
}

fn partial(status: StatusCode, range: &str, part: Bytes) -> Response {
    let mut response = (status, part).into_response();
    if let Ok(range) = HeaderValue::from_str(range) {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    response
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// What is no single range of bytes is ignored.
    Whole,
    Part(usize, usize),
    Outside,
}

fn parse(range: &str, length: usize) -> Range {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<usize>().unwrap_or(usize::MAX))
    };
    let Some((start, end)) = range.strip_prefix("bytes=").and_then(|r| r.split_once('-')) else {
        return Range::Whole;
    };
    match (number(start), number(end)) {
        (None, Some(last)) if start.is_empty() => match last.min(length) {
            0 => Range::Outside,
            last => Range::Part(length - last, length),
        },
        (Some(start), None) if end.is_empty() => match start {
            start if start < length => Range::Part(start, length),
            _ => Range::Outside,
        },
        (Some(start), Some(end)) if start <= end => match start {
            start if start < length => Range::Part(start, end.saturating_add(1).min(length)),
            _ => Range::Outside,
        },
        _ => Range::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_range_is_answered_and_others_are_ignored() {
        for (range, expected) in [
            ("bytes=0-0", Range::Part(0, 1)),
            ("bytes=2-", Range::Part(2, 10)),
            ("bytes=2-5", Range::Part(2, 6)),
            ("bytes=2-99999999999999999999999", Range::Part(2, 10)),
            ("bytes=-3", Range::Part(7, 10)),
            ("bytes=-30", Range::Part(0, 10)),
            ("bytes=10-", Range::Outside),
            ("bytes=10-12", Range::Outside),
            ("bytes=-0", Range::Outside),
            ("bytes=5-2", Range::Whole),
            ("bytes=0-1,3-4", Range::Whole),
            ("bytes=-", Range::Whole),
            ("bytes=+1-2", Range::Whole),
            ("lines=0-1", Range::Whole),
        ] {
            assert_eq!(parse(range, 10), expected, "{range}");
        }
    }
}
