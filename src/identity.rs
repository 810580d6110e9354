//! Who owns a key, and who acts.

use core::fmt;

use crate::{
    credential::CredentialId,
    name::{NamespaceId, Reason, RequestId, ServiceId, TeamId, UserId},
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
}

/// Whose key it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
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

/// `user alice`, `service deploy-bot`.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user {id}"),
            Self::Service(id) => write!(f, "service {id}"),
        }
    }
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

/// `user alice`, `service deploy-bot with key 4f…`, `system`; `somebody with legacy 23bc…` for a
/// credential that is everybody's.
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

/// What accompanies every management call: who acts, when, for which request and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Who acts.
    pub actor: Actor,
    /// The time of the call.
    pub now: Timestamp,
    /// The embedder's identifier of the request, for the audit trail.
    pub request_id: Option<RequestId>,
    /// Why, for the audit trail.
    pub reason: Option<Reason>,
}

impl Context {
    /// `actor` acts at `now`.
    pub fn new(actor: Actor, now: impl Into<Timestamp>) -> Self {
        Self {
            actor,
            now: now.into(),
            request_id: None,
            reason: None,
        }
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
