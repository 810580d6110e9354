use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response: the inner service's, or the one of a refusal.
    #[derive(Debug)]
    pub struct GuardedBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProj]
    enum Kind<B> {
        Admitted { #[pin] body: B },
        // None once it was read, or if it is empty.
        Refused { body: Option<Bytes> },
    }
}

impl<B> GuardedBody<B> {
    pub(crate) fn admitted(body: B) -> Self {
        Self {
            kind: Kind::Admitted { body },
        }
    }

    pub(crate) fn refused(body: Bytes) -> Self {
        let body = Some(body).filter(|body| !body.is_empty());
        Self {
            kind: Kind::Refused { body },
        }
    }
}

impl<B> Body for GuardedBody<B>
where
    B: Body<Data: From<Bytes>>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Admitted { body } => body.poll_frame(cx),
            KindProj::Refused { body } => {
                Poll::Ready(body.take().map(|bytes| Ok(Frame::data(bytes.into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Admitted { body } => body.is_end_stream(),
            Kind::Refused { body } => body.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Admitted { body } => body.size_hint(),
            Kind::Refused { body } => {
                SizeHint::with_exact(body.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}
