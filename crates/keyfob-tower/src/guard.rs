use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, request::Parts};
use keyfob::{
    Denied, Principal, Timestamp, Verifier,
    name::{NameError, NamespaceId},
};

use crate::{
    layer::GuardLayer,
    namespace::Source,
    refusal::Refusal,
    response::{default_response, seconds},
};

/// The settings that protected routes share, and the constructors of their layers.
///
/// Each `namespace…` method makes a [`GuardLayer`] that protects one namespace, or the one that
/// each request names.
///
/// # Examples
///
/// ```
/// use keyfob::{Keyring, MemoryStore, block_on};
/// use keyfob_tower::Guard;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keyring = block_on(Keyring::open(MemoryStore::new(), "acme"))?;
/// let guard = Guard::new(keyring.verifier()).with_realm("acme functions");
///
/// let orders = guard.namespace("orders");
/// let invoices = guard.namespace("billing").requiring(["invoices:read"]);
/// let functions = guard.namespace_in_path("/api/v1/namespaces/{namespace}");
/// # let _ = (orders, invoices, functions);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Guard {
    pub(crate) verifier: Verifier,
    pub(crate) clock: Arc<Clock>,
    pub(crate) respond: Arc<Respond>,
    pub(crate) throttle: Option<Arc<Throttle>>,
    pub(crate) pauses: Option<Arc<Pauses>>,
    pub(crate) challenges: [HeaderValue; 2],
    pub(crate) retry_after: HeaderValue,
    pub(crate) grpc_http_200: bool,
}

