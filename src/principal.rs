//! The result of a successful verification.

use alloc::sync::Arc;
use core::fmt;

use crate::{
    credential_id::CredentialId,
    digest::SecretTag,
    identity::{Actor, Authority, Context, Owner, Tenant},
    index::{End, Grant, GrantRef, Index},
    key_id::KeyId,
    name::{NamespaceId, Scope, TeamId, UserId},
    scope::Scopes,
    timestamp::Timestamp,
};

/// A verified caller. Only a [`Verifier`](crate::Verifier) creates one.
///
/// It has no names of its own, so creating one neither copies text nor counts references: they are
/// looked up in the index when they are asked for. Use [`Principal::to_owned`] soon after the
/// verification for everything that is needed later. A later revocation of the key does not change
/// it; a later change of the key's scopes does.
#[derive(Clone, Copy)]
#[must_use]
pub struct Principal<'a> {
    pub(crate) credential: CredentialId,
    /// The owner and the scopes are looked up on demand; most callers need none.
    pub(crate) index: &'a Index,
    pub(crate) grant_ref: GrantRef,
    pub(crate) namespace: &'a NamespaceId,
    pub(crate) end: End,
    pub(crate) secret_state: SecretState,
    pub(crate) secret: SecretTag,
}

/// The state of the presented secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretState {
    Current,
    /// The current secret, with a digest under a pepper that is not the current one.
    Outdated,
    /// A secret that a rotation replaced.
    Replaced,
}

impl<'a> Principal<'a> {
    /// `None` if the key was deleted since, and hundreds of others after it.
    fn grant(&self) -> Option<Arc<Grant>> {
        self.index.grant(self.credential)
    }

    /// The credential that was verified.
    pub fn credential(&self) -> CredentialId {
        self.credential
    }

    /// The key that was verified; `None` for a legacy credential.
    pub fn key_id(&self) -> Option<KeyId> {
        match self.credential {
            CredentialId::Key(id) => Some(id),
            CredentialId::Legacy(_) => None,
        }
    }

    /// The kind of the credential.
    pub fn kind(&self) -> PrincipalKind {
        PrincipalKind::of(self.credential, self.owner().as_ref())
    }

    /// The namespace that the credential opens, which is the requested one.
    pub fn namespace(&self) -> &'a NamespaceId {
        self.namespace
    }

    /// The team of the namespace.
    pub fn team(&self) -> &'a TeamId {
        match self.index.team(self.grant_ref) {
            Some(team) => team,
            None => unreachable!("a namespace is stored with its team, and never removed"),
        }
    }

    /// The owner of the key; `None` for a legacy credential, which several people share. The owner
    /// of a key that was deleted since is known until some hundred others were deleted too.
    pub fn owner(&self) -> Option<Owner> {
        self.grant().and_then(|grant| grant.owner().cloned())
    }

    /// The subject that a legacy credential was issued to.
    pub fn legacy_subject(&self) -> Option<UserId> {
        self.grant().and_then(|grant| grant.subject().cloned())
    }

    /// The scopes of the key; none if the key was deleted since and is forgotten.
    pub fn scopes(&self) -> Scopes {
        let grant = self.grant();
        grant.map_or_else(Scopes::none, |grant| grant.scopes.clone())
    }

    /// Whether the key has all of these scopes.
    pub fn may(&self, required: &[Scope]) -> bool {
        self.grant()
            .is_some_and(|grant| grant.scopes.contain(required))
    }

    /// The first moment at which the credential no longer works: the key's expiry or the end of a
    /// replaced secret's grace period.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.end.moment()
    }

    /// Whether the secret is one that a rotation replaced and its grace period still runs. The
    /// caller should switch to the new secret.
    pub fn used_replaced_secret(&self) -> bool {
        self.secret_state == SecretState::Replaced
    }

    /// Whether the key's digest is under a pepper that is not the current one: see
    /// [`Keyring::rehash`](crate::Keyring::rehash).
    pub fn needs_rehash(&self) -> bool {
        self.secret_state == SecretState::Outdated
    }

    /// Copies the principal to an owned value, for uses that outlive the borrow, such as request
    /// extensions.
    pub fn to_owned(&self) -> OwnedPrincipal {
        let grant = self.grant();
        let owner = grant.as_ref().and_then(|grant| grant.owner());
        OwnedPrincipal {
            credential: self.credential,
            kind: PrincipalKind::of(self.credential, owner),
            tenant: Tenant::new(self.team().clone(), self.namespace.clone()),
            owner: owner.cloned(),
            legacy_subject: grant.as_ref().and_then(|grant| grant.subject().cloned()),
            scopes: grant.map_or_else(Scopes::none, |grant| grant.scopes.clone()),
            expires_at: self.expires_at(),
            used_replaced_secret: self.used_replaced_secret(),
            secret: self.key_id().map(|_| self.secret),
        }
    }

    /// Creates the context of a management call by this principal. The commit is refused if the
    /// credential or its secret no longer works, or if it has lost any of its present scopes.
    pub fn context(&self, now: impl Into<Timestamp>) -> Context {
        self.to_owned().context(now)
    }

    /// The principal as the actor of a management call.
    pub fn to_actor(&self) -> Actor {
        Actor {
            owner: self.owner(),
            credential: Some(self.credential),
        }
    }
}

