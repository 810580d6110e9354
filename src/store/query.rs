//! Queries and pages.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, ops::Range, str::FromStr};

use crate::{
    audit::{Action, AuditEntry},
    credential_id::CredentialId,
    cutoff::{Cutoff, Target},
    identity::{Owner, Tenant},
    key_id::KeyId,
    legacy::{LegacyId, LegacyRecord},
    name::{KeyName, LabelName, LabelValue, NamespaceId, NamespaceLabel, Region, TeamId},
    record::{KeyRecord, Status},
    revision::Revision,
    timestamp::Timestamp,
};

/// Selects keys of a team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyQuery {
    /// The team. A query never returns keys of another team.
    pub team: TeamId,
    /// Only keys of this namespace.
    pub namespace: Option<NamespaceId>,
    /// Only keys of this owner.
    pub owner: Option<Owner>,
    /// Only keys that this person or service created for another owner.
    pub created_for_others_by: Option<Owner>,
    /// Only keys of this name.
    pub name: Option<KeyName>,
    /// Only keys with this label.
    pub label: Option<(LabelName, LabelValue)>,
    /// Only keys of this status.
    pub status: Option<StatusFilter>,
    /// Only keys with one of these identifiers. Each of them is looked up: see
    /// [`KeyQuery::IDS_MAX`].
    pub ids: Option<Vec<KeyId>>,
    /// Only keys that have this text in what names them.
    pub containing: Option<SearchText>,
    /// Only keys whose own expiry is in this range. They are listed in the order of their expiry, the
    /// earliest first. A policy may end a key earlier: this knows nothing of policies.
    pub expires: Option<Range<Timestamp>>,
    /// The order of the keys: that of their creation, or its reverse. Ignored with
    /// [`expires`](KeyQuery::expires).
    pub order: Order,
    /// Only items after this cursor, in the order of the query.
    pub after: Option<Cursor>,
    /// The maximum number of items, clamped to 1 to [`KeyQuery::LIMIT_MAX`].
    pub limit: usize,
}

impl KeyQuery {
    /// The maximum number of items on a page.
    pub const LIMIT_MAX: usize = 1000;

    /// How many identifiers a caller should put into a query at most.
    pub const IDS_MAX: usize = 200;

    /// Selects all keys of a team.
    pub fn team(team: TeamId) -> Self {
        Self {
            team,
            namespace: None,
            owner: None,
            created_for_others_by: None,
            name: None,
            label: None,
            status: None,
            ids: None,
            containing: None,
            expires: None,
            order: Order::OldestFirst,
            after: None,
            limit: 100,
        }
    }

    /// Selects all keys of a namespace.
    pub fn namespace(tenant: &Tenant) -> Self {
        Self {
            namespace: Some(tenant.namespace.clone()),
            ..Self::team(tenant.team.clone())
        }
    }

    /// Selects only keys of this owner.
    #[must_use]
    pub fn with_owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Selects only keys that this person or service created for another owner.
    #[must_use]
    pub fn with_created_for_others_by(mut self, creator: Owner) -> Self {
        self.created_for_others_by = Some(creator);
        self
    }

    /// Selects only keys of this name.
    #[must_use]
    pub fn with_name(mut self, name: KeyName) -> Self {
        self.name = Some(name);
        self
    }

    /// Selects only keys with this label.
    #[must_use]
    pub fn with_label(mut self, name: LabelName, value: LabelValue) -> Self {
        self.label = Some((name, value));
        self
    }

    /// Selects only keys of this status.
    #[must_use]
    pub fn with_status(mut self, status: StatusFilter) -> Self {
        self.status = Some(status);
        self
    }

    /// Selects only keys with one of these identifiers.
    #[must_use]
    pub fn with_ids(mut self, ids: Vec<KeyId>) -> Self {
        self.ids = Some(ids);
        self
    }

    /// Selects only keys that have this text in what names them.
    #[must_use]
    pub fn with_containing(mut self, text: SearchText) -> Self {
        self.containing = Some(text);
        self
    }

