//! Who may read the feed, and which part of it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header::AUTHORIZATION};
use keyfob::{
    Access, Scopes, Timestamp, Verifier,
    gateway::UsageSource,
    key::CredentialId,
    name::{Scope, TeamId},
};

use crate::filter::Filter;

/// Decides who may read the feed, and which part of it.
///
/// A function of this signature is one: `Fn(&HeaderMap, Timestamp) -> Result<ReplicaRight, StatusCode>`.
pub trait Authorize: Send + Sync + 'static {
    /// Judges the credential of a request.
    ///
    /// - no valid credential -> [`StatusCode::UNAUTHORIZED`]
    /// - a credential that may not read the feed -> [`StatusCode::FORBIDDEN`]
    /// - it cannot be decided now -> [`StatusCode::SERVICE_UNAVAILABLE`]
    fn authorize(&self, headers: &HeaderMap, now: Timestamp) -> Result<ReplicaRight, StatusCode>;
}

impl<F> Authorize for F
where
    F: Fn(&HeaderMap, Timestamp) -> Result<ReplicaRight, StatusCode> + Send + Sync + 'static,
{
    fn authorize(&self, headers: &HeaderMap, now: Timestamp) -> Result<ReplicaRight, StatusCode> {
        self(headers, now)
    }
}

/// The part of the feed that a credential may read, while it works.
#[derive(Clone)]
pub struct ReplicaRight {
    filter: Filter,
    reporter: Arc<[u8]>,
    still_works: Arc<dyn Fn(Timestamp) -> bool + Send + Sync>,
}

impl ReplicaRight {
    /// Allows what `filter` includes. `still_works` judges the credential again: it is asked at each
    /// bookmark, and the stream ends when it returns `false`.
    pub fn new(
        filter: Filter,
        still_works: impl Fn(Timestamp) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            filter,
            reporter: Arc::default(),
            still_works: Arc::new(still_works),
        }
    }

    /// Names the credential. What is kept of the replicas that report with one credential is bounded;
    /// without a name, all of them count as one.
    #[must_use]
    pub fn of_reporter(mut self, name: impl Into<Arc<[u8]>>) -> Self {
        self.reporter = name.into();
        self
    }

    /// The name of the credential.
    pub(crate) fn reporter(&self) -> &Arc<[u8]> {
        &self.reporter
    }

    /// The name of the credential, if it is one of Keyfob.
    pub(crate) fn credential(&self) -> Option<CredentialId> {
        std::str::from_utf8(&self.reporter).ok()?.parse().ok()
    }

    /// The right of a replica whose report a relay with this right hands on.
    pub(crate) fn of_origin(&self, credential: CredentialId, filter: Filter) -> Self {
        Self {
            filter,
            reporter: credential.to_string().into_bytes().into(),
            still_works: Arc::clone(&self.still_works),
        }
    }

    /// A source of usage that was reported by this right.
    pub(crate) fn source(&self, reported: UsageSource) -> UsageSource {
        reported.in_group(&self.reporter)
    }

    /// The part of the feed.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Whether the credential still works.
    pub fn still_works(&self, now: Timestamp) -> bool {
        (self.still_works)(now)
    }
}

impl fmt::Debug for ReplicaRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaRight")
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

/// [`Authorize`] by Keyfob's own keys, as `Bearer` or `Basic`.
///
/// The key must have the scope `replica` by name: a key with all permissions is no key of a
/// replica.
///
/// | namespace of the key | may read |
/// |---|---|
/// | `control:<operators>` of the operators' team | everything |
/// | `control:<team>` of the team | the team |
/// | any other | the namespace |
///
/// # Security
///
/// While a stream is open, the text of its key is kept in memory, to judge it again.
#[derive(Clone, Debug)]
pub struct KeyRights {
    verifier: Verifier,
    /// The same, without usage: a stream is one use.
    again: Verifier,
    operators: TeamId,
    scope: Scope,
}

impl KeyRights {
    /// The scope that a key must have.
    pub const SCOPE: &str = "replica";

    /// Judges keys with this verifier. `operators` is the operators' team.
    ///
    /// # Panics
    ///
    /// Never: the scope is valid.
    pub fn new(verifier: Verifier, operators: TeamId) -> Self {
        Self {
            again: verifier.clone().without_usage(),
            verifier,
            operators,
            scope: Scope::new(Self::SCOPE).expect("the scope is valid"),
        }
    }

    fn judge<'v>(
        &self,
        verifier: &Verifier,
        fields: impl IntoIterator<Item = &'v [u8]>,
        now: Timestamp,
    ) -> Result<(Filter, CredentialId), StatusCode> {
        let principal = verifier
            .verify_headers(fields, &Access::to_own_namespace(), now)
            .map_err(|denied| {
                StatusCode::from_u16(denied.status()).unwrap_or(StatusCode::UNAUTHORIZED)
            })?;
        let named = match principal.scopes() {
            Scopes::Only(scopes) => scopes.contains(&self.scope),
            _ => false,
        };
        if !named {
            return Err(StatusCode::FORBIDDEN);
        }
        let (team, namespace) = (principal.team(), principal.namespace());
        let filter = match namespace.as_str().strip_prefix("control:") {
            Some(of) if of == team.as_str() => {
                if *team == self.operators {
                    Filter::All
                } else {
                    Filter::Team(team.clone())
                }
            }
            // A namespace of this name in another team opens nothing, as in the control plane.
            Some(_) => return Err(StatusCode::FORBIDDEN),
            None => {
                let tenant = keyfob::Tenant::new(team.clone(), namespace.clone());
                Filter::namespaces([tenant]).map_err(|_| StatusCode::FORBIDDEN)?
            }
        };
        Ok((filter, principal.credential()))
    }
}

impl Authorize for KeyRights {
    fn authorize(&self, headers: &HeaderMap, now: Timestamp) -> Result<ReplicaRight, StatusCode> {
        let fields = headers.get_all(AUTHORIZATION);
        let fields = fields.iter().map(HeaderValue::as_bytes);
        let (filter, credential) = self.judge(&self.verifier, fields, now)?;
        // Exactly one field was verified. A copy of it does not keep the whole request.
        let field = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let field = zeroize::Zeroizing::new(field.unwrap_or_default().to_vec());
        let (judge, right) = (self.clone(), filter.clone());
        let judged = AtomicI64::new(now.as_unix());
        let right = ReplicaRight::new(filter, move |now| {
            let now_seconds = now.as_unix();
            match judge.judge(&judge.again, [field.as_slice()], now) {
                Ok((filter, _)) => {
                    judged.fetch_max(now_seconds, Ordering::Relaxed);
                    filter.covers(&right)
                }
                // A verifier that cannot decide now says nothing of the key; it may have been revoked.
                Err(StatusCode::SERVICE_UNAVAILABLE) => {
                    let last = judged.load(Ordering::Relaxed);
                    now_seconds.saturating_sub(last) <= UNDECIDED_SECONDS
                }
                Err(_) => false,
            }
        });
        Ok(right.of_reporter(credential.to_string().into_bytes()))
    }
}

/// How long after its last judgement a key works that cannot be judged, in seconds.
const UNDECIDED_SECONDS: i64 = 10;
