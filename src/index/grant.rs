//! What keys have in common: namespace, holder and scopes, kept once.

use std::sync::{
    Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
};

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    cutoff::Target,
    identity::{Owner, Tenant},
    index::append_vec::AppendVec,
    name::{NamespaceId, TeamId, UserId},
    scope::Scopes,
};

/// A namespace, who holds the key to it and what for. Keys refer to it by number.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) tenant: Tenant,
    pub(crate) holder: Holder,
    pub(crate) scopes: Scopes,
}

/// Who holds a credential.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    /// The owner of a key.
    Owner(Owner),
    /// The subject of a legacy credential.
    Subject(UserId),
}

/// What a decision may have to know of a grant, apart from the names that only some of its readers
/// want to see.
///
/// A flags that is not zero says that the grant is there.
#[derive(Clone, Copy)]
struct GrantFlags(u8);

impl GrantFlags {
    const THERE: u8 = 1;
    /// A cut has ended all keys with this grant.
    const ENDED: u8 = 2;
    /// The grant is not limited by scopes.
    const ALL_SCOPES: u8 = 4;

    fn is_ended(self) -> bool {
        self.0 & Self::ENDED != 0
    }

    fn has_all_scopes(self) -> bool {
        self.0 & Self::ALL_SCOPES != 0
    }
}

/// What a key's line says of its grant: the number of the grant, and that of its namespace.
#[derive(Clone, Copy)]
pub(crate) struct GrantRef(pub(crate) u64);

impl GrantRef {
    const NAMESPACE_BITS: u32 = 23;
    const NAMESPACE_MAX: u32 = (1 << Self::NAMESPACE_BITS) - 1;
    const GRANT_MAX: u32 = (1 << 27) - 1;
    /// Five bits name the chunk of a append_vec.
    const NAMESPACE_PLACE_BITS: u32 = 18;
    const GRANT_PLACE_BITS: u32 = 22;

    /// None if one of the numbers is too large for a line.
    fn new(grant: u32, namespace: u32) -> Option<Self> {
        let fits = grant <= Self::GRANT_MAX && namespace <= Self::NAMESPACE_MAX;
        fits.then_some(Self(
            (u64::from(grant) << Self::NAMESPACE_BITS) | u64::from(namespace),
        ))
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "27 bits")]
    fn grant(self) -> u32 {
        (self.0 >> Self::NAMESPACE_BITS) as u32 & Self::GRANT_MAX
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "23 bits")]
    fn namespace(self) -> u32 {
        self.0 as u32 & Self::NAMESPACE_MAX
    }
}

/// A namespace that keys open.
pub(crate) struct Namespace {
    pub(crate) id: NamespaceId,
    /// The text of `id` if there is room for it, where it is read in one go with the rest.
    text: [u8; Self::TEXT],
    /// Whether a cut has ended one of its grants: only then does a decision read their flags.
    has_ended: AtomicBool,
}

/// A namespace, on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct NamespaceCell(OnceLock<Namespace>);

const _: () = assert!(
    size_of::<NamespaceCell>() == 64,
    "a namespace takes one line"
);

impl Namespace {
    /// What is left of a line: enough for `fn-` and a UUID.
    const TEXT: usize = 39;

    fn new(id: NamespaceId) -> Self {
        let mut text = [0; Self::TEXT];
        if let Some(room) = text.get_mut(..id.as_str().len()) {
            room.copy_from_slice(id.as_str().as_bytes());
        }
        Self {
            id,
            text,
            has_ended: AtomicBool::new(false),
        }
    }

    /// Whether this is the namespace with the name `wanted`.
    #[inline]
    pub(crate) fn is(&self, wanted: &str) -> bool {
        let len = self.id.as_str().len();
        match self.text.get(..len) {
            Some(text) => text == wanted.as_bytes(),
            None => self.id.as_str() == wanted,
        }
    }
}

/// The numbers of two grants, or [`NONE`].
#[derive(Clone, Copy)]
struct Numbers {
    live: u32,
    dead: u32,
}

const NONE: u32 = u32::MAX;

/// All grants. Readers find one by its number; the writer finds the number of one.
pub(super) struct Grants {
    flags: AppendVec<AtomicU8, { GrantRef::GRANT_PLACE_BITS }>,
    all: AppendVec<OnceLock<Grant>, { GrantRef::GRANT_PLACE_BITS }>,
    namespaces: AppendVec<NamespaceCell, { GrantRef::NAMESPACE_PLACE_BITS }>,
    /// For each namespace, one more than the number of the policy for legacy credentials that
    /// holds; zero for none.
    legacy_policies: AppendVec<AtomicU32, { GrantRef::NAMESPACE_PLACE_BITS }>,
    book: Mutex<SegmentMeta>,
}

