//! Who calls, proven.

use core::fmt;

use crate::{
    credential_id::CredentialId,
    identity::{Actor, Authority, Context, Owner, Tenant},
    index::{End, Grant, GrantRef, Holder, Index},
    key_id::KeyId,
    name::{NamespaceId, Scope, TeamId, UserId},
    scope::Scopes,
    timestamp::Timestamp,
};

/// Proof that a credential was verified: only a [`Verifier`](crate::Verifier) makes one.
///
/// It borrows the names from the index, so that making one copies no text and counts no
/// reference, and it holds for the call that it was made for: a key that is revoked later does
/// not change it.
#[derive(Clone, Copy)]
#[must_use]
pub struct Principal<'a> {
    pub(crate) credential: CredentialId,
    /// What the names are read from when somebody asks: most calls never do.
    pub(crate) index: &'a Index,
    pub(crate) grant_ref: GrantRef,
    pub(crate) namespace: &'a NamespaceId,
    pub(crate) end: End,
    pub(crate) standing: SecretState,
}

/// What is to be said of the secret that was presented.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretState {
    Current,
    /// The current secret, digested under a pepper that is not the current one.
    Outdated,
    /// One that a rotation replaced.
    Replaced,
}

impl<'a> Principal<'a> {
    fn grant(&self) -> &'a Grant {
        match self.index.grant(self.grant_ref) {
            Some(grant) => grant,
            None => unreachable!("a line names a grant after it is there"),
        }
    }

    /// The credential that was verified.
    pub fn credential(&self) -> CredentialId {
        self.credential
    }

    /// The key that was verified; none for a legacy credential.
    pub fn key_id(&self) -> Option<KeyId> {
        match self.credential {
            CredentialId::Key(id) => Some(id),
            CredentialId::Legacy(_) => None,
        }
    }

    /// Which kind of credential it was.
    pub fn kind(&self) -> PrincipalKind {
        match &self.grant().holder {
            Holder::Owner(Owner::User(_)) => PrincipalKind::Personal,
            Holder::Owner(Owner::Service(_)) => PrincipalKind::Service,
            Holder::Subject(_) => PrincipalKind::Legacy,
        }
    }

    /// The namespace that the credential opens. It is the one that was asked for.
    pub fn namespace(&self) -> &'a NamespaceId {
        self.namespace
    }

    /// The team of the namespace.
    pub fn team(&self) -> &'a TeamId {
        &self.grant().tenant.team
    }

    /// Whose key it is; none for a legacy credential, which is everybody's.
    pub fn owner(&self) -> Option<&'a Owner> {
        match &self.grant().holder {
            Holder::Owner(owner) => Some(owner),
            Holder::Subject(_) => None,
        }
    }

    /// The subject that a legacy credential was issued to.
    pub fn legacy_subject(&self) -> Option<&'a UserId> {
        match &self.grant().holder {
            Holder::Owner(_) => None,
            Holder::Subject(subject) => Some(subject),
        }
    }

    /// What the key may be used for.
    pub fn scopes(&self) -> &'a Scopes {
        &self.grant().scopes
    }

    /// Whether the key has every one of these scopes.
    pub fn may(&self, required: &[Scope]) -> bool {
        self.grant().scopes.contain(required)
    }

    /// The first moment at which the credential no longer works: the key's end, or that of a
    /// replaced secret's grace.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.end.moment()
    }

    /// Whether the secret is one that a rotation replaced, still within its grace: its user must
    /// move on.
    pub fn used_replaced_secret(&self) -> bool {
        self.standing == SecretState::Replaced
    }

    /// Whether the key's digest was made under another pepper than the current one: see
    /// [`Keyring::rehash`](crate::Keyring::rehash).
    pub fn needs_rehash(&self) -> bool {
        self.standing == SecretState::Outdated
    }

    /// The principal as it stands, without a borrow: for what outlives the call, as the extensions
    /// of a request do.
    pub fn to_owned(&self) -> OwnedPrincipal {
        let grant = self.grant();
        OwnedPrincipal {
            credential: self.credential,
            kind: self.kind(),
            tenant: grant.tenant.clone(),
            owner: self.owner().cloned(),
            legacy_subject: self.legacy_subject().cloned(),
            scopes: grant.scopes.clone(),
            expires_at: self.expires_at(),
            used_replaced_secret: self.used_replaced_secret(),
        }
    }

    /// The circumstances of a management call that this principal makes: the change is refused if
    /// its credential no longer works when the change is kept, or has lost any of its scopes.
    pub fn context(&self, now: impl Into<Timestamp>) -> Context {
        let authority = Authority::credential(self.credential, self.scopes().clone());
        Context::new(self.to_actor(), now).with_authority(authority)
    }

    /// The principal as the one who acts in management calls.
    pub fn to_actor(&self) -> Actor {
        Actor {
            owner: self.owner().cloned(),
            credential: Some(self.credential),
        }
    }
}

/// `user:alice`, `service:deploy-bot`, or `legacy:` and the subject of a legacy credential.
impl fmt::Display for Principal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_holder(self.owner(), self.legacy_subject(), f)
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

/// What a [`Principal`] says, by value: [`Principal::to_owned`].
///
/// It is a record of a decision, not a proof: the key may have been revoked since.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwnedPrincipal {
    /// The credential that was verified.
    pub credential: CredentialId,
    /// The kind of the credential.
    pub kind: PrincipalKind,
    /// The namespace that the credential opens, and its team.
    pub tenant: Tenant,
    /// Whose key it is; none for a legacy credential, which several people share.
    pub owner: Option<Owner>,
    /// The subject that a legacy credential was issued to.
    pub legacy_subject: Option<UserId>,
    /// The scopes of the key.
    pub scopes: Scopes,
    /// The first moment at which the credential no longer works.
    pub expires_at: Option<Timestamp>,
    /// Whether the secret is one that a rotation replaced.
    pub used_replaced_secret: bool,
}

/// As [`Principal`] displays.
impl fmt::Display for OwnedPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_holder(self.owner.as_ref(), self.legacy_subject.as_ref(), f)
    }
}

impl fmt::Debug for Principal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("credential", &self.credential)
            .field("tenant", &self.grant().tenant)
            .field("holder", &self.grant().holder)
            .field("scopes", &self.grant().scopes)
            .field("expires_at", &self.end.moment())
            .finish_non_exhaustive()
    }
}

/// Which kind of credential a principal used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PrincipalKind {
    /// A person's key.
    Personal,
    /// A service's key.
    Service,
    /// A shared credential of the old model: nobody knows who it was.
    Legacy,
}
