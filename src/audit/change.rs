//! What a commit changed, field by field.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use crate::{
    cutoff::Cutoff,
    legacy::{LegacyPolicy, LegacyRecord},
    policy::Policy,
    record::{KeyRecord, Labels, Status},
    scope::Scopes,
    store::{Item, NamespaceRecord},
    timestamp::Timestamp,
};

/// A field that a commit changed, with its old and its new value.
///
/// The store computes it in the transaction of the commit, from the state that the commit
/// replaced. A value is never a secret or the digest of one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FieldChange {
    /// The field.
    pub field: Field,
    /// The value before the commit; `None` if the field had none, or the object was created.
    pub old: Option<Value>,
    /// The value after the commit; `None` if the field has none, or the object was deleted.
    pub new: Option<Value>,
}

impl FieldChange {
    /// The changes that lead from `old` to `new`, in the order of [`Field::ALL`].
    pub(crate) fn between(old: &Fields, new: &Fields) -> Vec<Self> {
        let value = |fields: &Fields, field| {
            let found = fields.iter().find(|(known, _)| *known == field);
            found.map(|(_, value)| value.clone())
        };
        Field::ALL
            .into_iter()
            .map(|field| Self {
                field,
                old: value(old, field),
                new: value(new, field),
            })
            .filter(|change| change.old != change.new)
            .collect()
    }
}

/// Writes `scopes: function:read -> operator`; `none` is written for an absent value.
impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.field)?;
        match (&self.old, &self.new) {
            (None, Some(new)) => write!(f, "{new}"),
            (old, new) => write!(f, "{} -> {}", Shown(old.as_ref()), Shown(new.as_ref())),
        }
    }
}

struct Shown<'a>(Option<&'a Value>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => fmt::Display::fmt(value, f),
            None => f.write_str("none"),
        }
    }
}

