//! Grants: combinations of namespace, holder and scopes that entries refer to by number.

use std::sync::{
    Arc, OnceLock, PoisonError, RwLock,
    atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

use alloc::boxed::Box;

use crate::{
    cutoff::Target,
    identity::{Owner, Tenant},
    index::{
        append_vec::AppendVec,
        legacy_terms::{LegacyTerms, TermsCell},
        namespace::{Namespace, NamespaceCell, NamespaceInfo},
    },
    name::{Scope, TeamId, UserId},
    scope::Scopes,
    timestamp::Timestamp,
};

/// A namespace, the holder of a credential for it, and the scopes. Keys refer to it by number.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
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

impl Grant {
    pub(crate) fn owner(&self) -> Option<&Owner> {
        match &self.holder {
            Holder::Owner(owner) => Some(owner),
            Holder::Subject(_) => None,
        }
    }

    pub(crate) fn subject(&self) -> Option<&UserId> {
        match &self.holder {
            Holder::Owner(_) => None,
            Holder::Subject(subject) => Some(subject),
        }
    }

    /// The targets whose cutoffs revoke the credentials with this grant.
    pub(super) fn targets(&self) -> impl Iterator<Item = Target> + use<> {
        let team = &self.tenant.team;
        let owner = match &self.holder {
            Holder::Owner(owner) => Some(Target::Owner(team.clone(), owner.clone())),
            Holder::Subject(_) => None,
        };
        let all = [
            Target::Team(team.clone()),
            Target::Namespace(self.tenant.clone()),
        ];
        all.into_iter().chain(owner)
    }
}

/// Flags of a grant that verification reads, in the low eight bits; the number of times that the
/// grant's number was given to another grant above them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GrantFlags(u32);

impl GrantFlags {
    const THERE: u32 = 1;
    /// A cutoff has revoked all keys with this grant.
    const REVOKED: u32 = 2;
    /// The grant has all scopes.
    const ALL_SCOPES: u32 = 4;
    /// The scopes are in the cell's words.
    const INLINE_SCOPES: u32 = 8;
    const GENERATION: u32 = 1 << 8;

    fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    pub(super) fn is_there(self) -> bool {
        self.has(Self::THERE)
    }

    pub(crate) fn is_revoked(self) -> bool {
        self.has(Self::REVOKED)
    }

    fn has_all_scopes(self) -> bool {
        self.has(Self::ALL_SCOPES)
    }

    /// The generation of the number.
    pub(super) fn generation(self) -> u32 {
        self.0 / Self::GENERATION
    }
}

/// The reference from an entry to its grant: the numbers of the grant and of its namespace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct GrantRef(pub(crate) u64);

impl GrantRef {
    const NAMESPACE_BITS: u32 = 23;
    const NAMESPACE_MAX: u32 = (1 << Self::NAMESPACE_BITS) - 1;
    const GRANT_MAX: u32 = (1 << 27) - 1;
    /// Five bits of each number name the chunk of an `AppendVec`.
    const NAMESPACE_PLACE_BITS: u32 = 18;
    const GRANT_PLACE_BITS: u32 = 22;

    /// `None` if a number is too large.
    pub(super) fn new(grant: u32, namespace: u32) -> Option<Self> {
        let fits = grant <= Self::GRANT_MAX && namespace <= Self::NAMESPACE_MAX;
        fits.then_some(Self(
            (u64::from(grant) << Self::NAMESPACE_BITS) | u64::from(namespace),
        ))
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "27 bits")]
    pub(super) fn grant(self) -> u32 {
        (self.0 >> Self::NAMESPACE_BITS) as u32 & Self::GRANT_MAX
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "23 bits")]
    pub(super) fn namespace(self) -> u32 {
        self.0 as u32 & Self::NAMESPACE_MAX
    }
}

pub(super) type NamespaceVec<T> = AppendVec<T, { GrantRef::NAMESPACE_PLACE_BITS }>;
pub(super) type GrantVec<T> = AppendVec<T, { GrantRef::GRANT_PLACE_BITS }>;

