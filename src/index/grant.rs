//! Grants: combinations of namespace, holder and scopes, interned.

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

/// A namespace, the holder of a credential for it, and the scopes. Keys refer to it by number.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) tenant: Tenant,
    pub(crate) holder: Holder,
    pub(crate) scopes: Scopes,
}

/// The holder of a credential.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    /// The owner of a key.
    Owner(Owner),
    /// The subject of a legacy credential.
    Subject(UserId),
}

/// Flags of a grant that verification reads. Not zero if the grant exists.
#[derive(Clone, Copy)]
struct GrantFlags(u8);

impl GrantFlags {
    const THERE: u8 = 1;
    /// A cutoff has revoked all keys with this grant.
    const REVOKED: u8 = 2;
    /// The grant has all scopes.
    const ALL_SCOPES: u8 = 4;

    fn is_revoked(self) -> bool {
        self.0 & Self::REVOKED != 0
    }

    fn has_all_scopes(self) -> bool {
        self.0 & Self::ALL_SCOPES != 0
    }
}

/// The reference from an entry to its grant: the numbers of the grant and of its namespace.
#[derive(Clone, Copy)]
pub(crate) struct GrantRef(pub(crate) u64);

impl GrantRef {
    const NAMESPACE_BITS: u32 = 23;
    const NAMESPACE_MAX: u32 = (1 << Self::NAMESPACE_BITS) - 1;
    const GRANT_MAX: u32 = (1 << 27) - 1;
    /// Five bits of each number name the chunk of an `AppendVec`.
    const NAMESPACE_PLACE_BITS: u32 = 18;
    const GRANT_PLACE_BITS: u32 = 22;

    /// `None` if a number is too large.
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

/// A namespace, with its name inline.
pub(crate) struct Namespace {
    pub(crate) id: NamespaceId,
    /// The text of `id` if it fits: then a comparison reads no other cache line.
    text: [u8; Self::TEXT],
    /// Whether a cutoff has revoked one of its grants. Only then are the flags of grants read.
    has_revoked_grants: AtomicBool,
}

/// A cache line with a namespace.
#[derive(Default)]
#[repr(align(64))]
struct NamespaceCell(OnceLock<Namespace>);

const _: () = assert!(
    size_of::<NamespaceCell>() == 64,
    "a namespace takes one line"
);

impl Namespace {
    /// The rest of a cache line: enough for `fn-` and a UUID.
    const TEXT: usize = 39;

    fn new(id: NamespaceId) -> Self {
        let mut text = [0; Self::TEXT];
        if let Some(room) = text.get_mut(..id.as_str().len()) {
            room.copy_from_slice(id.as_str().as_bytes());
        }
        Self {
            id,
            text,
            has_revoked_grants: AtomicBool::new(false),
        }
    }

