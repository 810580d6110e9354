//! Lists that are written while they are read.
//!
//! A list may be longer than memory allows, and its reader may be slow or not read at all. So the
//! store is read page by page, and the next page only when the one before was sent. A page shows
//! its items as they are when it is read; what is created meanwhile comes last, and nothing is left
//! out or repeated.

use std::fmt;

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::stream::try_unfold;
use serde::Serialize;

use crate::refusal::Refusal;

/// The size of the pages of a list that is written as a whole.
pub(crate) const PAGE: usize = 200;

/// Something that is written in parts.
pub(crate) trait Parts: Send + 'static {
    /// Appends the next part; returns whether there is another.
    fn next(&mut self, out: &mut Text) -> impl Future<Output = Result<bool, Refusal>> + Send;
}

/// JSON text.
#[derive(Default)]
pub(crate) struct Text {
    bytes: Vec<u8>,
    /// Whether the list that is written has an item.
    started: bool,
}

impl Text {
    /// Appends text as it is.
    pub(crate) fn raw(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Appends a value.
    pub(crate) fn value(&mut self, value: &impl Serialize) -> Result<(), Refusal> {
        serde_json::to_writer(&mut self.bytes, value).map_err(|_| Refusal::SERVER_ERROR)
    }

    /// Begins a list.
    pub(crate) fn begin(&mut self) {
        self.raw("[");
        self.started = false;
    }

    /// Appends an item to the list that was begun, with a comma if it is not the first.
    pub(crate) fn item(&mut self, value: &impl Serialize) -> Result<(), Refusal> {
        self.separate();
        self.value(value)
    }

    pub(crate) fn separate(&mut self) {
        if std::mem::replace(&mut self.started, true) {
            self.raw(",");
        }
    }

    fn take(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.bytes))
    }
}

/// Answers with parts. The first one is read before the answer begins: if that fails, the request is
/// refused. A later failure breaks the connection off, so that nobody takes the list for whole.
pub(crate) async fn answer(mut parts: impl Parts) -> Result<Response, Refusal> {
    let mut text = Text::default();
    let more = parts.next(&mut text).await?;
    let first = text.take();
    let body = if more {
        let rest = (Some(first), Some((parts, text)));
        Body::from_stream(try_unfold(rest, |(first, rest)| async {
            if let Some(first) = first {
                return Ok(Some((first, (None, rest))));
            }
            let Some((mut parts, mut text)) = rest else {
                return Ok(None);
            };
            let Ok(more) = parts.next(&mut text).await else {
                tracing::error!("a list was broken off: its next part could not be read");
                return Err(BrokenOff);
            };
            let bytes = text.take();
            Ok(Some((bytes, (None, more.then_some((parts, text))))))
        }))
    } else {
        Body::from(first)
    };
    let kind = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

/// A part of a list could not be read.
#[derive(Debug)]
struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the list was broken off")
    }
}

impl std::error::Error for BrokenOff {}
