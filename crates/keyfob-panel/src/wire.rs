//! What the control plane answers, as far as pages show it.

use std::{borrow::Borrow, collections::BTreeMap};

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::{
    chart::{Day, Spark},
    client::segment,
    time::{Html, Moment},
};

/// The caller of the control plane: the user.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Caller {
    pub(crate) actor: Actor,
    pub(crate) team: String,
    pub(crate) rights: Vec<String>,
    pub(crate) expires_at: Option<Moment>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Actor {
    pub(crate) owner: Option<String>,
    pub(crate) credential: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Keys {
    pub(crate) access_keys: Vec<Key>,
    pub(crate) next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct OneKey<K = Key> {
    pub(crate) access_key: K,
}

/// A key that was created or rotated.
#[derive(Deserialize)]
pub(crate) struct KeyWithSecret {
    #[serde(flatten)]
    pub(crate) key: Key,
    #[serde(deserialize_with = "secret")]
    pub(crate) secret: Zeroizing<String>,
    pub(crate) in_force: bool,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) owner: String,
    pub(crate) creator: Actor,
    pub(crate) status: Status,
    pub(crate) scopes: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) created_at: Moment,
    pub(crate) expires_at: Option<Moment>,
    pub(crate) last_used_at: Option<Moment>,
    pub(crate) not_before: Option<Moment>,
    pub(crate) secret_issued_at: Moment,
    pub(crate) previous_secret_until: Option<Moment>,
    pub(crate) revocation: Option<Revocation>,
    pub(crate) revision: u64,
    #[serde(default)]
    pub(crate) usage: Option<KeyUsage>,
    /// What people call its namespace, once that was looked up.
    #[serde(skip)]
    pub(crate) title: String,
}

/// The use of a key on the last days.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct KeyUsage {
    from: Moment,
    accepted: Vec<u64>,
    refused: Vec<u64>,
}

impl Key {
    /// Its use on the last days, as a plot.
    pub(crate) fn spark(&self) -> Option<Spark> {
        let usage = self.usage.as_ref()?;
        let both = usage.accepted.iter().zip(&usage.refused);
        let days = (0..).zip(both).map(|(at, (accepted, refused))| Day {
            at: usage.from.plus(at * 86_400),
            accepted: *accepted,
            refused: *refused,
        });
        Some(Spark::new(days.collect()))
    }

    /// The address of its page.
    pub(crate) fn path(&self) -> String {
        format!("/keys/{}/{}", segment(&self.namespace), segment(&self.id))
    }

    /// The beginning and the end of its identifier.
    pub(crate) fn short_id(&self) -> String {
        let characters: Vec<char> = self.id.chars().collect();
        if characters.len() < 24 {
            return self.id.clone();
        }
        let hex = self.id.rfind('_').map_or(0, |at| at + 1);
        let head: String = characters.iter().take(hex + 4).collect();
        let tail: String = characters.iter().skip(characters.len() - 4).collect();
        format!("{head}…{tail}")
    }

    pub(crate) fn may_do_everything(&self) -> bool {
        self.scopes.iter().any(|scope| scope == "*")
    }

    /// Whether it works now, or could again without a new secret.
    pub(crate) fn is_living(&self) -> bool {
        !matches!(self.status, Status::Expired | Status::Revoked)
    }

    /// What people call the namespace that it opens.
    pub(crate) fn opens(&self) -> &str {
        if self.title.is_empty() {
            &self.namespace
        } else {
            &self.title
        }
    }

    pub(crate) fn is_control(&self) -> bool {
        self.namespace.starts_with("control:")
    }

    /// The owner without its kind.
    pub(crate) fn owner_name(&self) -> &str {
        bare(&self.owner)
    }

    pub(crate) fn person(&self) -> String {
        segment(&self.owner)
    }

    pub(crate) fn expires(&self, now: impl Borrow<Moment>) -> Html {
        match self.expires_at {
            Some(at) => at.from(now),
            None => Html("never".to_owned()),
        }
    }

    pub(crate) fn used(&self, now: impl Borrow<Moment>) -> Html {
        match self.last_used_at {
            Some(at) => at.from(now),
            None => Html("never".to_owned()),
        }
    }

    /// Whether it expires within two weeks.
    pub(crate) fn expires_soon(&self, now: impl Borrow<Moment>) -> bool {
        let soon = now.borrow().plus(14 * 86_400);
        self.is_living() && self.expires_at.is_some_and(|at| at < soon)
    }

    /// Whether it was used since `seconds` ago.
    pub(crate) fn used_within(&self, now: Moment, seconds: i64) -> bool {
        self.last_used_at.is_some_and(|at| at >= now.plus(-seconds))
    }
}

/// The name of an owner without its kind.
pub(crate) fn bare(owner: &str) -> &str {
    owner.split_once(':').map_or(owner, |(_, name)| name)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Active,
    NotYetValid,
    Disabled,
    Expired,
    Revoked,
}