#[derive(Default)]
struct SegmentMeta {
    /// The grant of the keys that a cut has not ended, and the one of those that it has: by the
    /// numbers of team and namespace, holder and scopes.
    numbers: BTreeMap<(u32, u32, Holder, Scopes), Numbers>,
    teams: BTreeMap<TeamId, u32>,
    namespaces: BTreeMap<NamespaceId, u32>,
    /// The grants that a cut through a target ends.
    by_target: BTreeMap<Target, Vec<u32>>,
}

impl SegmentMeta {
    fn team_number(&mut self, team: &TeamId) -> Option<u32> {
        if let Some(number) = self.teams.get(team) {
            return Some(*number);
        }
        let number = u32::try_from(self.teams.len()).ok()?;
        self.teams.insert(team.clone(), number);
        Some(number)
    }
}

impl Grants {
    pub(super) fn new() -> Self {
        Self {
            flags: AppendVec::new(),
            all: AppendVec::new(),
            namespaces: AppendVec::new(),
            legacy_policies: AppendVec::new(),
            book: Mutex::default(),
        }
    }

    /// Whether a cut has ended a grant to this namespace.
    #[inline]
    pub(super) fn has_ended(&self, grant_ref: GrantRef, namespace: &Namespace) -> bool {
        namespace.has_ended.load(Ordering::Acquire)
            && self.flags(grant_ref).is_none_or(GrantFlags::is_ended)
    }

    /// Whether a grant is not limited by scopes.
    pub(super) fn has_all_scopes(&self, grant_ref: GrantRef) -> bool {
        self.flags(grant_ref)
            .is_some_and(GrantFlags::has_all_scopes)
    }

    /// The flags of a grant that is there.
    fn flags(&self, grant_ref: GrantRef) -> Option<GrantFlags> {
        let flags = self.flags.get(grant_ref.grant())?.load(Ordering::Acquire);
        (flags != 0).then_some(GrantFlags(flags))
    }

    #[inline]
    pub(super) fn namespace(&self, grant_ref: GrantRef) -> Option<&Namespace> {
        self.namespaces.get(grant_ref.namespace())?.0.get()
    }

    pub(super) fn get(&self, grant_ref: GrantRef) -> Option<&Grant> {
        self.all.value(grant_ref.grant())
    }

    /// The number of the policy for legacy credentials.
    pub(super) fn legacy_policy(&self, grant_ref: GrantRef) -> Option<u32> {
        let policy = self.legacy_policies.get(grant_ref.namespace())?;
        policy.load(Ordering::Acquire).checked_sub(1)
    }

    pub(super) fn set_legacy_policy(&self, grant_ref: GrantRef, number: Option<u32>) {
        self.set_policy(grant_ref.namespace(), number);
    }

    /// Sets every namespace's policy for legacy credentials to the number that `policy` gives.
    pub(super) fn set_legacy_policies(&self, policy: impl Fn(&NamespaceId) -> Option<u32>) {
        for (number, cell) in self.namespaces.iter() {
            let namespace = cell.0.get();
            self.set_policy(
                number,
                namespace.and_then(|namespace| policy(&namespace.id)),
            );
        }
    }

    fn set_policy(&self, namespace: u32, number: Option<u32>) {
        if let Some(policy) = self.legacy_policies.get(namespace) {
            let number = number.map_or(0, |number| number.saturating_add(1));
            policy.store(number, Ordering::Release);
        }
    }

