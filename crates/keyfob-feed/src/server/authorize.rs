//! Who may read the feed, and which part of it.

use std::{fmt, sync::Arc};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header::AUTHORIZATION};
use keyfob::{
    Access, Scopes, Timestamp, Verifier,
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
            still_works: Arc::new(still_works),
        }
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
            verifier,
            operators,
            scope: Scope::new(Self::SCOPE).expect("the scope is valid"),
        }
    }

    fn judge<'v>(
        &self,
        fields: impl IntoIterator<Item = &'v [u8]>,
        now: Timestamp,
    ) -> Result<Filter, StatusCode> {
        let principal = self
            .verifier
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
        match namespace.as_str().strip_prefix("control:") {
            Some(of) if of == team.as_str() => Ok(if *team == self.operators {
                Filter::All
            } else {
                Filter::Team(team.clone())
            }),
            // A namespace of this name in another team opens nothing, as in the control plane.
            Some(_) => Err(StatusCode::FORBIDDEN),
            None => {
                let tenant = keyfob::Tenant::new(team.clone(), namespace.clone());
                Filter::namespaces([tenant]).map_err(|_| StatusCode::FORBIDDEN)
            }
        }
    }
}

impl Authorize for KeyRights {
    fn authorize(&self, headers: &HeaderMap, now: Timestamp) -> Result<ReplicaRight, StatusCode> {
        let fields = headers.get_all(AUTHORIZATION);
        let filter = self.judge(fields.iter().map(HeaderValue::as_bytes), now)?;
        // Exactly one field was verified. A copy of it does not keep the whole request.
        let field = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let field = zeroize::Zeroizing::new(field.unwrap_or_default().to_vec());
        let (judge, right) = (self.clone(), filter.clone());
        Ok(ReplicaRight::new(filter, move |now| {
            // A verifier that cannot decide now says nothing of the key.
            match judge.judge([field.as_slice()], now) {
                Ok(filter) => filter.covers(&right),
                Err(status) => status == StatusCode::SERVICE_UNAVAILABLE,
            }
        }))
    }
}
