//! Control keys: the keys with which people and services call the control plane.

use axum::http::{HeaderValue, header::AUTHORIZATION, request::Parts};
use keyfob::{
    Access, Context, Expiry, IssuedKey, KeyInfo, KeyStore, Keyring, NewKey, Owner, Scopes, Tenant,
    Timestamp, Verifier,
    manage::{self, TooManyScopes},
    name::{KeyName, NameError, NamespaceId, Scope, TeamId},
};

use crate::{
    authenticate::{Authenticate, Authentication, Unauthenticated},
    caller::{Caller, Right, Rights},
};

/// [`Authenticate`] by keys of Keyfob itself: a control key is a key of the namespace
/// `control:<team>` of the team, and its scopes are its [`Rights`].
///
/// A control key belongs to a person of the team, so that removing the person ends it as well.
///
/// # Security
///
/// A key opens the control plane only if its namespace bears the name of its own team, so nobody
/// can make such a namespace for a team of theirs and be somebody in another.
#[derive(Clone, Debug)]
pub struct ControlKeys {
    verifier: Verifier,
}

impl ControlKeys {
    /// Judging keys by this verifier.
    pub fn new(verifier: Verifier) -> Self {
        Self { verifier }
    }

    fn decide(&self, request: &Parts, now: Timestamp) -> Result<Caller, Unauthenticated> {
        let fields = request.headers.get_all(AUTHORIZATION);
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
        Ok(Caller {
            actor: principal.to_actor(),
            team: principal.team().clone(),
            rights: Rights::of(principal.scopes()),
        })
    }
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

/// Makes a control key without anybody's leave: the first one of a service, from which all others
/// come. It never expires unless the policy says so; make a better one with it, and revoke it.
///
/// # Errors
///
/// [`FirstCredentialError`]: above all, a key of the name `first credential` exists already.
pub async fn first_credential<S: KeyStore>(
    keyring: &Keyring<S>,
    context: &Context,
    team: TeamId,
    owner: Owner,
    right: Right,
    expiry: Expiry,
) -> Result<(IssuedKey, KeyInfo), FirstCredentialError> {
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

/// The first credential was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FirstCredentialError {
    /// The team's name gives no namespace.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The scope was refused.
    #[error(transparent)]
    Scopes(#[from] TooManyScopes),
    /// The store or the policy refused the key.
    #[error(transparent)]
    Keyring(#[from] manage::Error),
}
