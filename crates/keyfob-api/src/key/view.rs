//! A key as the interface shows it.

use std::collections::BTreeMap;

use keyfob::{
    Actor, KeyInfo, Owner, Timestamp,
    gateway::Usage,
    key::{CredentialId, KeyFormat},
    manage::{EffectiveStatus, Labels, Policy, Revocation, RevocationCause, Status},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    key::{repeat::is_reserved, scopes::scope_names},
    moment::Moment,
};

/// An access key without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct AccessKey {
    /// The public identifier, and the user name in HTTP Basic.
    #[schema(examples("dof_v1_d79e8aeb42e5476893c7d4c59a166264"))]
    pub(crate) id: String,
    /// The name that its owner gave it.
    #[schema(examples("laptop"))]
    name: String,
    /// The first moment at which it no longer works; null for never.
    #[schema(required)]
    expires_at: Option<Moment>,
    /// When it was made.
    created_at: Moment,
    /// When anything about it last changed.
    updated_at: Moment,
    /// The minute in which it was last used; null if it never was.
    #[schema(required)]
    last_used_at: Option<Moment>,
    /// The namespace that it opens.
    namespace: String,
    /// Whose key it is.
    owner: OwnerView,
    /// Who made it.
    creator: ActorView,
    /// What it is good for now.
    #[schema(value_type = StandingView)]
    status: EffectiveStatus,
    /// What it may be used for; `["*"]` for everything.
    scopes: Vec<String>,
    /// Free labels.
    labels: BTreeMap<String, String>,
    /// The first moment at which it works; null for from the beginning.
    #[schema(required)]
    not_before: Option<Moment>,
    /// When its secret was made: at its creation, or at its last rotation.
    secret_issued_at: Moment,
    /// Until when the secret before the last rotation works; null if none does.
    #[schema(required)]
    previous_secret_until: Option<Moment>,
    /// When, by whom and why it was revoked; null if it was not.
    #[schema(required)]
    revocation: Option<RevocationView>,
    /// The number of its last change, which is also its `ETag`.
    revision: u64,
}

impl AccessKey {
    /// A key as it stands at `now`.
    pub(crate) fn new(
        info: &KeyInfo,
        format: &KeyFormat,
        policy: &Policy,
        usage: Option<&Usage>,
        now: Timestamp,
    ) -> Self {
        Self {
            id: format.key_id(info.id),
            name: info.name.as_str().to_owned(),
            expires_at: info.expires_under(policy).map(Moment),
            created_at: info.created_at.into(),
            updated_at: info.updated_at.into(),
            last_used_at: usage.and_then(|usage| usage.last_used).map(Moment),
            namespace: info.tenant.namespace.as_str().to_owned(),
            owner: OwnerView::from(&info.owner),
            creator: ActorView::new(&info.created_by, format),
            status: info.effective_status(now, policy),
            scopes: scope_names(&info.scopes),
            labels: visible(&info.labels),
            not_before: info.not_before.map(Moment),
            secret_issued_at: info.issued_at.into(),
            previous_secret_until: info.previous_until.filter(|until| now < *until).map(Moment),
            revocation: match &info.status {
                Status::Revoked(revocation) => Some(RevocationView::new(revocation, format)),
                _ => None,
            },
            revision: info.revision.get(),
        }
    }
}

impl AccessKey {
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }
}

/// The labels that are not our own.
fn visible(labels: &Labels) -> BTreeMap<String, String> {
    labels
        .iter()
        .filter(|(name, _)| !is_reserved(name))
        .map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned()))
        .collect()
}

/// What a key is good for.
#[derive(ToSchema)]
#[schema(as = EffectiveStatus, rename_all = "snake_case")]
#[expect(dead_code, reason = "the shape of the core's type, for the document")]
pub(crate) enum StandingView {
    Active,
    NotYetValid,
    Disabled,
    Expired,
    Revoked,
}

/// Whose key it is: a person's, or a service's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Owner)]
pub(crate) struct OwnerView {
    /// Whether it is a person or a service.
    #[serde(rename = "type")]
    pub(crate) kind: OwnerKind,
    /// The name of the person or service.
    #[schema(examples("alice"), min_length = 1, max_length = 128)]
    pub(crate) id: String,
}

/// A person, or a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OwnerKind {
    /// A person: the key ends when they leave the team.
    User,
    /// A service: the key survives the person who made it.
    Service,
}

impl From<&Owner> for OwnerView {
    fn from(owner: &Owner) -> Self {
        Self {
            kind: match owner {
                Owner::User(_) => OwnerKind::User,
                Owner::Service(_) => OwnerKind::Service,
            },
            id: owner.as_str().to_owned(),
        }
    }
}

/// Who acted.
#[derive(Serialize, ToSchema)]
#[schema(as = Actor)]
pub(crate) struct ActorView {
    /// The person or service; null for the program itself.
    #[schema(required)]
    owner: Option<OwnerView>,
    /// The credential that they showed; null if it was none of ours.
    #[schema(required)]
    credential: Option<String>,
}

impl ActorView {
    pub(crate) fn new(actor: &Actor, format: &KeyFormat) -> Self {
        let text = |id: CredentialId| format.credential_id(id);
        Self {
            owner: actor.owner.as_ref().map(OwnerView::from),
            credential: actor.credential.map(text),
        }
    }
}

/// When, by whom and why a key was revoked.
#[derive(Serialize, ToSchema)]
#[schema(as = Revocation)]
pub(crate) struct RevocationView {
    /// When.
    at: Moment,
    /// By whom.
    by: ActorView,
    /// What was cut off.
    #[schema(value_type = CauseView)]
    cause: RevocationCause,
    /// Why, in their words.
    #[schema(required)]
    reason: Option<String>,
}

impl RevocationView {
    pub(crate) fn new(revocation: &Revocation, format: &KeyFormat) -> Self {
        let reason = revocation.reason.as_ref();
        Self {
            at: revocation.at.into(),
            by: ActorView::new(&revocation.by, format),
            cause: revocation.cause,
            reason: reason.map(|reason| reason.as_str().to_owned()),
        }
    }
}

/// What was cut off when a key was revoked.
#[derive(ToSchema)]
#[schema(as = RevocationCause, rename_all = "snake_case")]
#[expect(dead_code, reason = "the shape of the core's type, for the document")]
pub(crate) enum CauseView {
    Key,
    Owner,
    Namespace,
    Team,
}
