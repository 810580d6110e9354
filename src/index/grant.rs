//! What keys have in common: namespace, holder and scopes, kept once.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    boundary::Realm,
    identity::{Owner, Tenant},
    index::slab::Slab,
    name::UserId,
    scope::Scopes,
};

/// A namespace, who holds the key to it and what for. Keys refer to it by number.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) tenant: Tenant,
    pub(crate) holder: Holder,
    pub(crate) scopes: Scopes,
    /// Whether a cut has ended all keys with this grant.
    ended: AtomicBool,
    /// The number of the policy for legacy credentials that holds, or [`NO_POLICY`].
    legacy_policy: AtomicU32,
}

/// Who holds a credential.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    /// The owner of a key.
    Owner(Owner),
    /// The subject of a legacy credential.
    Subject(UserId),
}

impl Grant {
    #[inline]
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(super) fn legacy_policy(&self) -> Option<u32> {
        let number = self.legacy_policy.load(Ordering::Acquire);
        (number != NO_POLICY).then_some(number)
    }

    pub(super) fn set_legacy_policy(&self, number: Option<u32>) {
        let number = number.unwrap_or(NO_POLICY);
        self.legacy_policy.store(number, Ordering::Release);
    }
}

/// All grants. Readers find one by its number; the writer finds the number of one.
pub(super) struct Grants {
    grants: Slab<Grant>,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// The grant of the keys that a cut has not ended, and the one of those that it has.
    numbers: BTreeMap<(Tenant, Holder, Scopes), [Option<u32>; 2]>,
    /// The grants that a cut through a realm ends.
    by_realm: BTreeMap<Realm, Vec<u32>>,
}

impl Grants {
    pub(super) fn new() -> Self {
        Self {
            grants: Slab::new(),
            book: Mutex::default(),
        }
    }

    #[inline]
    pub(super) fn get(&self, number: u64) -> Option<&Grant> {
        self.grants.get(u32::try_from(number).ok()?)
    }

    /// The grants of legacy credentials.
    pub(super) fn of_subjects(&self) -> impl Iterator<Item = &Grant> {
        (0..self.grants.len())
            .filter_map(|number| self.grants.get(number))
            .filter(|grant| matches!(grant.holder, Holder::Subject(_)))
    }

    /// The number of a grant, made if there is none. `realms` are those whose end is its end.
    pub(super) fn number(
        &self,
        tenant: &Tenant,
        holder: &Holder,
        scopes: &Scopes,
        realms: &[Realm],
        ended: bool,
    ) -> Option<u64> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tenant.clone(), holder.clone(), scopes.clone());
        let [live, dead] = book.numbers.entry(key).or_default();
        let number = if ended { dead } else { live };
        if let Some(number) = number {
            return Some((*number).into());
        }
        let new = self.grants.push(Grant {
            tenant: tenant.clone(),
            holder: holder.clone(),
            scopes: scopes.clone(),
            ended: AtomicBool::new(ended),
            legacy_policy: AtomicU32::new(NO_POLICY),
        })?;
        *number = Some(new);
        if !ended {
            for realm in realms {
                book.by_realm.entry(realm.clone()).or_default().push(new);
            }
        }
        Some(new.into())
    }

    /// Ends every grant in a realm: their keys fail from now on, and later keys get grants of
    /// their own. The cost is that of the grants, not of the keys.
    pub(super) fn end(&self, realm: &Realm) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        for number in book.by_realm.remove(realm).unwrap_or_default() {
            let Some(grant) = self.grants.get(number) else {
                continue;
            };
            grant.ended.store(true, Ordering::Release);
            let key = (
                grant.tenant.clone(),
                grant.holder.clone(),
                grant.scopes.clone(),
            );
            if let Some([live, dead]) = book.numbers.get_mut(&key) {
                // A grant that an earlier cut ended stands in the lists of other realms still.
                if *live == Some(number) {
                    *live = None;
                    *dead = Some(number);
                }
            }
        }
    }
}

const NO_POLICY: u32 = u32::MAX;