/// All grants, as readers see them. `GrantWriter` writes them.
///
/// A number is given to another grant once no entry refers to it. So a reader reads the flags, then
/// the cell, then whether the entry still refers to the number, then the flags again: if neither has
/// changed, what it read is the entry's grant.
pub(super) struct Grants {
    pub(super) flags: GrantVec<AtomicU32>,
    pub(super) cells: GrantVec<GrantCell>,
    pub(super) namespaces: NamespaceVec<NamespaceCell>,
    pub(super) infos: NamespaceVec<OnceLock<NamespaceInfo>>,
    /// The default policy for legacy credentials.
    pub(super) default_legacy: TermsCell,
}

/// The content of a grant.
#[derive(Default)]
pub(super) struct GrantCell {
    /// Most lists of scopes fit here, where they are read without a lock.
    scopes: OnceLock<Box<[AtomicU64; ScopeText::WORDS]>>,
    /// Written only while no entry refers to the cell, so that a reader of an entry's grant finds it
    /// unlocked.
    names: RwLock<Option<Arc<Grant>>>,
}

impl Grants {
    pub(super) fn new() -> Self {
        Self {
            flags: AppendVec::new(),
            cells: AppendVec::new(),
            namespaces: AppendVec::new(),
            infos: AppendVec::new(),
            default_legacy: TermsCell::default(),
        }
    }

    /// The flags of a grant, if it exists.
    pub(super) fn flags(&self, grant_ref: GrantRef) -> Option<GrantFlags> {
        let flags = self.flags.get(grant_ref.grant())?.load(Ordering::Acquire);
        let flags = GrantFlags(flags);
        flags.is_there().then_some(flags)
    }

    #[inline]
    pub(super) fn namespace(&self, grant_ref: GrantRef) -> Option<&Namespace> {
        self.namespaces.get(grant_ref.namespace())?.0.get()
    }

    pub(super) fn team(&self, grant_ref: GrantRef) -> Option<&TeamId> {
        Some(&self.infos.value(grant_ref.namespace())?.team)
    }

    /// What the policy for legacy credentials of a namespace says about `now`.
    pub(super) fn legacy_terms(&self, grant_ref: GrantRef, now: Timestamp) -> LegacyTerms {
        let info = self.infos.value(grant_ref.namespace());
        info.and_then(|info| info.legacy.at(now))
            .or_else(|| self.default_legacy.at(now))
            .unwrap_or(LegacyTerms::OFF)
    }

    /// Whether a grant with these flags has all of `required`; `None` if it is being replaced.
    pub(super) fn has_scopes(
        &self,
        grant_ref: GrantRef,
        flags: GrantFlags,
        required: &[Scope],
    ) -> Option<bool> {
        if flags.has_all_scopes() {
            return Some(true);
        }
        let cell = self.cells.get(grant_ref.grant())?;
        if flags.has(GrantFlags::INLINE_SCOPES) {
            let text = ScopeText::read(cell.scopes.get()?);
            return Some(required.iter().all(|scope| text.has(scope)));
        }
        let names = cell.names.try_read().ok()?;
        Some(names.as_ref()?.scopes.contain(required))
    }

    /// The content of a grant; `None` if it is being replaced.
    pub(super) fn names(&self, grant_ref: GrantRef) -> Option<Arc<Grant>> {
        let cell = self.cells.get(grant_ref.grant())?;
        cell.names.try_read().ok()?.clone()
    }

    // For the writer.

