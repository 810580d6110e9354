use std::sync::Arc;

use axum::{
    body::Bytes,
    http::{HeaderMap, Method, Request, Response, Uri},
};

use crate::{ClientCertificate, Peer};

/// The head of a request, and who sent it.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub uri: &'a Uri,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The sender; none if the request did not come over a [`Server`](crate::Server).
    pub peer: Option<Peer>,
    /// The certificate that the sender showed.
    pub certificate: Option<&'a ClientCertificate>,
}

impl<'a> Head<'a> {
    /// The head of a request with the extensions that a [`Server`](crate::Server) adds.
    pub fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            peer: request.extensions().get().copied(),
            certificate: request.extensions().get(),
            ..Self::bare(request)
        }
    }

    pub(crate) fn bare<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            peer: None,
            certificate: None,
        }
    }
}

/// Answers requests by their heads, before the router is asked: where a router's work is a large part of
/// all. `None` leaves a request to the router.
#[derive(Clone)]
pub(crate) struct AtOnce(Arc<Answer>);

type Answer = dyn Fn(&Head<'_>) -> Option<Response<Bytes>> + Send + Sync;

impl AtOnce {
    pub(crate) fn new(
        answer: impl Fn(&Head<'_>) -> Option<Response<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(answer))
    }

    pub(crate) fn answer(&self, head: &Head<'_>) -> Option<Response<Bytes>> {
        (self.0)(head)
    }
}

impl std::fmt::Debug for AtOnce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtOnce")
    }
}
