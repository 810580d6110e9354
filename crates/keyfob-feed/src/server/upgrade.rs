//! Streams without HTTP's framing, on a connection that was upgraded (RFC 9110, section 7.8).

use axum::{
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{CONNECTION, UPGRADE},
    },
    response::{IntoResponse, Response},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::stream::Stream;
use crate::UPGRADE_PROTOCOL;

/// Whether a client offers an upgrade to the protocol. A proxy that does not know upgrades may pass on
/// `Upgrade`, but not `Connection`.
pub(crate) fn is_offered(headers: &HeaderMap) -> bool {
    names(headers, &CONNECTION, "upgrade") && names(headers, &UPGRADE, UPGRADE_PROTOCOL)
}

/// Whether a field that is a list has this element.
fn names(headers: &HeaderMap, field: &HeaderName, element: &str) -> bool {
    let fields = headers.get_all(field).iter();
    let fields = fields.filter_map(|field| field.to_str().ok());
    let mut elements = fields.flat_map(|field| field.split(','));
    elements.any(|listed| listed.trim().eq_ignore_ascii_case(element))
}

/// Answers 101, and then writes the stream's lines as they are.
pub(crate) fn answer(stream: Stream, upgrade: OnUpgrade) -> Response {
    tokio::spawn(async move {
        // It fails if the client is gone before the answer was sent.
        if let Ok(upgraded) = upgrade.await {
            send(Box::new(stream), TokioIo::new(upgraded)).await;
        }
    });
    let headers = [
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static(UPGRADE_PROTOCOL)),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// Sends lines until the stream ends or the connection does.
async fn send(mut stream: Box<Stream>, mut connection: impl AsyncRead + AsyncWrite + Unpin) {
    loop {
        let mut byte = [0];
        let line = tokio::select! {
            line = stream.next() => line,
            // The client has nothing to say: it is gone, or breaks the protocol.
            _ = connection.read(&mut byte) => return,
        };
        let Some(line) = line else { break };
        let sent = async {
            connection.write_all(&line.to_sent()).await?;
            connection.flush().await
        };
        if sent.await.is_err() {
            return;
        }
    }
    // Over TLS, this tells that nothing was cut off.
    let _ = connection.shutdown().await;
}
