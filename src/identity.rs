//! Tenants, owners, actors and their authority.

use core::{fmt, str::FromStr};

use crate::{
    credential_id::CredentialId,
    digest::SecretTag,
    name::{NameError, NamespaceId, Reason, RequestId, ServiceId, TeamId, UserId},
    scope::Scopes,
    timestamp::Timestamp,
};

/// A namespace and the team that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Tenant {
    /// The team.
    pub team: TeamId,
    /// The namespace. A namespace belongs to one team.
    pub namespace: NamespaceId,
}

impl Tenant {
    /// Creates a tenant.
    pub fn new(team: TeamId, namespace: NamespaceId) -> Self {
        Self { team, namespace }
    }

    /// Creates a tenant from the names of team and namespace.
    ///
    /// # Errors
    ///
    /// [`NameError`] names the invalid field.
    pub fn parse(team: &str, namespace: &str) -> Result<Self, NameError> {
        Ok(Self::new(TeamId::new(team)?, NamespaceId::new(namespace)?))
    }
}

/// The owner of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A person. Their keys are revoked when they are removed from the team.
    User(UserId),
    /// A service. Its keys do not depend on the person who created them.
    Service(ServiceId),
}

impl Owner {
    /// The name of the person or service.
    pub fn as_str(&self) -> &str {
        match self {
            Self::User(id) => id.as_str(),
            Self::Service(id) => id.as_str(),
        }
    }
}

/// Writes `user:alice` or `service:deploy-bot`, the form used in JSON and on the command line too.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Service(id) => write!(f, "service:{id}"),
        }
    }
}

impl FromStr for Owner {
    type Err = OwnerError;

    fn from_str(text: &str) -> Result<Self, OwnerError> {
        match text.split_once(':') {
            Some(("user", id)) => Ok(Self::User(UserId::new(id)?)),
            Some(("service", id)) => Ok(Self::Service(ServiceId::new(id)?)),
            _ => Err(OwnerError::Kind),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Owner {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Owner {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::parsed::parsed(deserializer, str::parse)
    }
}

/// A text is not an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerError {
    /// The text begins with neither `user:` nor `service:`.
    #[error("owner: must be user:NAME or service:NAME")]
    Kind,
    /// The name is not a valid [`UserId`] or [`ServiceId`].
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Who makes a change, and with which credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Actor {
    /// The person or service; `None` for the embedding program and for a legacy credential, which
    /// several people share.
    pub owner: Option<Owner>,
    /// The credential that authenticated the actor, if Keyfob verified one.
    pub credential: Option<CredentialId>,
}

impl Actor {
    /// A person.
    pub fn user(user: UserId) -> Self {
        Self {
            owner: Some(Owner::User(user)),
            credential: None,
        }
    }

    /// A service.
    pub fn service(service: ServiceId) -> Self {
        Self {
            owner: Some(Owner::Service(service)),
            credential: None,
        }
    }

    /// The embedding program itself: a job, a migration, an operator's console.
    pub const fn system() -> Self {
        Self {
            owner: None,
            credential: None,
        }
    }

    /// Sets the credential.
    #[must_use]
    pub fn with_credential(mut self, credential: CredentialId) -> Self {
        self.credential = Some(credential);
        self
    }
}

/// Writes `user:alice`, `service:deploy-bot with key:4f…`, `system`, or `somebody with
/// legacy:23bc…` for a credential that several people share.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Some(owner) => write!(f, "{owner}")?,
            None if self.credential.is_some() => f.write_str("somebody")?,
            None => f.write_str("system")?,
        }
        match self.credential {
            Some(credential) => write!(f, " with {credential}"),
            None => Ok(()),
        }
    }
}

/// The authority for a change. A store checks it in the transaction that stores the change, so a
/// change is refused if the actor lost the authority after the request was admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Authority {
    /// The embedding program itself, such as a job, a migration or an operator's console. Nothing
    /// is checked.
    System,
    /// A person or service that the embedder authenticated. The change is refused if they were
    /// removed from the team that it affects.
    Owner(Owner),
    /// As [`Authority::Owner`], for a member of this team who may also act in other teams, such as
    /// an operator. The change is refused if they were removed from this team.
    Member(TeamId, Owner),
    /// A credential that Keyfob verified. The change is refused if the credential no longer works
    /// or lost a scope.
    Credential {
        /// The credential.
        id: CredentialId,
        /// The scopes it must still have.
        scopes: Scopes,
        /// The secret of the key that was verified, which must still work: a rotation may have
        /// replaced it. `None` for a legacy credential, and if any secret of the key will do.
        secret: Option<SecretTag>,
    },
}

impl Authority {
    /// Creates the authority of a credential that must still have these scopes.
    pub fn credential(id: CredentialId, scopes: Scopes) -> Self {
        Self::Credential {
            id,
            scopes,
            secret: None,
        }
    }
}

/// The context of a management call: actor, authority, time, request and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Context {
    /// Who acts.
    pub actor: Actor,
    /// The authority of the actor, checked in the commit.
    pub authority: Authority,
    /// The time of the call: the time of the audit event, and the time at which the actor's
    /// credential must still work. Read the clock after the request's body was read, just before
    /// the call.
    pub now: Timestamp,
    /// The request's identifier, for the audit trail.
    pub request_id: Option<RequestId>,
    /// Why, for the audit trail.
    pub reason: Option<Reason>,
}

impl Context {
    /// Creates the context of a call by `actor` at `now`.
    ///
    /// The authority is derived from the actor: [`Authority::Credential`] without required scopes
    /// if the actor has a credential, else [`Authority::Owner`] if it has an owner, else
    /// [`Authority::System`]. [`Principal::context`](crate::Principal::context) also requires the
    /// scopes of the principal's key.
    pub fn new(actor: Actor, now: impl Into<Timestamp>) -> Self {
        let authority = match (&actor.owner, actor.credential) {
            (_, Some(id)) => Authority::credential(id, Scopes::none()),
            (Some(owner), None) => Authority::Owner(owner.clone()),
            (None, None) => Authority::System,
        };
        Self {
            actor,
            authority,
            now: now.into(),
            request_id: None,
            reason: None,
        }
    }

    /// Creates the context of a call by the embedding program itself at `now`.
    pub fn system(now: impl Into<Timestamp>) -> Self {
        Self::new(Actor::system(), now)
    }

    /// Replaces the authority that was derived from the actor.
    #[must_use]
    pub fn with_authority(mut self, authority: Authority) -> Self {
        self.authority = authority;
        self
    }

    /// Sets the request's identifier.
    #[must_use]
    pub fn with_request_id(mut self, request_id: RequestId) -> Self {
        self.request_id = Some(request_id);
        self
    }

    /// Sets the reason.
    #[must_use]
    pub fn with_reason(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }
}
