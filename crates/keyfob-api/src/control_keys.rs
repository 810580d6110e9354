//! Control keys: the keys that open the control plane.

use axum::http::{HeaderValue, header::AUTHORIZATION, request::Parts};
use keyfob::{
    Access, Context, Expiry, Keyring, NewKey, Owner, Scopes, Tenant, Timestamp, Verifier,
    manage::{self, CreatedKey, TooManyScopes},
    name::{KeyName, NameError, NamespaceId, Scope, TeamId},
};

use crate::{
    authenticate::{Authenticate, Authentication, Unauthenticated},
    caller::{Caller, Right, Rights},
};

/// [`Authenticate`] by Keyfob's own keys: a control key is a key of the namespace `control:<team>` of
/// the team, and its scopes are its [`Rights`].
///
/// A control key belongs to a person or service of the team: removing the owner revokes it.
///
/// # Security
///
/// Only `Bearer` is accepted. A browser sends Basic credentials that it was once asked for by itself, also
/// with requests that another site's page makes.
///
/// A key opens the control plane only if its namespace is named after its own team: a namespace of
/// this name in another team opens nothing.
#[derive(Clone, Debug)]
pub struct ControlKeys {
    verifier: Verifier,
}

impl ControlKeys {
    /// Authenticates keys with this verifier.
    pub fn new(verifier: Verifier) -> Self {
        Self { verifier }
    }

    fn decide(&self, request: &Parts, now: Timestamp) -> Result<Caller, Unauthenticated> {
        let fields = request.headers.get_all(AUTHORIZATION);
        if fields.iter().any(|field| !is_bearer(field)) {
            return Err(Unauthenticated::Refused("not_bearer"));
        }
        let principal = self
            .verifier
            .verify_headers(
                fields.iter().map(HeaderValue::as_bytes),
                &Access::to_own_namespace(),
                now,
            )
            .map_err(|denied| match denied.status() {
                503 => Unauthenticated::Unavailable(denied.reason().as_str()),
                _ => Unauthenticated::Refused(denied.reason().as_str()),
            })?;
        let team = controlled_team(principal.namespace());
        if principal.owner().is_none() || team != Some(principal.team().as_str()) {
            return Err(Unauthenticated::Forbidden("no_control_key"));
        }
        let team = principal.team().clone();
        let rights = Rights::of(&principal.scopes());
        let context = principal.context(now);
        let expires_at = principal.expires_at();
        Ok(Caller::new(context.actor, team, rights)
            .with_authority(context.authority)
            .with_expiry(expires_at))
    }
}

/// Whether a field holds a bearer token.
fn is_bearer(field: &HeaderValue) -> bool {
    const SCHEME: &[u8] = b"bearer ";
    let start = field.as_bytes().get(..SCHEME.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
}

impl Authenticate for ControlKeys {
    fn authenticate<'a>(&'a self, request: &'a Parts, now: Timestamp) -> Authentication<'a> {
        Box::pin(std::future::ready(self.decide(request, now)))
    }
}

/// The namespace of a team's control keys, `control:<team>`.
///
/// # Errors
///
/// The team's name is too long for it, or has a `/`.
pub fn control_namespace(team: &TeamId) -> Result<NamespaceId, NameError> {
    NamespaceId::new(&format!("{PREFIX}{team}"))
}

/// The team whose control keys a namespace holds, if it is such a namespace.
pub(crate) fn controlled_team(namespace: &NamespaceId) -> Option<&str> {
    namespace.as_str().strip_prefix(PREFIX)
}

/// Whether a namespace is that of its team's control keys.
pub(crate) fn is_control(tenant: &Tenant) -> bool {
    controlled_team(&tenant.namespace).is_some()
}

const PREFIX: &str = "control:";

/// Creates a control key without an authenticated caller: the first one of an installation, which
/// then creates others.
///
/// # Errors
///
/// [`FirstCredentialError`], for example if a key named `first credential` exists already.
pub async fn first_credential(
    keyring: &Keyring,
    context: &Context,
    team: TeamId,
    owner: Owner,
    right: Right,
    expiry: Expiry,
) -> Result<CreatedKey, FirstCredentialError> {
    let namespace = control_namespace(&team)?;
    let new = NewKey::new(
        Tenant::new(team, namespace),
        owner,
        KeyName::new("first credential")?,
    )
    .with_scopes(Scopes::only([Scope::new(right.as_str())?])?)
    .with_expiry(expiry);
    Ok(keyring.create(context, new).await?)
}

/// The first credential was not created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FirstCredentialError {
    /// The team's name makes no name of a namespace.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The scope was refused.
    #[error(transparent)]
    Scopes(#[from] TooManyScopes),
    /// The store or the policy refused the key.
    #[error(transparent)]
    Keyring(#[from] manage::Error),
}
