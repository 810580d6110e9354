//! Maps an action to its OCSF class and activity.

use keyfob::audit::{Action, AuditEntry};

/// A class of OCSF 1.6.0, in the category 3, Identity & Access Management.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) uid: u32,
    pub(crate) name: &'static str,
    pub(crate) schema: &'static str,
}

impl Class {
    pub(crate) const ACCOUNT_CHANGE: Self = Self {
        uid: 3001,
        name: "Account Change",
        schema: "https://schema.ocsf.io/1.6.0/classes/account_change",
    };
    pub(crate) const ENTITY_MANAGEMENT: Self = Self {
        uid: 3004,
        name: "Entity Management",
        schema: "https://schema.ocsf.io/1.6.0/classes/entity_management",
    };
}

/// The object of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    Owner,
    Key,
    LegacyCredential,
    Policy,
    Namespace,
    Team,
}

impl Object {
    pub(crate) fn of(entry: &AuditEntry) -> Self {
        match entry.action {
            Action::KeyCreated
            | Action::KeyUpdated
            | Action::KeyDisabled
            | Action::KeyEnabled
            | Action::KeyRotated
            | Action::KeyRehashed
            | Action::KeyRevoked
            | Action::KeyDeleted => Self::Key,
            Action::LegacyImported | Action::LegacyBlocked | Action::LegacyRevoked => {
                Self::LegacyCredential
            }
            Action::PolicySet | Action::LegacyPolicySet => Self::Policy,
            // A target, or the object of an action of a later version.
            _ if entry.owner.is_some() => Self::Owner,
            _ if entry.namespace.is_some() => Self::Namespace,
            _ => Self::Team,
        }
    }

    pub(crate) fn class(self) -> Class {
        match self {
            Self::Owner => Class::ACCOUNT_CHANGE,
            _ => Class::ENTITY_MANAGEMENT,
        }
    }
}

/// An activity of a class: its number and its caption.
pub(crate) type Activity = (u32, &'static str);

/// The activity of an action upon an object. The meaning of a number depends on the class.
pub(crate) fn activity(action: Action, object: Object) -> Activity {
    let account = object.class() == Class::ACCOUNT_CHANGE;
    match action {
        Action::KeyCreated | Action::LegacyImported | Action::NamespaceCreated => (1, "Create"),
        Action::KeyUpdated
        | Action::KeyRotated
        | Action::KeyRehashed
        | Action::PolicySet
        | Action::LegacyPolicySet => (3, "Update"),
        Action::KeyDeleted => (4, "Delete"),
        Action::KeyRevoked | Action::LegacyRevoked => (11, "Deactivate"),
        Action::Removed if account => (5, "Disable"),
        Action::KeyDisabled | Action::LegacyBlocked | Action::Removed => (9, "Disable"),
        Action::Restored if account => (2, "Enable"),
        Action::KeyEnabled | Action::Restored => (8, "Enable"),
        Action::AllRevoked => (99, "Revoke all keys"),
        _ => (99, action.as_str()),
    }
}