pub(crate) type Clock = dyn Fn() -> Timestamp + Send + Sync;
pub(crate) type Respond = dyn Fn(&Refusal) -> Response<Bytes> + Send + Sync;
pub(crate) type Pauses = dyn Fn() -> Option<u64> + Send + Sync;
pub(crate) type Throttle =
    dyn Fn(&Parts, Result<&Principal<'_>, &Denied>) -> Option<Duration> + Send + Sync;

impl Guard {
    /// A guard with the realm `keyfob`, the system's clock, JSON bodies and no throttle.
    ///
    /// To record usage, give it a verifier made by [`Verifier::with_usage`].
    pub fn new(verifier: Verifier) -> Self {
        Self {
            verifier,
            clock: Arc::new(keyfob::now),
            respond: Arc::new(default_response),
            throttle: None,
            pauses: None,
            challenges: challenges("keyfob"),
            retry_after: seconds(Duration::from_secs(1)),
            grpc_http_200: false,
        }
    }

    /// Names this realm in the challenges of 401 responses (RFC 9110, section 11.5).
    ///
    /// # Panics
    ///
    /// If the realm has a character that is not printable ASCII.
    #[track_caller]
    pub fn with_realm(mut self, realm: &str) -> Self {
        self.challenges = challenges(realm);
        self
    }

    /// Reads the time of each request from this clock in place of [`keyfob::now`].
    pub fn with_clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Refuses requests with 503 after a pause of the process (`SIGSTOP`, a frozen machine) until what was
    /// revoked meanwhile is known.
    ///
    /// The function returns a number that changes with each pause, or `None` while requests cannot be decided:
    /// `Pauses::current` of `keyfob_replica::Replica::pauses`. It is called before and after each decision.
    ///
    /// # Security
    ///
    /// Requests that arrived before or during a pause wait for its end. Without this, a pause that is shorter
    /// than the verifier's bound on staleness lets them pass with a key that was revoked during the pause.
    pub fn with_pauses(
        mut self,
        current: impl Fn() -> Option<u64> + Send + Sync + 'static,
    ) -> Self {
        self.pauses = Some(Arc::new(current));
        self
    }

    /// A number that changes with each pause of the process.
    pub(crate) fn pause(&self) -> Result<u64, Refusal> {
        match &self.pauses {
            Some(current) => current().ok_or(Refusal::Paused),
            None => Ok(0),
        }
    }

    /// Makes the responses to refused requests with this function: their body, and headers of the
    /// embedder's. It is not used for gRPC calls, whose refusals have no body.
    ///
    /// The guard then sets the status and the headers that belong to it (`WWW-Authenticate`,
    /// `Retry-After`, `Cache-Control`), and puts the [`Refusal`] into the response's extensions.
    ///
    /// # Security
    ///
    /// Write no more into the body than [`Refusal::status`] tells: the reason helps those who
    /// guess keys.
    ///
    /// # Examples
    ///
    /// ```
    /// # use keyfob::{Keyring, MemoryStore, block_on};
    /// # let keyring = block_on(Keyring::open(MemoryStore::new(), "acme")).unwrap();
    /// use http::{Response, header::CONTENT_TYPE};
    ///
    /// let guard = keyfob_tower::Guard::new(keyring.verifier()).with_response(|refusal| {
    ///     let mut response = Response::new(format!("refused: {}\n", refusal.status()));
    ///     let plain = http::HeaderValue::from_static("text/plain");
    ///     response.headers_mut().insert(CONTENT_TYPE, plain);
    ///     response
    /// });
    /// # let _ = guard;
    /// ```
    pub fn with_response<B: Into<Bytes>>(
        mut self,
        respond: impl Fn(&Refusal) -> Response<B> + Send + Sync + 'static,
    ) -> Self {
        self.respond = Arc::new(move |refusal| respond(refusal).map(Into::into));
        self
    }

    /// Asks this function after each decision whether the client called too often; if it returns
    /// a time, the response is 429 with that time as `Retry-After`.
    ///
    /// It is given the request's head without its `Authorization` fields, and who called or why
    /// they were refused. It is not asked about requests that are answered with 400, 404 or 503.
    ///
    /// # Security
    ///
    /// To limit guessing, count refused credentials only (status 401), by client address: a
    /// client that guesses then cannot lock out others, and a valid key always works.
    ///
    /// # Examples
    ///
    /// ```
    /// # use keyfob::{Keyring, MemoryStore, block_on};
    /// # let keyring = block_on(Keyring::open(MemoryStore::new(), "acme")).unwrap();
    /// use std::{sync::atomic::{AtomicU32, Ordering}, time::Duration};
    ///
    /// // One counter for all clients, never reset: a real one has a window and knows addresses.
    /// let failures = AtomicU32::new(0);
    /// let guard = keyfob_tower::Guard::new(keyring.verifier()).with_throttle(
    ///     move |_parts, outcome| match outcome {
    ///         Err(denied) if denied.status() == 401 => (failures.fetch_add(1, Ordering::Relaxed)
    ///             >= 100)
    ///             .then_some(Duration::from_secs(30)),
    ///         _ => None,
    ///     },
    /// );
    /// # let _ = guard;
    /// ```
    pub fn with_throttle(
        mut self,
        throttle: impl Fn(&Parts, Result<&Principal<'_>, &Denied>) -> Option<Duration>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.throttle = Some(Arc::new(throttle));
        self
    }

    /// Sends this time as `Retry-After` with 503 responses, rounded up to seconds. The default is
    /// one second.
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = seconds(wait);
        self
    }

    /// Gives refused gRPC calls the HTTP status 200, as the protocol of gRPC has it.
    ///
    /// A gRPC call is a request with the content type `application/grpc`. With and without this
    /// setting it is refused in the form of gRPC: no body, and `grpc-status` 16, 7, 3, 5, 8 or 14
    /// for 401, 403, 400, 404, 429 or 503. Clients prefer that code to the HTTP status;
    /// proxies and their metrics may want the 200.
    ///
    /// # Security
    ///
    /// Do not use it for a service that a proxy asks whether a request may pass (`auth_request`,
    /// `forward_auth`, `ext_authz` over HTTP). Such a proxy passes the client's content type on,
    /// and lets the request pass on status 200.
    pub fn with_grpc_http_200(mut self) -> Self {
        self.grpc_http_200 = true;
        self
    }

    /// Protects this namespace.
    ///
    /// # Panics
    ///
    /// If the text is not a namespace's name. A name from a configuration file is better parsed
    /// by [`NamespaceId::new`] first, whose result is taken as well.
    #[track_caller]
    pub fn namespace(
        &self,
        namespace: impl TryInto<NamespaceId, Error: Into<NameError>>,
    ) -> GuardLayer {
        match namespace.try_into() {
            Ok(namespace) => GuardLayer::new(self.clone(), Source::Fixed(namespace)),
            Err(error) => panic!("{}", error.into()),
        }
    }

    /// Lets every valid key in, for the namespace that it opens: the handler must act in the
    /// namespace of the [`Caller`](crate::Caller), and in no other.
    pub fn namespace_of_credential(&self) -> GuardLayer {
        GuardLayer::new(self.clone(), Source::Credential)
    }

    /// Protects the namespace that the path names, as in `/api/v1/namespaces/{namespace}`.
    ///
    /// The pattern is the beginning of the path. Each `{…}` stands for one segment that is not
    /// empty, the one called `{namespace}` for the namespace, percent-decoded. What follows in the
    /// path is free. The path is the one that the layer sees: in a router that axum's `nest` put
    /// under a prefix, it lacks that prefix.
    ///
    /// - the path does not begin like the pattern -> 404
    /// - the path can be read in two ways, or the segment is not a namespace's name -> 400
    ///
    /// # Security
    ///
    /// A path that is not a [`CanonicalPath`](crate::CanonicalPath) is refused with 400, and so is one
    /// that differs from the pattern in its case or its encoding only. The segment of the namespace has no
    /// plus sign, and no encoded `?` and `#` either. So no other program on the way can
    /// take the request to be for another namespace, if it normalises the path.
    ///
    /// # Panics
    ///
    /// If the pattern does not begin with `/`, does not have `{namespace}` once, or has a segment
    /// that no path can match.
    #[track_caller]
    pub fn namespace_in_path(&self, pattern: &str) -> GuardLayer {
        GuardLayer::new(self.clone(), Source::path(pattern))
    }

    /// Protects the namespace that is the first label of the host name under this domain: with
    /// `functions.example`, `orders.functions.example` names `orders`.
    ///
    /// The host is the request target's authority, else the `Host` field; forwarded headers are
    /// not read. Host names have no case: the namespace is the label in lower case.
    ///
    /// - the host is not one label under the domain -> 404
    /// - there is no host, there are two different ones, or the label has other characters than
    ///   letters, digits and hyphens -> 400
    ///
    /// # Panics
    ///
    /// If the domain is not made of labels of lower-case letters, digits and hyphens.
    #[track_caller]
    pub fn namespace_in_host(&self, domain: &str) -> GuardLayer {
        GuardLayer::new(self.clone(), Source::host(domain))
    }

    /// Protects the namespace that this function reads from the request's head, which has no
    /// `Authorization` fields any more.
    ///
    /// - the function returns `None` -> 404
    /// - it returns what is not a namespace's name -> 400
    ///
    /// # Security
    ///
    /// The function must read what the handler acts on. A header that the client sets names the
    /// namespace that the client wants, which is right only if the handler acts by the same
    /// header, or by [`Caller`](crate::Caller).
    pub fn namespace_with<N: AsRef<str>>(
        &self,
        read: impl Fn(&Parts) -> Option<N> + Send + Sync + 'static,
    ) -> GuardLayer {
        let read = move |parts: &Parts| read(parts).map(|name| name.as_ref().to_owned());
        GuardLayer::new(self.clone(), Source::Function(Arc::new(read)))
    }
}

/// Neither keys nor functions are shown.
impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("challenges", &self.challenges)
            .field("retry_after", &self.retry_after)
            .field("throttle", &self.throttle.is_some())
            .field("pauses", &self.pauses.is_some())
            .field("grpc_http_200", &self.grpc_http_200)
            .finish_non_exhaustive()
    }
}

/// A challenge for each scheme (RFC 7617, section 2; RFC 6750, section 3).
#[track_caller]
fn challenges(realm: &str) -> [HeaderValue; 2] {
    assert!(
        realm.bytes().all(|byte| matches!(byte, b' '..=b'~')),
        "the realm has a character that is not printable ASCII"
    );
    let quoted = if realm.contains(['"', '\\']) {
        Cow::Owned(realm.replace('\\', r"\\").replace('"', "\\\""))
    } else {
        Cow::Borrowed(realm)
    };
    ["Basic", "Bearer"].map(|scheme| {
        HeaderValue::try_from(format!(r#"{scheme} realm="{quoted}""#))
            .expect("printable ASCII is a header's value")
    })
}
