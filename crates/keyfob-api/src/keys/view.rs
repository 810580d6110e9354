//! Keys as answers show them.

use std::collections::BTreeMap;

use keyfob::{
    IssuedKey, KeyInfo, Owner, Scopes, Timestamp,
    gateway::Usage,
    key::KeyFormat,
    manage::{EffectiveStatus, Policy, Revocation, RevocationCause, Status},
};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::{
    keys::labels::visible,
    usage::Sparkline,
    wire::{ActorView, Moment},
};

/// An access key without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct AccessKey {
    /// The public identifier, and the user name in HTTP Basic.
    #[schema(examples("dof_v1_d79e8aeb42e5476893c7d4c59a166264"))]
    id: String,
    /// The name that its owner gave it.
    #[schema(examples("laptop"))]
    name: String,
    /// The first moment at which it no longer works; null for never.
    #[schema(required)]
    expires_at: Option<Moment>,
    /// When it was created.
    created_at: Moment,
    /// When anything about it last changed.
    updated_at: Moment,
    /// The minute in which it was last used; null if it never was.
    #[schema(required)]
    last_used_at: Option<Moment>,
    /// The namespace that it opens.
    namespace: String,
    /// Whose key it is, as `user:NAME` or `service:NAME`.
    #[schema(value_type = String, examples("user:alice"))]
    owner: Owner,
    /// Who created it.
    creator: ActorView,
    /// Whether it works now.
    #[schema(value_type = StatusView)]
    status: EffectiveStatus,
    /// What it may be used for; `["*"]` for everything.
    scopes: Vec<String>,
    /// Free labels.
    labels: BTreeMap<String, String>,
    /// The first moment at which it works; null if it worked from its creation.
    #[schema(required)]
    not_before: Option<Moment>,
    /// When its secret was generated: at its creation, or at its last rotation.
    secret_issued_at: Moment,
    /// Until when the secret before the last rotation works; null if it does not.
    #[schema(required)]
    previous_secret_until: Option<Moment>,
    /// When, by whom and why it was revoked; null if it was not.
    #[schema(required)]
    revocation: Option<RevocationView>,
    /// The number of its last change, which is also its `ETag`.
    revision: u64,
    /// Its use over time, if a list was asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    usage: Option<Sparkline>,
}

impl AccessKey {
    pub(crate) fn with_usage(self, usage: Option<Sparkline>) -> Self {
        Self { usage, ..self }
    }

    /// A key as it is at `now`.
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
            owner: info.owner.clone(),
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
            usage: None,
        }
    }
}

/// Stands for every scope.
pub(crate) const EVERY_SCOPE: &str = "*";

fn scope_names(scopes: &Scopes) -> Vec<String> {
    match scopes {
        Scopes::Only(scopes) => scopes
            .iter()
            .map(|scope| scope.as_str().to_owned())
            .collect(),
        _ => vec![EVERY_SCOPE.to_owned()],
    }
}

/// Whether a key works.
#[derive(ToSchema)]
#[schema(as = EffectiveStatus, rename_all = "snake_case")]
#[expect(dead_code, reason = "the shape of the core's type, for the document")]
enum StatusView {
    Active,
    NotYetValid,
    Disabled,
    Expired,
    Revoked,
}

/// When, by whom and why a key was revoked.
#[derive(Serialize, ToSchema)]
#[schema(as = Revocation)]
struct RevocationView {
    /// When.
    at: Moment,
    /// By whom.
    by: ActorView,
    /// What was revoked: the key, or all keys of its owner, namespace or team.
    #[schema(value_type = CauseView)]
    cause: RevocationCause,
    /// Why.
    #[schema(required)]
    reason: Option<String>,
}

impl RevocationView {
    fn new(revocation: &Revocation, format: &KeyFormat) -> Self {
        let reason = revocation.reason.as_ref();
        Self {
            at: revocation.at.into(),
            by: ActorView::new(&revocation.by, format),
            cause: revocation.cause,
            reason: reason.map(|reason| reason.as_str().to_owned()),
        }
    }
}

/// What was revoked: a key, or all keys of its owner, namespace or team.
#[derive(ToSchema)]
#[schema(as = RevocationCause, rename_all = "snake_case")]
#[expect(dead_code, reason = "the shape of the core's type, for the document")]
enum CauseView {
    Key,
    Owner,
    Namespace,
    Team,
}

/// An access key.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShownKey {
    pub(crate) access_key: AccessKey,
}

/// An access key with its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedKey {
    access_key: AccessKeyWithSecret,
}

/// An access key, and its secret.
#[derive(Serialize, ToSchema)]
struct AccessKeyWithSecret {
    #[serde(flatten)]
    key: AccessKey,
    /// The secret alone, the password in HTTP Basic. The credential is `id:secret`.
    #[serde(serialize_with = "expose")]
    #[schema(value_type = String)]
    secret: IssuedKey,
    /// Whether the process that answers accepts the secret already. If not, the change is stored, and
    /// every process accepts the secret once it has read the store: keep it, and do not ask again.
    in_force: bool,
}

impl CreatedKey {
    pub(crate) fn new(key: AccessKey, secret: IssuedKey, in_force: bool) -> Self {
        let access_key = AccessKeyWithSecret {
            key,
            secret,
            in_force,
        };
        Self { access_key }
    }
}

/// Writes the secret straight into the answer, without a copy.
fn expose<S: Serializer>(key: &IssuedKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.expose_secret())
}

/// Access keys.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct KeyList {
    /// The keys, in the order of their creation.
    access_keys: Vec<AccessKey>,
    /// How many there are in this answer.
    count: usize,
    /// Where the next page begins; null if there is none.
    #[schema(required)]
    next_cursor: Option<String>,
}

impl KeyList {
    pub(crate) fn of(access_keys: Vec<AccessKey>, next_cursor: Option<String>) -> Self {
        Self {
            count: access_keys.len(),
            access_keys,
            next_cursor,
        }
    }
}