    /// The number of a grant, made if there is none. `targets` are those whose end is its end.
    pub(super) fn intern(
        &self,
        tenant: &Tenant,
        holder: &Holder,
        scopes: &Scopes,
        targets: &[Target],
        ended: bool,
    ) -> Option<GrantRef> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let namespace = self.namespace_number(&mut book, &tenant.namespace)?;
        let team = book.team_number(&tenant.team)?;
        let key = (team, namespace, holder.clone(), scopes.clone());
        let none = Numbers {
            live: NONE,
            dead: NONE,
        };
        let numbers = *book.numbers.entry(key.clone()).or_insert(none);
        let number = if ended { numbers.dead } else { numbers.live };
        if number != NONE {
            return GrantRef::new(number, namespace);
        }
        // The flags come last: it says that the rest is there.
        let (number, cell) = self.flags.extend()?;
        let mut flags = GrantFlags::THERE;
        if *scopes == Scopes::All {
            flags |= GrantFlags::ALL_SCOPES;
        }
        if ended {
            flags |= GrantFlags::ENDED;
        }
        self.all.push(Grant {
            tenant: tenant.clone(),
            holder: holder.clone(),
            scopes: scopes.clone(),
        })?;
        cell.store(flags, Ordering::Release);
        if ended {
            self.mark_ended(namespace);
        }
        let numbers = book.numbers.entry(key).or_insert(none);
        if ended {
            numbers.dead = number;
        } else {
            numbers.live = number;
            for target in targets {
                // Most owners have one.
                let numbers = book.by_target.entry(target.clone());
                numbers
                    .or_insert_with(|| Vec::with_capacity(1))
                    .push(number);
            }
        }
        GrantRef::new(number, namespace)
    }

    /// Has the flags of a namespace's grants read from now on.
    fn mark_ended(&self, namespace: u32) {
        if let Some(namespace) = self.namespaces.get(namespace).and_then(|cell| cell.0.get()) {
            namespace.has_ended.store(true, Ordering::Release);
        }
    }

    fn namespace_number(&self, book: &mut SegmentMeta, id: &NamespaceId) -> Option<u32> {
        if let Some(number) = book.namespaces.get(id) {
            return Some(*number);
        }
        let (number, cell) = self.namespaces.extend()?;
        cell.0.set(Namespace::new(id.clone())).ok()?;
        self.legacy_policies.extend()?;
        book.namespaces.insert(id.clone(), number);
        Some(number)
    }

    /// Ends every grant in a target: their keys fail from now on, and later keys get grants of
    /// their own. The cost is that of the grants, not of the keys.
    pub(super) fn end(&self, target: &Target) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        for number in book.by_target.remove(target).unwrap_or_default() {
            let (Some(cell), Some(grant)) = (self.flags.get(number), self.all.value(number)) else {
                continue;
            };
            cell.fetch_or(GrantFlags::ENDED, Ordering::Release);
            let team = book.teams.get(&grant.tenant.team).copied();
            let namespace = book.namespaces.get(&grant.tenant.namespace).copied();
            let (Some(team), Some(namespace)) = (team, namespace) else {
                continue;
            };
            self.mark_ended(namespace);
            let key = (team, namespace, grant.holder.clone(), grant.scopes.clone());
            if let Some(numbers) = book.numbers.get_mut(&key) {
                // A grant that an earlier cut ended stands in the lists of other targets still.
                if numbers.live == number {
                    numbers.live = NONE;
                    numbers.dead = number;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::name::Scope;

    fn namespace(name: &str) -> Namespace {
        Namespace::new(NamespaceId::new(name).unwrap())
    }

    #[test]
    fn a_namespace_is_known_by_its_whole_name_however_long() {
        for len in [1, 38, 39, 40, 128] {
            let name = "n".repeat(len);
            let own = namespace(&name);
            assert!(own.is(&name), "{len} bytes");
            let (shorter, longer) = (&name[1..], format!("{name}n"));
            let other = format!("{shorter}x");
            for wanted in [shorter, &longer, &other, ""] {
                assert!(!own.is(wanted), "{wanted:?} is not {name:?}");
            }
        }
    }

    #[test]
    fn flags_say_what_its_grant_is() {
        let grants = Grants::new();
        let (team, id) = (TeamId::new("acme"), NamespaceId::new("fn-a"));
        let tenant = Tenant::new(team.unwrap(), id.unwrap());
        let holder = Holder::Subject(UserId::new("alice").unwrap());
        let read = Scopes::only([Scope::new("read").unwrap()]).unwrap();
        for (scopes, all) in [(Scopes::All, true), (read, false)] {
            for ended in [false, true] {
                let grant_ref = grants.intern(&tenant, &holder, &scopes, &[], ended);
                let grant_ref = grant_ref.unwrap();
                let flags = grants.flags(grant_ref).unwrap();
                assert_eq!((flags.has_all_scopes(), flags.is_ended()), (all, ended));
                assert_eq!(grants.has_all_scopes(grant_ref), all);
            }
        }
    }

    #[test]
    fn a_line_has_room_for_every_number_that_is_given() {
        let (grant, namespace) = (GrantRef::GRANT_MAX, GrantRef::NAMESPACE_MAX);
        for numbers in [
            (0, 0),
            (1, 0),
            (0, 1),
            (grant, 0),
            (0, namespace),
            (grant, namespace),
        ] {
            let grant_ref = GrantRef::new(numbers.0, numbers.1).unwrap();
            assert_eq!((grant_ref.grant(), grant_ref.namespace()), numbers);
            assert!(grant_ref.0 < 1 << 50, "what a line has of a payload");
        }
        assert!(GrantRef::new(grant + 1, 0).is_none());
        assert!(GrantRef::new(0, namespace + 1).is_none());
    }
}
