//! The socket of a connection, with the limits that it has as long as it is open.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
};
use tokio_io_timeout::TimeoutStream;

use crate::room::Place;

/// A socket that keeps its place, and ends if a write makes no progress. After an upgrade to another
/// protocol, a task that is not one of the server reads and writes it: then it also ends with the server.
///
/// One task at a time reads and writes it.
pub(crate) struct Socket<S> {
    stream: Pin<Box<TimeoutStream<S>>>,
    upgraded: Upgraded,
    /// Closes when connections are to end.
    open: watch::Receiver<()>,
    /// Waits for that.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    has_ended: bool,
    _place: Place,
}

/// Whether a connection was upgraded to another protocol.
#[derive(Clone, Default)]
pub(crate) struct Upgraded(Arc<AtomicBool>);

impl Upgraded {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl<S> Socket<S>
where
    S: AsyncRead + AsyncWrite,
{
    pub(crate) fn new(
        stream: S,
        write_timeout: Duration,
        open: watch::Receiver<()>,
        place: Place,
    ) -> Self {
        // A client that does not read keeps its connection and what was written for it.
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(write_timeout));
        Self {
            stream: Box::pin(stream),
            upgraded: Upgraded::default(),
            open,
            end: None,
            has_ended: false,
            _place: place,
        }
    }

    /// Ends the connection if nothing is read for this long.
    #[cfg(feature = "http2")]
    pub(crate) fn set_read_timeout(&mut self, timeout: Duration) {
        let stream = self.stream.as_mut();
        stream.set_read_timeout_pinned(Some(timeout));
    }

    pub(crate) fn upgraded(&self) -> Upgraded {
        self.upgraded.clone()
    }

    /// The stream, unless the connection is to end.
    fn stream(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut TimeoutStream<S>>> {
        if self.upgraded.is_set() && !self.has_ended {
            let end = self.end.get_or_insert_with(|| {
                let mut open = self.open.clone();
                // Nothing is sent; the channel closes.
                async move { while open.changed().await.is_ok() {} }.boxed()
            });
            self.has_ended = end.as_mut().poll(cx).is_ready();
        }
        if self.has_ended {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(self.stream.as_mut())
    }
}

impl<S> AsyncRead for Socket<S>
where
    S: AsyncRead + AsyncWrite,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream(cx)?.poll_read(cx, buffer)
    }
}

impl<S> AsyncWrite for Socket<S>
where
    S: AsyncRead + AsyncWrite,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream(cx)?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(cx)?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream(cx)?.poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