    /// Writes a grant to a number that no entry refers to.
    pub(super) fn write(&self, number: u32, grant: &Arc<Grant>, revoked: bool) -> Option<()> {
        let word = self.flags.get(number)?;
        let cell = self.cells.get(number)?;
        let mut flags = GrantFlags::THERE;
        if revoked {
            flags |= GrantFlags::REVOKED;
        }
        // Ordered after the removal of the previous grant.
        fence(Ordering::Release);
        match &grant.scopes {
            Scopes::All => flags |= GrantFlags::ALL_SCOPES,
            Scopes::Only(scopes) => {
                if let Some(text) = ScopeText::of(scopes) {
                    flags |= GrantFlags::INLINE_SCOPES;
                    text.write(cell.scopes.get_or_init(Box::default));
                }
            }
        }
        cell.set(Some(Arc::clone(grant)));
        // The flags are stored last: they publish the grant.
        let generation = word.load(Ordering::Relaxed) & !(GrantFlags::GENERATION - 1);
        word.store(generation | flags, Ordering::Release);
        Some(())
    }

    /// Takes a grant from a number that no entry refers to any more.
    pub(super) fn clear(&self, number: u32) {
        if let (Some(word), Some(cell)) = (self.flags.get(number), self.cells.get(number)) {
            let generation = word.load(Ordering::Relaxed) & !(GrantFlags::GENERATION - 1);
            let next = generation.wrapping_add(GrantFlags::GENERATION);
            word.store(next, Ordering::Release);
            cell.set(None);
        }
    }

    pub(super) fn set_revoked(&self, number: u32) {
        if let Some(word) = self.flags.get(number) {
            word.fetch_or(GrantFlags::REVOKED, Ordering::Release);
        }
    }
}

impl GrantCell {
    fn set(&self, grant: Option<Arc<Grant>>) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let old = core::mem::replace(&mut *names, grant);
        drop(names);
        drop(old);
    }
}

/// Scopes as text in a fixed number of words: each preceded by its length, zeros at the end.
struct ScopeText([u8; Self::WORDS * 8]);

impl ScopeText {
    /// Enough for a dozen names of seven letters.
    const WORDS: usize = 12;

    /// `None` if they do not fit.
    fn of(scopes: &[Scope]) -> Option<Self> {
        let mut text = [0; Self::WORDS * 8];
        let mut rest = &mut text[..];
        for scope in scopes {
            let name = scope.as_str().as_bytes();
            let (len, after) = rest.split_first_mut()?;
            *len = u8::try_from(name.len()).ok()?;
            let (room, after) = after.split_at_mut_checked(name.len())?;
            room.copy_from_slice(name);
            rest = after;
        }
        Some(Self(text))
    }

    fn read(words: &[AtomicU64; Self::WORDS]) -> Self {
        let mut text = [0; Self::WORDS * 8];
        for (place, word) in text.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        Self(text)
    }

    fn write(&self, words: &[AtomicU64; Self::WORDS]) {
        for (place, word) in self.0.chunks_exact(8).zip(words) {
            let bytes = place.first_chunk().copied().unwrap_or_default();
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
    }

    fn has(&self, scope: &Scope) -> bool {
        let mut rest = &self.0[..];
        while let Some((&len @ 1.., after)) = rest.split_first() {
            // A text that is read while it changes may have any length.
            let Some((name, after)) = after.split_at_checked(usize::from(len)) else {
                return false;
            };
            if name == scope.as_str().as_bytes() {
                return true;
            }
            rest = after;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec::Vec};

    use super::*;

    #[test]
    fn a_text_has_exactly_the_scopes_that_it_was_made_of() {
        let scope = |n: usize| Scope::new(&format!("scope-{n}")).unwrap();
        for count in 0..12 {
            let held: Vec<_> = (0..count).map(scope).collect();
            let text = ScopeText::of(&held).unwrap();
            let words = Default::default();
            text.write(&words);
            let text = ScopeText::read(&words);
            for n in 0..20 {
                assert_eq!(text.has(&scope(n)), n < count, "{n} of {count}");
            }
            assert!(!text.has(&Scope::new("scope").unwrap()));
        }
        let long: Vec<_> = (0..64).map(scope).collect();
        assert!(ScopeText::of(&long).is_none());
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