    /// Selects only keys whose own expiry is in this range, the earliest first.
    #[must_use]
    pub fn with_expires(mut self, range: Range<Timestamp>) -> Self {
        self.expires = Some(range);
        self
    }

    /// Lists the newest keys first.
    #[must_use]
    pub fn newest_first(mut self) -> Self {
        self.order = Order::NewestFirst;
        self
    }

    /// Selects only items after this cursor.
    #[must_use]
    pub fn after(mut self, place: Cursor) -> Self {
        self.after = Some(place);
        self
    }

    /// Sets the maximum number of items, 1 to [`KeyQuery::LIMIT_MAX`].
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Whether the query selects `record`, which must have cutoffs applied. The cursor is ignored.
    pub fn selects(&self, record: &KeyRecord) -> bool {
        record.tenant.team == self.team
            && fits(self.namespace.as_ref(), &record.tenant.namespace)
            && fits(self.owner.as_ref(), &record.owner)
            && fits_some(
                self.created_for_others_by.as_ref(),
                record.created_for_another_by(),
            )
            && fits(self.name.as_ref(), &record.name)
            && self
                .label
                .as_ref()
                .is_none_or(|(name, value)| record.labels.value(name.as_str()) == Some(value))
            && self
                .status
                .is_none_or(|status| status.selects(&record.status))
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&record.id))
            && self
                .containing
                .as_ref()
                .is_none_or(|text| text.is_in(record))
            && self.expires.as_ref().is_none_or(|range| {
                let expires_at = record.expires_at;
                expires_at.is_some_and(|at| range.contains(&at))
            })
    }

    /// The revisions between which the next key of the page may have been created, both exclusive.
    /// If the keys are in the order of their expiry, see [`KeyQuery::first_expiry`].
    pub fn between(&self) -> (Revision, Revision) {
        let (start, end) = (Revision::ZERO, Revision::new(u64::MAX));
        match (self.order, self.after) {
            _ if self.expires.is_some() => (start, end),
            (_, None) => (start, end),
            (Order::OldestFirst, Some(cursor)) => (cursor.revision(), end),
            (Order::NewestFirst, Some(cursor)) => (start, cursor.revision()),
        }
    }

    /// The expiry and the revision of creation after which the next key of the page is, if the keys
    /// are in the order of their expiry.
    pub fn first_expiry(&self) -> Option<(Timestamp, Revision)> {
        let start = (self.expires.as_ref()?.start, Revision::ZERO);
        let after = self
            .after
            .and_then(|cursor| Some((cursor.expiry?, cursor.revision)));
        Some(after.map_or(start, |after| after.max(start)))
    }

    /// The place of a key in the list.
    pub fn place(&self, record: &KeyRecord) -> Cursor {
        Cursor {
            expiry: record.expires_at.filter(|_| self.expires.is_some()),
            revision: record.created_revision,
        }
    }

    /// Whether a key is on this page or a later one, if the query selects it.
    pub fn reaches(&self, record: &KeyRecord) -> bool {
        let (after, before) = self.between();
        let revision = record.created_revision;
        let in_order = match (self.first_expiry(), record.expires_at) {
            (Some(first), Some(expiry)) => first < (expiry, revision),
            _ => true,
        };
        in_order && after < revision && revision < before
    }
}

fn fits<T: PartialEq>(wanted: Option<&T>, value: &T) -> bool {
    wanted.is_none_or(|wanted| wanted == value)
}

fn fits_some<T: PartialEq>(wanted: Option<&T>, value: Option<&T>) -> bool {
    wanted.is_none() || wanted == value
}

/// A text to search for in what names a key: its name, its namespace, its owner as `user:alice` and
/// its identifier as `key:d79e…`. Letters are compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchText(String);

