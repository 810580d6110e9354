//! The OCSF event: the attributes of OCSF 1.6.0 for which the audit trail has a value.

use std::collections::BTreeMap;

use keyfob::{
    Actor as KeyfobActor, Owner,
    audit::{AuditEntry, AuditEvent, FieldChange, Value},
    key::{CredentialId, KeyFormat},
    name::{RequestId, TeamId},
};
use serde::Serialize;

use crate::classification::{Class, Object, activity};

/// An event of the class Account Change or Entity Management.
#[derive(Serialize)]
pub(crate) struct Event<'a> {
    category_uid: u32,
    category_name: &'static str,
    class_uid: u32,
    class_name: &'static str,
    activity_id: u32,
    activity_name: &'static str,
    type_uid: u32,
    severity_id: u32,
    severity: &'static str,
    status_id: u32,
    status: &'static str,
    /// Milliseconds since 1970.
    time: i64,
    message: String,
    metadata: Metadata<'a>,
    actor: Actor<'a>,
    /// The target of an Account Change.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User<'a>>,
    /// The target of an Entity Management.
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<Entity<'a>>,
    /// The target as it is after the change, with the new values.
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_result: Option<Entity<'a>>,
    /// The reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    unmapped: Unmapped<'a>,
    #[serde(skip)]
    class: Class,
    #[serde(skip)]
    target: Option<String>,
}

impl<'a> Event<'a> {
    pub(crate) fn new(event: &'a AuditEvent, format: &'a KeyFormat) -> Self {
        let entry = &event.entry;
        let object = Object::of(entry);
        let class = object.class();
        let (activity_id, activity_name) = activity(entry.action, object);
        let target = target(entry, object, format);
        let about = target.as_deref().unwrap_or("all teams");
        Self {
            category_uid: 3,
            category_name: "Identity & Access Management",
            class_uid: class.uid,
            class_name: class.name,
            activity_id,
            activity_name,
            type_uid: class.uid * 100 + activity_id,
            severity_id: 1,
            severity: "Informational",
            status_id: 1,
            status: "Success",
            time: entry.at.as_unix().saturating_mul(1_000),
            message: format!(
                "{}: {about}, by {}",
                entry.action,
                actor_name(&entry.actor, format)
            ),
            metadata: Metadata::new(event),
            actor: Actor::new(&entry.actor, entry.team.as_ref(), format),
            user: match (&entry.owner, object) {
                (Some(owner), Object::Owner) => Some(User::new(owner, entry.team.as_ref())),
                _ => None,
            },
            entity: Entity::new(entry, object, target.clone(), |change| change.old.as_ref()),
            entity_result: if entry.changes.iter().any(|change| change.new.is_some()) {
                Entity::new(entry, object, target.clone(), |change| change.new.as_ref())
            } else {
                None
            },
            comment: entry.reason.as_ref().map(keyfob::name::Reason::as_str),
            unmapped: Unmapped {
                key_prefix: format.prefix(),
                audit_event: event,
            },
            class,
            target,
        }
    }

    /// Returns the name of the event's object for the envelope.
    pub(crate) fn subject(&self) -> Option<String> {
        self.target.clone()
    }

    pub(crate) fn schema(&self) -> &'static str {
        self.class.schema
    }
}

/// Returns the public name of the object; `None` if the event concerns all teams.
fn target(entry: &AuditEntry, object: Object, format: &KeyFormat) -> Option<String> {
    match object {
        Object::Owner => entry.owner.as_ref().map(|owner| format!("{owner}")),
        Object::Key | Object::LegacyCredential => {
            entry.credential.map(|id| format.credential_id(id))
        }
        Object::Namespace | Object::Policy => {
            let namespace = entry.namespace.as_ref();
            namespace.map(|namespace| format!("{namespace}"))
        }
        Object::Team => entry.team.as_ref().map(|team| format!("{team}")),
    }
}

fn actor_name(actor: &KeyfobActor, format: &KeyFormat) -> String {
    let who = match (&actor.owner, actor.credential) {
        (Some(owner), _) => format!("{owner}"),
        (None, Some(_)) => "somebody".to_owned(),
        (None, None) => "system".to_owned(),
    };
    match actor.credential {
        Some(id) => format!("{who} with {}", format.credential_id(id)),
        None => who,
    }
}

#[derive(Serialize)]
struct Metadata<'a> {
    /// The version of OCSF.
    version: &'static str,
    product: Product,
    log_name: &'static str,
    /// The version of this event format.
    log_version: &'static str,
    event_code: &'static str,
    sequence: u64,
    original_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_uid: Option<&'a str>,
}