/// The value of a field in the audit trail.
///
/// Timestamps are texts of RFC 3339, durations are numbers of seconds. In JSON, a value is a
/// boolean, a number, a string or a list of strings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(untagged))]
#[non_exhaustive]
pub enum Value {
    /// Yes or no.
    Flag(bool),
    /// A number, or a duration in seconds.
    Number(u64),
    /// A text.
    Text(String),
    /// A list of texts, such as scopes.
    List(Vec<String>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => fmt::Display::fmt(flag, f),
            Self::Number(number) => fmt::Display::fmt(number, f),
            Self::Text(text) => f.pad(text),
            Self::List(texts) => write!(f, "[{}]", texts.join(", ")),
        }
    }
}

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// A field of an object that a commit can change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
        #[non_exhaustive]
        pub enum Field {
            $($(#[$doc])* $variant,)*
        }

        impl Field {
            /// Every field, in the order in which an event lists them.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The stable name of the field, as in `expires_at`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

fields! {
    /// The namespace, which the commit bound to its team.
    Namespace = "namespace";
    /// What people call the namespace.
    Label = "label";
    /// Where the namespace runs.
    Region = "region";
    /// The `OpenWhisk` subject of a legacy credential.
    Subject = "subject";
    /// The name of a key.
    Name = "name";
    /// The scopes of a key: the text `all`, or a list.
    Scopes = "scopes";
    /// The labels of a key, as a list of `name=value`.
    Labels = "labels";
    /// The status of a credential: `active`, `disabled` or `revoked`.
    Status = "status";
    /// The first moment at which a key works.
    NotBefore = "not_before";
    /// The first moment at which a key no longer works.
    ExpiresAt = "expires_at";
    /// When the secret of a key was issued.
    IssuedAt = "issued_at";
    /// Until when the secret that the last rotation replaced works.
    PreviousUntil = "previous_until";
    /// The number of the pepper that the digest of a credential is under.
    Pepper = "pepper";
    /// Whether a team, namespace or owner is blocked, or the subject of a legacy credential.
    Blocked = "blocked";
    /// The revision up to which everything that was created in the target is revoked.
    RevokedUpTo = "revoked_up_to";
    /// The minimum lifetime of a secret, in seconds.
    MinTtl = "min_ttl";
    /// The maximum lifetime of a secret, in seconds.
    MaxTtl = "max_ttl";
    /// Whether a key must have an expiry.
    ExpiryRequired = "expiry_required";
    /// How many live keys an owner may have.
    KeysPerOwner = "keys_per_owner";
    /// Whether the names of live keys are unique.
    UniqueNames = "unique_names";
    /// The maximum grace period of a rotation, in seconds.
    MaxGrace = "max_grace";
    /// Whether legacy credentials are accepted at all.
    Accepted = "accepted";
    /// The first moment at which legacy credentials are no longer accepted.
    Sunset = "sunset";
    /// The periods in which legacy credentials are refused, as a list of `start/end`.
    Brownouts = "brownouts";
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The fields of an object that have a value.
pub(crate) type Fields = Vec<(Field, Value)>;

impl Item {
    /// The fields of the item that the audit trail records.
    pub(crate) fn fields(&self) -> Fields {
        match self {
            Self::Key(record) => record.fields(),
            Self::KeyDeleted { .. } => Fields::new(),
            Self::Cutoff(cutoff) => cutoff.fields(),
            Self::Legacy(record) => record.fields(),
            Self::Policy(_, policy) => policy.as_ref().map(Policy::fields).unwrap_or_default(),
            Self::LegacyPolicy(_, policy) => {
                let fields = policy.as_ref().map(LegacyPolicy::fields);
                fields.unwrap_or_default()
            }
        }
    }
}

impl NamespaceRecord {
    pub(crate) fn fields(&self) -> Fields {
        present([
            (Field::Namespace, Some(text(&self.tenant.namespace))),
            (Field::Label, self.label.as_ref().map(text)),
            (Field::Region, self.region.as_ref().map(text)),
        ])
    }
}

impl KeyRecord {
    pub(crate) fn fields(&self) -> Fields {
        let status = match self.status {
            Status::Active => "active",
            Status::Disabled => "disabled",
            Status::Revoked(_) => "revoked",
        };
        let previous = self.previous.as_ref().map(|previous| previous.until);
        present([
            (Field::Name, Some(text(&self.name))),
            (Field::Scopes, Some(scopes(&self.scopes))),
            (Field::Labels, labels(&self.labels)),
            (Field::Status, Some(text(status))),
            (Field::NotBefore, self.not_before.map(moment)),
            (Field::ExpiresAt, self.expires_at.map(moment)),
            (Field::IssuedAt, Some(moment(self.issued_at))),
            (Field::PreviousUntil, previous.map(moment)),
            (Field::Pepper, pepper(self.digest.pepper())),
        ])
    }
}

impl LegacyRecord {
    pub(crate) fn fields(&self) -> Fields {
        let status = match self.revoked {
            None => "active",
            Some(_) => "revoked",
        };
        present([
            (Field::Subject, Some(text(&self.subject))),
            (Field::Status, Some(text(status))),
            (Field::Pepper, pepper(self.digest.pepper())),
            (Field::Blocked, Some(Value::Flag(self.blocked))),
        ])
    }
}

impl Cutoff {
    pub(crate) fn fields(&self) -> Fields {
        present([
            (Field::Blocked, Some(Value::Flag(self.blocked))),
            (Field::RevokedUpTo, Some(Value::Number(self.up_to.get()))),
        ])
    }
}

impl Policy {
    pub(crate) fn fields(&self) -> Fields {
        let Self {
            min_ttl,
            max_ttl,
            expiry_required,
            keys_per_owner,
            unique_names,
            max_grace,
        } = self;
        let keys = keys_per_owner.map(|keys| Value::Number(keys.into()));
        present([
            (Field::MinTtl, Some(Value::Number(min_ttl.as_seconds()))),
            (
                Field::MaxTtl,
                max_ttl.map(|ttl| Value::Number(ttl.as_seconds())),
            ),
            (Field::ExpiryRequired, Some(Value::Flag(*expiry_required))),
            (Field::KeysPerOwner, keys),
            (Field::UniqueNames, Some(Value::Flag(*unique_names))),
            (Field::MaxGrace, Some(Value::Number(max_grace.as_secs()))),
        ])
    }
}

impl LegacyPolicy {
    pub(crate) fn fields(&self) -> Fields {
        let Self::Until { sunset, brownouts } = self else {
            return present([(Field::Accepted, Some(Value::Flag(false)))]);
        };
        let brownouts: Vec<String> = brownouts
            .iter()
            .map(|brownout| alloc::format!("{}/{}", brownout.start, brownout.end))
            .collect();
        let brownouts = (!brownouts.is_empty()).then_some(Value::List(brownouts));
        present([
            (Field::Accepted, Some(Value::Flag(true))),
            (Field::Sunset, Some(moment(*sunset))),
            (Field::Brownouts, brownouts),
        ])
    }
}

fn present<const N: usize>(fields: [(Field, Option<Value>); N]) -> Fields {
    fields
        .into_iter()
        .filter_map(|(field, value)| Some((field, value?)))
        .collect()
}

fn text(text: &(impl ToString + ?Sized)) -> Value {
    Value::Text(text.to_string())
}

fn moment(at: Timestamp) -> Value {
    text(&at)
}

fn pepper(id: Option<crate::digest::PepperId>) -> Option<Value> {
    id.map(|id| Value::Number(id.get().into()))
}

/// The scopes in one form: sorted and without repetition.
fn scopes(scopes: &Scopes) -> Value {
    match scopes {
        Scopes::All => text("all"),
        Scopes::Only(scopes) => {
            let mut names: Vec<String> = scopes.iter().map(ToString::to_string).collect();
            names.sort();
            names.dedup();
            Value::List(names)
        }
    }
}

/// A label's name has no `=`, so the list says which labels there are.
fn labels(labels: &Labels) -> Option<Value> {
    let texts = labels
        .iter()
        .map(|(name, value)| alloc::format!("{name}={value}"));
    (!labels.is_empty()).then(|| Value::List(texts.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{name::Scope, ttl::Ttl};

    #[test]
    fn a_change_reads_as_one_line() {
        let only = |name| Scopes::only([Scope::new(name).unwrap()]).unwrap();
        let fields = |value| present([(Field::Scopes, Some(scopes(&value)))]);
        let line = |old: &Fields, new: &Fields| FieldChange::between(old, new)[0].to_string();
        let (read, all) = (fields(only("function:read")), fields(Scopes::All));
        assert_eq!(line(&read, &all), "scopes: [function:read] -> all");
        assert_eq!(line(&Fields::new(), &all), "scopes: all");
        assert_eq!(line(&all, &Fields::new()), "scopes: all -> none");
    }

    #[test]
    fn a_scope_named_all_differs_from_all_scopes() {
        let named = Scopes::only([Scope::new("all").unwrap()]).unwrap();
        assert_ne!(scopes(&named), scopes(&Scopes::All));
    }

    #[test]
    fn only_the_changed_fields_of_a_policy_are_listed() {
        let old = Policy::default().with_max_ttl(Ttl::hours(1).unwrap());
        let new = old.clone().with_max_ttl(Ttl::days(3650).unwrap());
        let changes = FieldChange::between(&old.fields(), &new.fields());
        let lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["max_ttl: 3600 -> 315360000"]);
    }
}