impl SearchText {
    /// Searches for this text; `None` if it is empty.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_lowercase()))
    }

    /// The text in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text is in what names the key.
    pub fn is_in(&self, record: &KeyRecord) -> bool {
        self.is_in_text(record.name.as_str())
            || self.is_in_text(record.tenant.namespace.as_str())
            || self.is_in_text(&record.owner.to_string())
            || self.is_in_text(&CredentialId::Key(record.id).to_string())
    }

    /// Whether the text is in this one.
    pub fn is_in_text(&self, text: &str) -> bool {
        if !text.is_ascii() {
            return text.to_lowercase().contains(&self.0);
        }
        let wanted = self.0.as_bytes();
        let first = wanted.first().copied();
        let mut windows = text.as_bytes().windows(wanted.len());
        windows.any(|window| {
            // Nearly every window is told apart by its first byte.
            window.first().map(u8::to_ascii_lowercase) == first
                && window.eq_ignore_ascii_case(wanted)
        })
    }
}

/// The status of keys to list. Expiry does not count: an expired key may be active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusFilter {
    /// Keys that are neither disabled nor revoked.
    Active,
    /// Keys that are disabled.
    Disabled,
    /// Keys that are revoked.
    Revoked,
    /// Keys that are not revoked: active or disabled.
    Unrevoked,
}

impl StatusFilter {
    const ALL: [Self; 4] = [Self::Active, Self::Disabled, Self::Revoked, Self::Unrevoked];

    /// The name of the status, as in `active`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
            Self::Unrevoked => "unrevoked",
        }
    }

    /// The names of the statuses that it selects.
    pub fn statuses(self) -> &'static [&'static str] {
        match self {
            Self::Active => &["active"],
            Self::Disabled => &["disabled"],
            Self::Revoked => &["revoked"],
            Self::Unrevoked => &["active", "disabled"],
        }
    }

    fn selects(self, status: &Status) -> bool {
        let name = match status {
            Status::Active => "active",
            Status::Disabled => "disabled",
            Status::Revoked(_) => "revoked",
        };
        self.statuses().contains(&name)
    }
}

impl fmt::Display for StatusFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for StatusFilter {
    type Err = StatusFilterError;

    fn from_str(text: &str) -> Result<Self, StatusFilterError> {
        let named = Self::ALL.into_iter().find(|status| status.as_str() == text);
        named.ok_or(StatusFilterError)
    }
}

/// A text is not a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("status: must be active, disabled, revoked or unrevoked")]
pub struct StatusFilterError;

/// Selects legacy credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyQuery {
    /// Only those of this team; `None` selects every team, for operators.
    pub team: Option<TeamId>,
    /// Only those of this namespace.
    pub namespace: Option<NamespaceId>,
    /// Only the one with this identifier.
    pub id: Option<LegacyId>,
    /// Only items after this cursor.
    pub after: Option<Cursor>,
    /// The maximum number of items, clamped to 1 to [`KeyQuery::LIMIT_MAX`].
    pub limit: usize,
}

impl LegacyQuery {
    /// Whether the query selects `record`. The cursor is ignored.
    pub fn selects(&self, record: &LegacyRecord) -> bool {
        let Tenant { team, namespace } = &record.tenant;
        fits(self.team.as_ref(), team)
            && fits(self.namespace.as_ref(), namespace)
            && fits(self.id.as_ref(), &record.id)
    }
}

impl LegacyQuery {
    /// Selects all legacy credentials of a team.
    pub fn team(team: TeamId) -> Self {
        Self {
            team: Some(team),
            ..Self::every_team()
        }
    }

    /// Selects the legacy credentials of every team: for operators.
    pub fn every_team() -> Self {
        Self {
            team: None,
            namespace: None,
            id: None,
            after: None,
            limit: 100,
        }
    }

    /// Selects all legacy credentials of a namespace.
    pub fn namespace(tenant: &Tenant) -> Self {
        Self {
            namespace: Some(tenant.namespace.clone()),
            ..Self::team(tenant.team.clone())
        }
    }

    /// Selects only the one with this identifier.
    #[must_use]
    pub fn with_id(mut self, id: LegacyId) -> Self {
        self.id = Some(id);
        self
    }