    /// Whether the namespace's name is `wanted`.
    #[inline]
    pub(crate) fn is(&self, wanted: &str) -> bool {
        let len = self.id.as_str().len();
        match self.text.get(..len) {
            Some(text) => text == wanted.as_bytes(),
            None => self.id.as_str() == wanted,
        }
    }
}

/// The numbers of the live and the revoked grant with the same content, or [`NONE`].
#[derive(Clone, Copy)]
struct Numbers {
    live: u32,
    revoked: u32,
}

const NONE: u32 = u32::MAX;

/// All grants. Readers look up a grant by number; the writer looks up a number by content.
pub(super) struct Grants {
    flags: AppendVec<AtomicU8, { GrantRef::GRANT_PLACE_BITS }>,
    all: AppendVec<OnceLock<Grant>, { GrantRef::GRANT_PLACE_BITS }>,
    namespaces: AppendVec<NamespaceCell, { GrantRef::NAMESPACE_PLACE_BITS }>,
    /// For each namespace, the number of its policy for legacy credentials plus one; zero for none.
    legacy_policies: AppendVec<AtomicU32, { GrantRef::NAMESPACE_PLACE_BITS }>,
    interner: Mutex<Interner>,
}

#[derive(Default)]
struct Interner {
    /// The numbers of grants by team, namespace, holder and scopes.
    numbers: BTreeMap<(u32, u32, Holder, Scopes), Numbers>,
    teams: BTreeMap<TeamId, u32>,
    namespaces: BTreeMap<NamespaceId, u32>,
    /// The live grants that a cutoff of a target revokes.
    by_target: BTreeMap<Target, Vec<u32>>,
}

impl Interner {
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
            interner: Mutex::default(),
        }
    }

    /// Whether a cutoff has revoked a grant of this namespace.
    #[inline]
    pub(super) fn is_revoked(&self, grant_ref: GrantRef, namespace: &Namespace) -> bool {
        namespace.has_revoked_grants.load(Ordering::Acquire)
            && self.flags(grant_ref).is_none_or(GrantFlags::is_revoked)
    }

    /// Whether a grant has all scopes.
    pub(super) fn has_all_scopes(&self, grant_ref: GrantRef) -> bool {
        self.flags(grant_ref)
            .is_some_and(GrantFlags::has_all_scopes)
    }

    /// The flags of a grant, if it exists.
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

    /// Returns the reference to a grant, and creates the grant if needed. A cutoff of one of
    /// `targets` revokes it.
    pub(super) fn intern(
        &self,
        tenant: &Tenant,
        holder: &Holder,
        scopes: &Scopes,
        targets: &[Target],
        revoked: bool,
    ) -> Option<GrantRef> {
        let mut interner = self.interner.lock().unwrap_or_else(PoisonError::into_inner);
        let namespace = self.namespace_number(&mut interner, &tenant.namespace)?;
        let team = interner.team_number(&tenant.team)?;
        let key = (team, namespace, holder.clone(), scopes.clone());
        let none = Numbers {
            live: NONE,
            revoked: NONE,
        };
        let numbers = *interner.numbers.entry(key.clone()).or_insert(none);
        let number = if revoked {
            numbers.revoked
        } else {
            numbers.live
        };
        if number != NONE {
            return GrantRef::new(number, namespace);
        }
        // The flags are stored last: they publish the grant.
        let (number, cell) = self.flags.extend()?;
        let mut flags = GrantFlags::THERE;
        if *scopes == Scopes::All {
            flags |= GrantFlags::ALL_SCOPES;
        }
        if revoked {
            flags |= GrantFlags::REVOKED;
        }
        self.all.push(Grant {
            tenant: tenant.clone(),
            holder: holder.clone(),
            scopes: scopes.clone(),
        })?;
        cell.store(flags, Ordering::Release);
        if revoked {
            self.mark_revoked(namespace);
        }
        let numbers = interner.numbers.entry(key).or_insert(none);
        if revoked {
            numbers.revoked = number;
        } else {
            numbers.live = number;
            for target in targets {
                // Most owners have one grant.
                let numbers = interner.by_target.entry(target.clone());
                numbers
                    .or_insert_with(|| Vec::with_capacity(1))
                    .push(number);
            }
        }
        GrantRef::new(number, namespace)
    }

    /// Makes readers check the flags of a namespace's grants.
    fn mark_revoked(&self, namespace: u32) {
        if let Some(namespace) = self.namespaces.get(namespace).and_then(|cell| cell.0.get()) {
            namespace.has_revoked_grants.store(true, Ordering::Release);
        }
    }

    fn namespace_number(&self, interner: &mut Interner, id: &NamespaceId) -> Option<u32> {
        if let Some(number) = interner.namespaces.get(id) {
            return Some(*number);
        }
        let (number, cell) = self.namespaces.extend()?;
        cell.0.set(Namespace::new(id.clone())).ok()?;
        self.legacy_policies.extend()?;
        interner.namespaces.insert(id.clone(), number);
        Some(number)
    }

    /// Revokes every grant of a target, and with it the keys that refer to it; later keys get new
    /// grants. The cost depends on the number of grants, not of keys.
    pub(super) fn revoke(&self, target: &Target) {
        let mut interner = self.interner.lock().unwrap_or_else(PoisonError::into_inner);
        for number in interner.by_target.remove(target).unwrap_or_default() {
            let (Some(cell), Some(grant)) = (self.flags.get(number), self.all.value(number)) else {
                continue;
            };
            cell.fetch_or(GrantFlags::REVOKED, Ordering::Release);
            let team = interner.teams.get(&grant.tenant.team).copied();
            let namespace = interner.namespaces.get(&grant.tenant.namespace).copied();
            let (Some(team), Some(namespace)) = (team, namespace) else {
                continue;
            };
            self.mark_revoked(namespace);
            let key = (team, namespace, grant.holder.clone(), grant.scopes.clone());
            if let Some(numbers) = interner.numbers.get_mut(&key) {
                // The lists of other targets may still name grants that an earlier cutoff revoked.
                if numbers.live == number {
                    numbers.live = NONE;
                    numbers.revoked = number;
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
    fn namespaces_are_compared_by_their_whole_name() {
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
    fn flags_describe_the_grant() {
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
                assert_eq!((flags.has_all_scopes(), flags.is_revoked()), (all, ended));
                assert_eq!(grants.has_all_scopes(grant_ref), all);
            }
        }
    }

    #[test]
    fn a_grant_reference_fits_the_payload_of_a_line() {
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
            assert!(grant_ref.0 < 1 << 50, "the bits of a payload in a line");
        }
        assert!(GrantRef::new(grant + 1, 0).is_none());
        assert!(GrantRef::new(0, namespace + 1).is_none());
    }
}