impl Status {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::NotYetValid => "Not yet valid",
            Self::Disabled => "Disabled",
            Self::Expired => "Expired",
            Self::Revoked => "Revoked",
        }
    }

    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Active => "good",
            Self::NotYetValid | Self::Disabled => "warn",
            Self::Expired => "off",
            Self::Revoked => "bad",
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Revocation {
    pub(crate) at: Moment,
    pub(crate) by: Actor,
    pub(crate) cause: String,
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Namespaces {
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) next_cursor: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the control plane")]
pub(crate) struct Namespace {
    pub(crate) namespace: String,
    pub(crate) label: String,
    pub(crate) created_at: Moment,
    pub(crate) removed: bool,
}

impl Namespace {
    pub(crate) fn is_control(&self) -> bool {
        self.namespace.starts_with("control:")
    }

    /// Its label, and its name if that says more.
    pub(crate) fn title(&self) -> String {
        if self.is_control() {
            "Control plane (panel and API)".to_owned()
        } else {
            self.label.clone()
        }
    }

    pub(crate) fn segment(&self) -> String {
        segment(&self.namespace)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct NewNamespace {
    pub(crate) namespace: CreatedNamespace,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CreatedNamespace {
    pub(crate) namespace: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Members {
    pub(crate) members: Vec<Member>,
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(crate) removed: bool,
}

impl Member {
    pub(crate) fn segment(&self) -> String {
        segment(&self.owner)
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Teams {
    pub(crate) teams: Vec<Team>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Team {
    pub(crate) team: String,
    pub(crate) removed: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ShownPolicy {
    pub(crate) policy: Policy,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
pub(crate) struct Policy {
    pub(crate) min_expires_in: String,
    pub(crate) max_expires_in: Option<String>,
    pub(crate) expiry_required: bool,
    pub(crate) keys_per_owner: Option<u32>,
    pub(crate) unique_names: bool,
    pub(crate) max_grace_seconds: u64,
}

impl Policy {
    /// A text that two policies have in common only if they are equal.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What a removal or a revocation ended.
#[derive(Debug, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the control plane")]
pub(crate) struct Revoked {
    pub(crate) keys_revoked: Option<u64>,
    pub(crate) legacy_revoked: Option<u64>,
    pub(crate) keys_created_for_others: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LegacyReport {
    pub(crate) namespaces: Vec<LegacyUse>,
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LegacyUse {
    pub(crate) namespace: String,
    /// What people call the namespace, once that was looked up.
    #[serde(skip)]
    pub(crate) title: String,
    pub(crate) last_used_at: Option<Moment>,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) policy: LegacyPolicy,
    pub(crate) credentials: Vec<LegacyCredential>,
}

/// Use over time.
#[derive(Debug, Deserialize)]
pub(crate) struct Use {
    pub(crate) buckets: Vec<Bucket>,
}

/// The use in an hour or on a day.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Bucket {
    pub(crate) start: Moment,
    pub(crate) keys: Counts,
    pub(crate) legacy: Counts,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    /// Of the accepted ones, those with the secret before the last rotation.
    #[serde(default)]
    pub(crate) accepted_previous: u64,
    pub(crate) refused: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LegacyCredential {
    pub(crate) id: String,
    pub(crate) subject: String,
    pub(crate) blocked: bool,
    pub(crate) revoked: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ShownLegacyPolicy {
    pub(crate) policy: LegacyPolicy,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
pub(crate) struct LegacyPolicy {
    pub(crate) sunset: Option<String>,
    #[serde(default)]
    pub(crate) brownouts: Vec<Brownout>,
}

impl LegacyPolicy {
    pub(crate) fn is_cut_off(&self) -> bool {
        self.sunset.is_none()
    }

    /// The first moment at which shared credentials are refused.
    pub(crate) fn sunset(&self) -> Option<Moment> {
        self.sunset.as_deref()?.parse().ok().map(Moment)
    }

    /// A text that two policies have in common only if they are equal.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
pub(crate) struct Brownout {
    pub(crate) start: String,
    pub(crate) end: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CutOff {
    pub(crate) credentials: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Events {
    pub(crate) events: Vec<Event>,
    pub(crate) next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Event {
    pub(crate) revision: u64,
    pub(crate) at: Moment,
    pub(crate) action: String,
    pub(crate) actor: Actor,
    pub(crate) namespace: Option<String>,
    pub(crate) owner: Option<String>,
    pub(crate) credential: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) changes: Vec<Change>,
    pub(crate) hash: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Change {
    pub(crate) field: String,
    pub(crate) old: Option<serde_json::Value>,
    pub(crate) new: Option<serde_json::Value>,
}

impl Change {
    pub(crate) fn old_text(&self) -> String {
        text(self.old.as_ref())
    }

    pub(crate) fn new_text(&self) -> String {
        text(self.new.as_ref())
    }

    pub(crate) fn words(&self) -> String {
        self.field.replace('_', " ")
    }
}

fn text(value: Option<&serde_json::Value>) -> String {
    match value {
        None | Some(serde_json::Value::Null) => "—".to_owned(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Array(list)) => {
            let texts = list.iter().map(|value| text(Some(value)));
            texts.collect::<Vec<_>>().join(", ")
        }
        Some(other) => other.to_string(),
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Verification {
    pub(crate) intact: bool,
    pub(crate) head: Option<String>,
    pub(crate) records: Option<u64>,
    pub(crate) fault: Option<String>,
    pub(crate) broken_at: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the answer has each")]
pub(crate) struct LeakOutcome {
    pub(crate) credential: Option<String>,
    pub(crate) revoked: bool,
    pub(crate) recorded: bool,
    pub(crate) secret_replaced: bool,
    pub(crate) url_recorded: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Introspection {
    pub(crate) active: bool,
    pub(crate) client_id: Option<String>,
    pub(crate) aud: Option<String>,
    pub(crate) sub: Option<String>,
}

/// `{}`.
#[derive(Debug, Deserialize)]
pub(crate) struct Done {}