    /// Selects only items after this cursor.
    #[must_use]
    pub fn after(mut self, place: Cursor) -> Self {
        self.after = Some(place);
        self
    }

    /// Sets the maximum number of items, 1 to [`KeyQuery::LIMIT_MAX`].
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// Selects namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceQuery {
    /// Only those of this team; `None` selects every team, for operators.
    pub team: Option<TeamId>,
    /// Only this one.
    pub namespace: Option<NamespaceId>,
    /// Only items after this cursor.
    pub after: Option<Cursor>,
    /// The maximum number of items, clamped to 1 to [`KeyQuery::LIMIT_MAX`].
    pub limit: usize,
}

impl NamespaceQuery {
    /// Selects all namespaces of a team.
    pub fn team(team: TeamId) -> Self {
        Self {
            team: Some(team),
            ..Self::every_team()
        }
    }

    /// Selects the namespaces of every team: for operators.
    pub fn every_team() -> Self {
        Self {
            team: None,
            namespace: None,
            after: None,
            limit: 100,
        }
    }

    /// Selects only this namespace.
    #[must_use]
    pub fn with_namespace(mut self, namespace: NamespaceId) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// Selects only items after this cursor.
    #[must_use]
    pub fn after(mut self, place: Cursor) -> Self {
        self.after = Some(place);
        self
    }

    /// Sets the maximum number of items, 1 to [`KeyQuery::LIMIT_MAX`].
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Whether the query selects `record`. The cursor is ignored.
    pub fn selects(&self, record: &NamespaceRecord) -> bool {
        fits(self.team.as_ref(), &record.tenant.team)
            && fits(self.namespace.as_ref(), &record.tenant.namespace)
    }
}

/// A namespace that is bound to a team, by [`Change::CreateNamespace`] or by the first change that
/// used it.
///
/// [`Change::CreateNamespace`]: crate::store::Change::CreateNamespace
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NamespaceRecord {
    /// The namespace and its team.
    pub tenant: Tenant,
    /// What people call it, if its creation said so.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub label: Option<NamespaceLabel>,
    /// Where it runs, if its creation said so.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub region: Option<Region>,
    /// When it was bound to the team.
    pub created_at: Timestamp,
    /// Whether the namespace or its team is blocked.
    pub removed: bool,
    /// The revision at which it was bound.
    pub created_revision: Revision,
}

impl NamespaceRecord {
    /// The targets that block the namespace when they are blocked.
    pub fn targets(&self) -> [Target; 2] {
        [
            Target::Team(self.tenant.team.clone()),
            Target::Namespace(self.tenant.clone()),
        ]
    }

    /// Applies the cutoffs of its targets.
    #[must_use]
    pub fn with_cutoffs<'a>(self, cutoffs: impl IntoIterator<Item = &'a Cutoff>) -> Self {
        let removed = cutoffs.into_iter().any(|cutoff| cutoff.blocked);
        Self { removed, ..self }
    }
}

/// Selects events of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only those of this team; `None` selects every team, for operators.
    pub team: Option<TeamId>,
    /// Only those of this namespace.
    pub namespace: Option<NamespaceId>,
    /// Only those of this credential.
    pub credential: Option<CredentialId>,
    /// Only those of this actor.
    pub actor: Option<Owner>,
    /// Only those of this action.
    pub action: Option<Action>,
    /// Only revocations of credentials that were found in the open, as
    /// [`AuditEntry::is_leak`] tells.
    pub leaks_only: bool,
    /// Only events at this time or later.
    pub since: Option<Timestamp>,
    /// Only events before this time.
    pub until: Option<Timestamp>,
    /// The order of the events.
    pub order: Order,
    /// Only items after this cursor, in the order of the query.
    pub after: Option<Cursor>,
    /// The maximum number of items, clamped to 1 to [`KeyQuery::LIMIT_MAX`].
    pub limit: usize,
}

impl AuditQuery {
    /// Selects the events of a team.
    pub fn team(team: TeamId) -> Self {
        Self {
            team: Some(team),
            ..Self::every_team()
        }
    }

