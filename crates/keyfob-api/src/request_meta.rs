//! What every request carries from the start.

use std::time::Duration;

use keyfob::name::RequestId;

/// An extension of every request.
#[derive(Clone, Debug)]
pub(crate) struct RequestMeta {
    pub(crate) request_id: RequestId,
    /// The longest body that is read.
    pub(crate) body_limit: usize,
    /// The longest time in which it must arrive.
    pub(crate) body_timeout: Duration,
}
