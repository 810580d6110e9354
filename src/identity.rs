//! Who owns a key, and who acts.

use core::{fmt, str::FromStr};

use crate::{
    credential_id::CredentialId,
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
    /// A namespace of a team.
    pub fn new(team: TeamId, namespace: NamespaceId) -> Self {
        Self { team, namespace }
    }

    /// A namespace of a team, from their names.
    ///
    /// # Errors
    ///
    /// [`NameError`] names the field that breaks a rule.
    pub fn parse(team: &str, namespace: &str) -> Result<Self, NameError> {
        Ok(Self::new(TeamId::new(team)?, NamespaceId::new(namespace)?))
    }
}

/// Whose key it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A person: the key ends when they leave the team.
    User(UserId),
    /// A service: the key survives the person who made it.
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

/// `user:alice`, `service:deploy-bot`: the one form, also in JSON and on the command line.
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
        let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text does not name an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerError {
    /// The text begins with neither `user:` nor `service:`.
    #[error("owner: must be user:NAME or service:NAME")]
    Kind,
    /// The name breaks a rule of [`UserId`] or [`ServiceId`].
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Who acts, and with which key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Actor {
    /// The person or service; none for the embedding program itself, and for whoever uses a
    /// legacy credential.
    pub owner: Option<Owner>,
    /// The credential that the action was authenticated with, if it was one.
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

    /// The same, acting with this credential.
    #[must_use]
    pub fn with_credential(mut self, credential: CredentialId) -> Self {
        self.credential = Some(credential);
        self
    }
}

/// `user:alice`, `service:deploy-bot with key 4f…`, `system`; `somebody with legacy 23bc…` for a
/// credential that several people share.
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

/// The right by which a change is made. A store checks it in the transaction that keeps the
/// change, so a right that was lost after the request was admitted is lost for the change too.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Authority {
    /// The embedding program itself: a job, a migration, an operator's console. Nothing is checked.
    System,
    /// A person or service that the embedder authenticated: refused if they were removed from the
    /// team in which something is changed.
    Owner(Owner),
    /// A credential that Keyfob verified: refused if it no longer works, or lost a scope.
    Credential {
        /// The credential.
        id: CredentialId,
        /// The scopes it must still have.
        scopes: Scopes,
    },
}

impl Authority {
    /// The authority of a credential with these scopes.
    pub fn credential(id: CredentialId, scopes: Scopes) -> Self {
        Self::Credential { id, scopes }
    }
}

/// The circumstances of a management call: who acts and by what right, when, for which request and
/// why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Context {
    /// Who acts.
    pub actor: Actor,
    /// By what right.
    pub authority: Authority,
    /// The time of the call. Read the clock when the call is made, not when the request arrived:
    /// it is the time of the audit event, and the time at which the actor's key must still work.
    pub now: Timestamp,
    /// The embedder's identifier of the request, for the audit trail.
    pub request_id: Option<RequestId>,
    /// Why, for the audit trail.
    pub reason: Option<Reason>,
}

impl Context {
    /// `actor` acts at `now`.
    ///
    /// The authority follows from the actor: [`Authority::Credential`] if it has a credential
    /// (without any scope that it must keep), else [`Authority::Owner`], else
    /// [`Authority::System`]. [`Principal::context`](crate::Principal::context) also holds the
    /// actor to the scopes of its key.
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

    /// The embedding program itself acts at `now`.
    pub fn system(now: impl Into<Timestamp>) -> Self {
        Self::new(Actor::system(), now)
    }

    /// With this authority in place of the one that follows from the actor.
    #[must_use]
    pub fn with_authority(mut self, authority: Authority) -> Self {
        self.authority = authority;
        self
    }

    /// For this request.
    #[must_use]
    pub fn with_request_id(mut self, request_id: RequestId) -> Self {
        self.request_id = Some(request_id);
        self
    }

    /// For this reason.
    #[must_use]
    pub fn with_reason(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }
}