    /// Selects the events of every team: for operators.
    pub fn every_team() -> Self {
        Self {
            team: None,
            namespace: None,
            credential: None,
            actor: None,
            action: None,
            leaks_only: false,
            since: None,
            until: None,
            order: Order::OldestFirst,
            after: None,
            limit: 100,
        }
    }

    /// Lists the newest events first.
    #[must_use]
    pub fn newest_first(mut self) -> Self {
        self.order = Order::NewestFirst;
        self
    }

    /// Selects only events of this namespace.
    #[must_use]
    pub fn with_namespace(mut self, namespace: NamespaceId) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// Selects only events of this credential.
    #[must_use]
    pub fn with_credential(mut self, credential: CredentialId) -> Self {
        self.credential = Some(credential);
        self
    }

    /// Selects only events of this actor.
    #[must_use]
    pub fn with_actor(mut self, actor: Owner) -> Self {
        self.actor = Some(actor);
        self
    }

    /// Selects only events of this action.
    #[must_use]
    pub fn with_action(mut self, action: Action) -> Self {
        self.action = Some(action);
        self
    }

    /// Selects only revocations of credentials that were found in the open.
    #[must_use]
    pub fn leaks_only(mut self) -> Self {
        self.leaks_only = true;
        self
    }

    /// Selects only events at this time or later.
    #[must_use]
    pub fn since(mut self, time: impl Into<Timestamp>) -> Self {
        self.since = Some(time.into());
        self
    }

    /// Selects only events before this time.
    #[must_use]
    pub fn until(mut self, time: impl Into<Timestamp>) -> Self {
        self.until = Some(time.into());
        self
    }

    /// Selects only items after this cursor.
    #[must_use]
    pub fn after(mut self, place: Cursor) -> Self {
        self.after = Some(place);
        self
    }

    /// Sets the maximum number of items, 1 to [`KeyQuery::LIMIT_MAX`].
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Whether the query selects `entry`. The cursor is ignored.
    pub fn selects(&self, entry: &AuditEntry) -> bool {
        fits_some(self.team.as_ref(), entry.team.as_ref())
            && fits_some(self.namespace.as_ref(), entry.namespace.as_ref())
            && fits_some(self.credential.as_ref(), entry.credential.as_ref())
            && fits_some(self.actor.as_ref(), entry.actor.owner.as_ref())
            && fits(self.action.as_ref(), &entry.action)
            && (!self.leaks_only || entry.is_leak())
            && self.since.is_none_or(|since| since <= entry.at)
            && self.until.is_none_or(|until| entry.at < until)
    }
}

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By increasing revision. The last page grows: a program continues after its last item.
    #[default]
    OldestFirst,
    /// By decreasing revision.
    NewestFirst,
}

fn page_limit(limit: usize) -> usize {
    limit.clamp(1, KeyQuery::LIMIT_MAX)
}