impl<'a> Metadata<'a> {
    fn new(event: &'a AuditEvent) -> Self {
        let entry = &event.entry;
        Self {
            version: "1.6.0",
            product: Product {
                name: "Keyfob",
                vendor_name: "Keyfob",
            },
            log_name: "audit",
            log_version: "1",
            event_code: entry.action.as_str(),
            sequence: event.revision.get(),
            original_time: entry.at.to_string(),
            tenant_uid: entry.team.as_ref().map(TeamId::as_str),
            correlation_uid: entry.request_id.as_ref().map(RequestId::as_str),
        }
    }
}

#[derive(Serialize)]
struct Product {
    name: &'static str,
    vendor_name: &'static str,
}

/// The actor: a user, a service, or the program itself.
#[derive(Serialize)]
struct Actor<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User<'a>>,
    app_name: &'static str,
}

impl<'a> Actor<'a> {
    fn new(actor: &'a KeyfobActor, team: Option<&'a TeamId>, format: &KeyFormat) -> Self {
        let user = match (&actor.owner, actor.credential) {
            (Some(owner), _) => Some(User::new(owner, team)),
            // A caller with a legacy credential is an unknown member of the team.
            (None, Some(_)) => Some(User::somebody()),
            (None, None) => None,
        };
        Self {
            user: user.map(|user| user.with(actor.credential, format)),
            app_name: "Keyfob",
        }
    }
}

/// A user or a service.
#[derive(Serialize)]
struct User<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    name: &'a str,
    type_id: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<Org<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    programmatic_credentials: Option<[ProgrammaticCredential; 1]>,
}

impl<'a> User<'a> {
    fn new(owner: &'a Owner, team: Option<&'a TeamId>) -> Self {
        let (type_id, kind) = match owner {
            Owner::User(_) => (1, "User"),
            Owner::Service(_) => (4, "Service"),
        };
        Self {
            uid: Some(owner.as_str()),
            name: owner.as_str(),
            type_id,
            kind,
            org: team.map(|team| Org { uid: team.as_str() }),
            programmatic_credentials: None,
        }
    }

    fn somebody() -> Self {
        Self {
            uid: None,
            name: "unknown",
            type_id: 0,
            kind: "Unknown",
            org: None,
            programmatic_credentials: None,
        }
    }

    fn with(mut self, credential: Option<CredentialId>, format: &KeyFormat) -> Self {
        self.programmatic_credentials = credential.map(|id| {
            [ProgrammaticCredential {
                kind: match id {
                    CredentialId::Key(_) => "Access Key",
                    CredentialId::Legacy(_) => "Legacy Credential",
                    _ => "Other",
                },
                uid: format.credential_id(id),
            }]
        });
        self
    }
}

#[derive(Serialize)]
struct Org<'a> {
    uid: &'a str,
}

#[derive(Serialize)]
struct ProgrammaticCredential {
    #[serde(rename = "type")]
    kind: &'static str,
    uid: String,
}

/// The managed object.
#[derive(Serialize)]
struct Entity<'a> {
    type_id: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    uid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Named>,
    /// The team, namespace and owner, and the changed fields.
    #[serde(skip_serializing_if = "Data::is_empty")]
    data: Data<'a>,
}

impl<'a> Entity<'a> {
    /// The object with the values that `value` takes of the changes.
    fn new(
        entry: &'a AuditEntry,
        object: Object,
        target: Option<String>,
        value: impl Fn(&'a FieldChange) -> Option<&'a Value>,
    ) -> Option<Self> {
        let uid = target.unwrap_or_else(|| "default".to_owned());
        let named = || {
            Some(Named {
                uid: uid.clone(),
                name: uid.clone(),
            })
        };
        let (type_id, kind, group, policy) = match object {
            Object::Owner => return None,
            Object::Key => (99, "Access Key", None, None),
            Object::LegacyCredential => (99, "Legacy Credential", None, None),
            Object::Namespace => (99, "Namespace", None, None),
            Object::Team => (3, "Group", named(), None),
            Object::Policy => (5, "Policy", None, named()),
        };
        Some(Self {
            type_id,
            kind,
            uid,
            group,
            policy,
            data: Data {
                team: entry.team.as_ref().map(TeamId::as_str),
                namespace: entry
                    .namespace
                    .as_ref()
                    .map(keyfob::name::NamespaceId::as_str),
                owner: entry.owner.as_ref().map(|owner| format!("{owner}")),
                fields: entry
                    .changes
                    .iter()
                    .filter_map(|change| Some((change.field.as_str(), value(change)?)))
                    .collect(),
            },
        })
    }
}

#[derive(Serialize)]
struct Named {
    uid: String,
    name: String,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// The fields that changed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<&'static str, &'a Value>,
}

impl Data<'_> {
    fn is_empty(&self) -> bool {
        self.team.is_none()
            && self.namespace.is_none()
            && self.owner.is_none()
            && self.fields.is_empty()
    }
}

/// Fields without an OCSF attribute: the event as Keyfob hashed it.
#[derive(Serialize)]
struct Unmapped<'a> {
    key_prefix: &'a str,
    audit_event: &'a AuditEvent,
}
