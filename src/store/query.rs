//! Queries and pages.

use alloc::vec::Vec;
use core::{fmt, str::FromStr};

use crate::{
    audit::{Action, AuditEntry},
    credential_id::CredentialId,
    cutoff::{Cutoff, Target},
    identity::{Owner, Tenant},
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
    /// Only items after this cursor.
    pub after: Option<Cursor>,
    /// The maximum number of items, clamped to 1 to [`KeyQuery::LIMIT_MAX`].
    pub limit: usize,
}

impl KeyQuery {
    /// The maximum number of items on a page.
    pub const LIMIT_MAX: usize = 1000;

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
    }
}

fn fits<T: PartialEq>(wanted: Option<&T>, value: &T) -> bool {
    wanted.is_none_or(|wanted| wanted == value)
}

fn fits_some<T: PartialEq>(wanted: Option<&T>, value: Option<&T>) -> bool {
    wanted.is_none() || wanted == value
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
            && self.since.is_none_or(|since| since <= entry.at)
            && self.until.is_none_or(|until| entry.at < until)
    }
}

/// The order of the events of an [`AuditQuery`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By increasing revision. The last page grows: a program continues after its last event.
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
        if let Some(name) = &self.name {
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
    /// By an actor.
    Actor(&'a Owner),
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
        } else if let Some(actor) = &self.actor {
            AuditPath::Actor(actor)
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
    pub fn first_of<E>(
        items: impl IntoIterator<Item = Result<T, E>>,
        limit: usize,
        position: impl Fn(&T) -> Revision,
    ) -> Result<Self, E> {
        let mut rest = items.into_iter();
        let items: Vec<T> = rest
            .by_ref()
            .take(page_limit(limit))
            .collect::<Result<_, E>>()?;
        let more = rest.next().transpose()?.is_some();
        let last = items.last().filter(|_| more);
        let next = last.map(|last| Cursor::after(position(last)));
        Ok(Self { items, next })
    }

    /// The page of the items that `selects` selects, of at most [`Page::LOOKED_THROUGH`] items that
    /// are looked through: a list of which few or none are selected does not keep its store busy.
    /// Such a page may have fewer items than `limit`, or none, and a cursor.
    ///
    /// # Errors
    ///
    /// An item that is reached could not be read.
    pub fn selected_of<E>(
        items: impl IntoIterator<Item = Result<T, E>>,
        limit: usize,
        position: impl Fn(&T) -> Revision,
        selects: impl Fn(&T) -> bool,
    ) -> Result<Self, E> {
        let limit = page_limit(limit);
        let mut selected = Vec::new();
        let mut last = None;
        for (looked_through, item) in items.into_iter().enumerate() {
            let item = item?;
            if looked_through >= Self::LOOKED_THROUGH {
                let next = last.map(Cursor::after);
                return Ok(Self {
                    items: selected,
                    next,
                });
            }
            if selects(&item) {
                if selected.len() >= limit {
                    let next = selected.last().map(|last| Cursor::after(position(last)));
                    return Ok(Self {
                        items: selected,
                        next,
                    });
                }
                last = Some(position(&item));
                selected.push(item);
            } else {
                last = Some(position(&item));
            }
        }
        Ok(Self {
            items: selected,
            next: None,
        })
    }

    /// How many items [`Page::selected_of`] looks through.
    pub const LOOKED_THROUGH: usize = 10_000;

    /// Converts the items.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(change).collect(),
            next: self.next,
        }
    }
}

/// A position in a list: after the item with a revision.
///
/// A cursor carries no permission and no filter, so a forged cursor is harmless: the team in the
/// query decides what is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(Revision);

impl Cursor {
    /// The position after the item with this revision.
    pub const fn after(revision: Revision) -> Self {
        Self(revision)
    }

    /// The revision of the item before the position.
    pub const fn revision(self) -> Revision {
        self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:x}", self.0.get())
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let digits = text.strip_prefix('c').ok_or(CursorError)?;
        let revision = u64::from_str_radix(digits, 16).map_err(|_| CursorError)?;
        let cursor = Self(Revision::new(revision));
        if alloc::string::ToString::to_string(&cursor) == text {
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
    use alloc::{string::ToString, vec};

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
    fn a_query_for_a_team_excludes_other_teams() {
        let team = || TeamId::new("acme").unwrap();
        assert_eq!(LegacyQuery::team(team()).team, Some(team()));
        assert_eq!(NamespaceQuery::team(team()).team, Some(team()));
        assert_eq!(AuditQuery::team(team()).team, Some(team()));
    }

    #[test]
    fn a_cursor_has_exactly_one_text_form() {
        for revision in [0, 1, 255, u64::MAX] {
            let cursor = Cursor::after(Revision::new(revision));
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
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