/// The filter of a [`KeyQuery`] that leaves the fewest keys. A store finds rows by its index for
/// this one, and tests the others row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPath<'a> {
    /// By the team, in the order of expiry.
    Expiry(&'a Range<Timestamp>),
    /// By the identifiers.
    Ids(&'a [KeyId]),
    /// By the team and a name.
    Name(&'a KeyName),
    /// By the team and an owner.
    Owner(&'a Owner),
    /// By the team and the creator, of keys that were created for another owner.
    CreatedForOthersBy(&'a Owner),
    /// By the team and a label.
    Label(&'a LabelName, &'a LabelValue),
    /// By a namespace.
    Namespace(&'a NamespaceId),
    /// By the team alone.
    Team,
}

impl KeyQuery {
    /// The filter that leaves the fewest keys.
    pub fn path(&self) -> KeyPath<'_> {
        if let Some(range) = &self.expires {
            KeyPath::Expiry(range)
        } else if let Some(ids) = &self.ids {
            KeyPath::Ids(ids)
        } else if let Some(name) = &self.name {
            KeyPath::Name(name)
        } else if let Some(owner) = &self.owner {
            KeyPath::Owner(owner)
        } else if let Some(creator) = &self.created_for_others_by {
            KeyPath::CreatedForOthersBy(creator)
        } else if let Some((name, value)) = &self.label {
            KeyPath::Label(name, value)
        } else if let Some(namespace) = &self.namespace {
            KeyPath::Namespace(namespace)
        } else {
            KeyPath::Team
        }
    }
}

/// The filter of an [`AuditQuery`] that leaves the fewest events, as [`KeyPath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditPath<'a> {
    /// By a credential.
    Credential(CredentialId),
    /// Of revocations of credentials that were found in the open, in all teams: there are few.
    Leaks,
    /// By an actor.
    Actor(&'a Owner),
    /// By a team and an action.
    Action(&'a TeamId, Action),
    /// By a namespace.
    Namespace(&'a NamespaceId),
    /// By a team.
    Team(&'a TeamId),
    /// The whole trail.
    All,
}

impl AuditQuery {
    /// The filter that leaves the fewest events.
    pub fn path(&self) -> AuditPath<'_> {
        if let Some(credential) = self.credential {
            AuditPath::Credential(credential)
        } else if self.leaks_only {
            AuditPath::Leaks
        } else if let Some(actor) = &self.actor {
            AuditPath::Actor(actor)
        } else if let (Some(action), Some(team)) = (self.action, &self.team) {
            AuditPath::Action(team, action)
        } else if let Some(namespace) = &self.namespace {
            AuditPath::Namespace(namespace)
        } else if let Some(team) = &self.team {
            AuditPath::Team(team)
        } else {
            AuditPath::All
        }
    }
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The items, oldest first unless the query says otherwise.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` on the last page.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// How many rows a store reads for a page of `limit`: one more than the page has, which tells
    /// whether there are more.
    pub fn rows(limit: usize) -> usize {
        page_limit(limit).saturating_add(1)
    }

    /// The page that begins with these items: the first `limit` of them, and a cursor if there is
    /// one more. `position` is an item's place in the list.
    ///
    /// # Errors
    ///
    /// An item that is reached could not be read.
    pub fn first_of<E, C: Into<Cursor>>(
        items: impl IntoIterator<Item = Result<T, E>>,
        limit: usize,
        position: impl Fn(&T) -> C,
    ) -> Result<Self, E> {
        let mut rest = items.into_iter();
        let items: Vec<T> = rest
            .by_ref()
            .take(page_limit(limit))
            .collect::<Result<_, E>>()?;
        let more = rest.next().transpose()?.is_some();
        let last = items.last().filter(|_| more);
        let next = last.map(|last| position(last).into());
        Ok(Self { items, next })
    }

    /// The page of the items that `selects` selects, of at most [`Page::LOOKED_THROUGH`] items that
    /// are looked through: a list of which few or none are selected does not keep its store busy.
    /// Such a page may have fewer items than `limit`, or none, and a cursor.
    ///
    /// # Errors
    ///
    /// An item that is reached could not be read.
    pub fn selected_of<E, C: Into<Cursor>>(
        items: impl IntoIterator<Item = Result<T, E>>,
        limit: usize,
        position: impl Fn(&T) -> C,
        selects: impl Fn(&T) -> bool,
    ) -> Result<Self, E> {
        let rows = items.into_iter().map(|item| {
            let item = item?;
            let position = position(&item);
            let found = if selects(&item) {
                Found::Selected(item)
            } else {
                Found::Read
            };
            Ok((position, found))
        });
        Self::found_in(rows, limit)
    }

    /// The page of what is selected of these rows, each with its position. As many rows are looked
    /// through as [`Page::LOOKED_THROUGH`] items that are read would cost, or
    /// [`Page::PASSED_OVER`] that an index lets pass over. Such a page may have fewer items than
    /// `limit`, or none, and a cursor.
    ///
    /// # Errors
    ///
    /// A row that is reached could not be read.
    pub fn found_in<E, C: Into<Cursor>>(
        rows: impl IntoIterator<Item = Result<(C, Found<T>), E>>,
        limit: usize,
    ) -> Result<Self, E> {
        const READ: usize = Page::<()>::PASSED_OVER / Page::<()>::LOOKED_THROUGH;
        let limit = page_limit(limit);
        let mut items = Vec::new();
        let (mut cost, mut last, mut last_item) = (0_usize, None, None);
        for row in rows {
            let (position, found) = row?;
            if cost >= Self::PASSED_OVER {
                return Ok(Self { items, next: last });
            }
            last = Some(position.into());
            cost = cost.saturating_add(match found {
                Found::PassedOver => 1,
                Found::Read => READ,
                Found::Selected(item) => {
                    if items.len() >= limit {
                        let next = last_item;
                        return Ok(Self { items, next });
                    }
                    items.push(item);
                    last_item = last;
                    READ
                }
            });
        }
        Ok(Self { items, next: None })
    }

    /// How many items a store reads for a page at most.
    pub const LOOKED_THROUGH: usize = 10_000;

    /// How many rows of an index a store passes over for a page at most, without reading items.
    pub const PASSED_OVER: usize = 50_000;

    /// Converts the items.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(change).collect(),
            next: self.next,
        }
    }
}

/// What became of a row that was looked at for a [`Page`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// The index says that the query does not select it.
    PassedOver,
    /// It was read, and the query does not select it.
    Read,
    /// The query selects it.
    Selected(T),
}

/// A position in a list: after the item with a revision, and in a list by expiry, after that expiry.
///
/// A cursor carries no permission and no filter, so a forged cursor is harmless: the team in the
/// query decides what is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    expiry: Option<Timestamp>,
    revision: Revision,
}

impl Cursor {
    /// The position after the item with this revision.
    pub const fn after(revision: Revision) -> Self {
        Self {
            expiry: None,
            revision,
        }
    }

    /// The position after the key with this expiry and this revision of creation.
    pub const fn after_expiry(expiry: Timestamp, revision: Revision) -> Self {
        Self {
            expiry: Some(expiry),
            revision,
        }
    }

    /// The expiry of the key before the position, in a list by expiry.
    pub const fn expiry(self) -> Option<Timestamp> {
        self.expiry
    }

    /// The revision of the item before the position.
    pub const fn revision(self) -> Revision {
        self.revision
    }
}

impl From<Revision> for Cursor {
    fn from(revision: Revision) -> Self {
        Self::after(revision)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:x}", self.revision.get())?;
        match self.expiry {
            Some(expiry) => write!(f, ".{}", expiry.as_unix()),
            None => Ok(()),
        }
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let place = text.strip_prefix('c').ok_or(CursorError)?;
        let (digits, expiry) = match place.split_once('.') {
            Some((digits, expiry)) => (digits, Some(expiry)),
            None => (place, None),
        };
        let expiry = expiry.map(str::parse).transpose();
        let cursor = Self {
            expiry: expiry.map_err(|_| CursorError)?.map(Timestamp::from_unix),
            revision: Revision::new(u64::from_str_radix(digits, 16).map_err(|_| CursorError)?),
        };
        if cursor.to_string() == text {
            Ok(cursor)
        } else {
            Err(CursorError)
        }
    }
}

/// A text is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cursor: must be the cursor of an earlier page, as in c1f")]
pub struct CursorError;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_page_of_few_selected_items_ends_after_a_bounded_number_of_others() {
        let most = Page::<u64>::LOOKED_THROUGH as u64;
        let page = |after: u64, limit, selects: &dyn Fn(u64) -> bool| {
            let items = (after + 1..=25_000).map(Ok::<_, core::convert::Infallible>);
            let Ok(page) = Page::selected_of(items, limit, |n| Revision::new(*n), |n| selects(*n));
            (page.items, page.next.map(|next| next.revision().get()))
        };
        // None is selected.
        assert_eq!(page(0, 5, &|_| false), (vec![], Some(most)));
        assert_eq!(page(20_000, 5, &|_| false), (vec![], None));
        // Every page together has every selected item once.
        for limit in [1, 3, 100] {
            let selects = |n: u64| n % 4_999 == 0 || n == 10_001;
            let (mut found, mut after) = (vec![], 0);
            loop {
                let (items, next) = page(after, limit, &selects);
                assert!(items.len() <= limit);
                found.extend(items);
                match next {
                    Some(next) => after = next,
                    None => break,
                }
            }
            assert_eq!(found, [4_999, 9_998, 10_001, 14_997, 19_996, 24_995]);
        }
        // A full page ends at its last item, and the last page has no cursor.
        assert_eq!(page(0, 2, &|n| n <= 3), (vec![1, 2], Some(2)));
        assert_eq!(page(24_998, 2, &|_| true), (vec![24_999, 25_000], None));
    }

    #[test]
    fn rows_that_an_index_passes_over_cost_less_than_items_that_are_read() {
        let next = |row: Found<u64>, rows: u64| {
            let rows =
                (1..=rows).map(|n| Ok::<_, core::convert::Infallible>((Revision::new(n), row)));
            let Ok(page) = Page::found_in(rows, 5);
            page.next.map(|next| next.revision().get())
        };
        let (passed, read) = (
            Page::<u64>::PASSED_OVER as u64,
            Page::<u64>::LOOKED_THROUGH as u64,
        );
        assert_eq!(next(Found::PassedOver, passed), None);
        assert_eq!(next(Found::PassedOver, passed + 1), Some(passed));
        assert_eq!(next(Found::Read, read), None);
        assert_eq!(next(Found::Read, read + 1), Some(read));
    }

    #[test]
    fn a_text_is_found_without_regard_to_case_and_taken_literally() {
        for (wanted, text, found) in [
            ("WORK", "my worker", true),
            ("ärger", "ÄRGER 7", true),
            ("ÄRGER", "kein ärger", true),
            ("%", "100%", true),
            ("%", "100", false),
            ("_", "a_b", true),
            ("_", "ab", false),
            ("a\u{212a}", "AK", true),
            ("ключ", "Ключ", true),
            ("longer than the text", "text", false),
        ] {
            let wanted = SearchText::new(wanted).unwrap();
            assert_eq!(wanted.is_in_text(text), found, "{wanted:?} in {text}");
        }
        assert_eq!(SearchText::new(""), None);
    }

    #[test]
    fn a_query_for_a_team_excludes_other_teams() {
        let team = || TeamId::new("acme").unwrap();
        assert_eq!(LegacyQuery::team(team()).team, Some(team()));
        assert_eq!(NamespaceQuery::team(team()).team, Some(team()));
        assert_eq!(AuditQuery::team(team()).team, Some(team()));
    }

    #[test]
    fn a_cursor_has_exactly_one_text_form() {
        for revision in [0, 1, 255, u64::MAX] {
            let revision = Revision::new(revision);
            let mut cursors = vec![Cursor::after(revision)];
            for expiry in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
                cursors.push(Cursor::after_expiry(expiry, revision));
            }
            for cursor in cursors {
                assert_eq!(cursor.to_string().parse(), Ok(cursor));
            }
        }
        for bad in [
            "",
            "c",
            "C1",
            "c01",
            "c+1",
            "c1 ",
            "cG",
            "c10000000000000000",
            "c1.",
            "c1.+7",
            "c1.07",
            "c1.7.7",
            "c.7",
        ] {
            assert_eq!(bad.parse::<Cursor>(), Err(CursorError), "{bad:?}");
        }
    }

    #[test]
    fn a_status_round_trips_through_its_text() {
        for status in StatusFilter::ALL {
            assert_eq!(status.to_string().parse(), Ok(status));
        }
        for bad in ["", "Active", "expired", "active "] {
            assert_eq!(
                bad.parse::<StatusFilter>(),
                Err(StatusFilterError),
                "{bad:?}"
            );
        }
    }
}