/// Writes `user:alice`, `service:deploy-bot`, or `legacy:` and the subject of a legacy credential.
impl fmt::Display for Principal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grant = self.grant();
        let owner = grant.as_ref().and_then(|grant| grant.owner());
        let subject = grant.as_ref().and_then(|grant| grant.subject());
        fmt_holder(owner, subject, f)
    }
}

fn fmt_holder(
    owner: Option<&Owner>,
    subject: Option<&UserId>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    match (owner, subject) {
        (Some(owner), _) => fmt::Display::fmt(owner, f),
        (None, Some(subject)) => write!(f, "legacy:{subject}"),
        (None, None) => f.write_str("legacy"),
    }
}

/// An owned copy of a [`Principal`]: [`Principal::to_owned`].
///
/// It records a past verification: the key may have been revoked since.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedPrincipal {
    /// The credential that was verified.
    pub credential: CredentialId,
    /// The kind of the credential.
    pub kind: PrincipalKind,
    /// The namespace that the credential opens, and its team.
    pub tenant: Tenant,
    /// The owner of the key; `None` for a legacy credential, which several people share.
    pub owner: Option<Owner>,
    /// The subject that a legacy credential was issued to.
    pub legacy_subject: Option<UserId>,
    /// The scopes of the key.
    pub scopes: Scopes,
    /// The first moment at which the credential no longer works.
    pub expires_at: Option<Timestamp>,
    /// Whether the secret is one that a rotation replaced.
    pub used_replaced_secret: bool,
    secret: Option<SecretTag>,
}

impl OwnedPrincipal {
    /// As [`Principal::to_actor`].
    pub fn to_actor(&self) -> Actor {
        Actor {
            owner: self.owner.clone(),
            credential: Some(self.credential),
        }
    }

    /// As [`Principal::context`]: the store checks the credential again when the change commits.
    pub fn context(&self, now: impl Into<Timestamp>) -> Context {
        let authority = Authority::Credential {
            id: self.credential,
            scopes: self.scopes.clone(),
            secret: self.secret,
        };
        Context::new(self.to_actor(), now).with_authority(authority)
    }
}

/// Writes the same text as [`Principal`].
impl fmt::Display for OwnedPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_holder(self.owner.as_ref(), self.legacy_subject.as_ref(), f)
    }
}

impl fmt::Debug for Principal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grant = self.grant();
        let grant = grant.as_ref();
        f.debug_struct("Principal")
            .field("credential", &self.credential)
            .field("team", self.team())
            .field("namespace", self.namespace)
            .field("holder", &grant.map(|grant| &grant.holder))
            .field("scopes", &grant.map(|grant| &grant.scopes))
            .field("expires_at", &self.end.moment())
            .finish_non_exhaustive()
    }
}

/// The kind of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PrincipalKind {
    /// A person's key.
    Personal,
    /// A service's key.
    Service,
    /// A legacy credential, which several people share.
    Legacy,
}

impl PrincipalKind {
    fn of(credential: CredentialId, owner: Option<&Owner>) -> Self {
        match (credential, owner) {
            (CredentialId::Legacy(_), _) => Self::Legacy,
            (CredentialId::Key(_), Some(Owner::Service(_))) => Self::Service,
            (CredentialId::Key(_), _) => Self::Personal,
        }
    }
}
