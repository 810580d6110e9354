//! The writer's part of the grants: which exist, and how many entries refer to each.

use std::sync::Arc;

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    cutoff::Target,
    identity::Tenant,
    index::{
        grant::{Grant, GrantFlags, GrantRef, GrantVec, Grants, NamespaceVec},
        legacy_terms::TermsCell,
        namespace::{Namespace, NamespaceInfo},
    },
    legacy::LegacyPolicy,
};

/// Holding it gives the right to write the grants.
#[derive(Default)]
pub(super) struct GrantWriter {
    /// The numbers of the grants with a content.
    numbers: BTreeMap<Arc<Grant>, Numbers>,
    /// How many entries refer to each number, by its rank.
    uses: Vec<u32>,
    /// Numbers that no entry refers to.
    free: Vec<u32>,
    /// The numbers of namespaces. A namespace that is in another team after a reset is another one.
    namespaces: BTreeMap<Tenant, u32>,
    /// How many revoked grants each namespace has, by the rank of its number.
    revoked: Vec<u32>,
    /// The live grants that a cutoff of a target revokes.
    by_target: BTreeMap<Target, Targeted>,
    /// Policies for legacy credentials of namespaces that have none yet.
    legacy_policies: BTreeMap<Tenant, LegacyPolicy>,
}

/// The numbers of the live and of the last revoked grant with the same content.
#[derive(Clone, Copy, Default)]
struct Numbers {
    live: Option<u32>,
    revoked: Option<u32>,
}

impl Numbers {
    fn get(self, revoked: bool) -> Option<u32> {
        if revoked { self.revoked } else { self.live }
    }

    fn get_mut(&mut self, revoked: bool) -> &mut Option<u32> {
        if revoked {
            &mut self.revoked
        } else {
            &mut self.live
        }
    }
}

/// The grants of a target: numbers with their generations. One that is gone stays in the list until
/// the next compaction.
#[derive(Default)]
struct Targeted {
    live: usize,
    grants: Vec<(u32, u32)>,
}

impl Targeted {
    fn add(&mut self, number: u32, generation: u32) {
        // Most owners have one grant.
        if self.grants.is_empty() {
            self.grants.reserve_exact(1);
        }
        self.grants.push((number, generation));
        self.live = self.live.saturating_add(1);
    }
}

impl Grants {
    /// Returns the reference to a grant for one more entry, and creates the grant if needed. `None`
    /// if there is no room.
    pub(super) fn acquire(
        &self,
        writer: &mut GrantWriter,
        grant: Grant,
        revoked: bool,
    ) -> Option<GrantRef> {
        let namespace = self.namespace_number(writer, &grant.tenant)?;
        let known = writer.numbers.get_key_value(&grant);
        let number = known.and_then(|(_, numbers)| numbers.get(revoked));
        let number = if let Some(number) = number {
            number
        } else {
            let known = known.map(|(grant, _)| Arc::clone(grant));
            let grant = known.unwrap_or_else(|| Arc::new(grant));
            self.create(writer, namespace, grant, revoked)?
        };
        let uses = writer.uses.get_mut(GrantVec::<()>::rank(number))?;
        *uses = uses.checked_add(1)?;
        GrantRef::new(number, namespace)
    }

    fn create(
        &self,
        writer: &mut GrantWriter,
        namespace: u32,
        grant: Arc<Grant>,
        revoked: bool,
    ) -> Option<u32> {
        let number = if let Some(number) = writer.free.pop() {
            number
        } else {
            let (number, _) = self.cells.extend()?;
            self.flags.extend()?;
            writer.uses.push(0);
            number
        };
        self.write(number, &grant, revoked)?;
        if revoked {
            self.count_revoked(writer, namespace);
        } else {
            let generation = self.flag_of(number)?.generation();
            for target in grant.targets() {
                writer
                    .by_target
                    .entry(target)
                    .or_default()
                    .add(number, generation);
            }
        }
        let numbers = writer.numbers.entry(grant).or_default();
        *numbers.get_mut(revoked) = Some(number);
        Some(number)
    }

    /// Takes back the reference of an entry that is gone or refers to another grant.
    pub(super) fn release(&self, writer: &mut GrantWriter, grant_ref: GrantRef) {
        let number = grant_ref.grant();
        let Some(uses) = writer.uses.get_mut(GrantVec::<()>::rank(number)) else {
            return;
        };
        *uses = uses.saturating_sub(1);
        if *uses > 0 {
            return;
        }
        let (Some(grant), Some(flags)) = (self.names(grant_ref), self.flag_of(number)) else {
            return;
        };
        self.clear(number);
        if let Some(numbers) = writer.numbers.get_mut(&grant) {
            for own in [&mut numbers.live, &mut numbers.revoked] {
                own.take_if(|own| *own == number);
            }
            if numbers.live.is_none() && numbers.revoked.is_none() {
                writer.numbers.remove(&grant);
            }
        }
        if flags.is_revoked() {
            let namespace = grant_ref.namespace();
            let count = writer.revoked.get_mut(NamespaceVec::<()>::rank(namespace));
            if let Some(count) = count {
                *count = count.saturating_sub(1);
                if *count == 0
                    && let Some(namespace) = self.namespace(grant_ref)
                {
                    namespace.set_has_revoked_grants(false);
                }
            }
        } else {
            for target in grant.targets() {
                self.forget(writer, &target);
            }
        }
        writer.free.push(number);
    }

    /// Revokes every grant of a target, and with it the keys that refer to it; later keys get new
    /// grants. The cost depends on the number of grants, not of keys.
    pub(super) fn revoke(&self, writer: &mut GrantWriter, target: &Target) {
        let targeted = writer.by_target.remove(target).unwrap_or_default();
        for (number, generation) in targeted.grants {
            let live = self.live(number, generation);
            let Some(grant) = live.and_then(|_| self.names_of(number)) else {
                continue;
            };
            self.set_revoked(number);
            if let Some(namespace) = writer.namespaces.get(&grant.tenant) {
                self.count_revoked(writer, *namespace);
            }
            for other in grant.targets().filter(|other| other != target) {
                self.forget(writer, &other);
            }
            if let Some(numbers) = writer.numbers.get_mut(&grant) {
                numbers.live = None;
                numbers.revoked = Some(number);
            }
        }
    }

    /// Removes all grants and policies, once no entry refers to a grant. Namespaces keep their
    /// numbers, since principals refer to them.
    pub(super) fn reset(&self, writer: &mut GrantWriter) {
        writer.numbers.clear();
        writer.by_target.clear();
        writer.legacy_policies.clear();
        writer.uses.fill(0);
        writer.free.clear();
        for number in self.cells.numbers() {
            self.clear(number);
            writer.free.push(number);
        }
        // The lowest numbers are used first.
        writer.free.reverse();
        writer.revoked.fill(0);
        for number in self.namespaces.numbers() {
            if let Some(namespace) = self.namespaces.get(number).and_then(|cell| cell.0.get()) {
                namespace.set_has_revoked_grants(false);
            }
            if let Some(info) = self.infos.value(number) {
                info.legacy.set(None);
            }
        }
        self.default_legacy.set(None);
    }

    /// Removes one grant, which is no longer live, from the list of a target.
    fn forget(&self, writer: &mut GrantWriter, target: &Target) {
        let Some(targeted) = writer.by_target.get_mut(target) else {
            return;
        };
        targeted.live = targeted.live.saturating_sub(1);
        if targeted.live == 0 {
            writer.by_target.remove(target);
        } else if targeted.grants.len() / 2 > targeted.live.saturating_add(4) {
            targeted
                .grants
                .retain(|(number, generation)| self.live(*number, *generation).is_some());
            targeted.grants.shrink_to(targeted.live.saturating_mul(2));
        }
    }

    /// The flags of a grant that is not revoked, if the number is still its own.
    fn live(&self, number: u32, generation: u32) -> Option<GrantFlags> {
        let flags = self.flag_of(number)?;
        let is_live = flags.is_there() && !flags.is_revoked();
        (is_live && flags.generation() == generation).then_some(flags)
    }

    fn flag_of(&self, number: u32) -> Option<GrantFlags> {
        self.flags(GrantRef::new(number, 0)?)
    }

    fn names_of(&self, number: u32) -> Option<Arc<Grant>> {
        self.names(GrantRef::new(number, 0)?)
    }

    /// Makes readers check the flags of a namespace's grants.
    fn count_revoked(&self, writer: &mut GrantWriter, namespace: u32) {
        if let Some(count) = writer.revoked.get_mut(NamespaceVec::<()>::rank(namespace)) {
            *count = count.saturating_add(1);
        }
        if let Some(namespace) = self.namespaces.get(namespace).and_then(|cell| cell.0.get()) {
            namespace.set_has_revoked_grants(true);
        }
    }

    fn namespace_number(&self, writer: &mut GrantWriter, tenant: &Tenant) -> Option<u32> {
        if let Some(number) = writer.namespaces.get(tenant) {
            return Some(*number);
        }
        let info = NamespaceInfo {
            team: tenant.team.clone(),
            legacy: TermsCell::default(),
        };
        if let Some(policy) = writer.legacy_policies.remove(tenant) {
            info.legacy.set(Some(&policy));
        }
        let (number, cell) = self.namespaces.extend()?;
        cell.0.set(Namespace::new(tenant.namespace.clone())).ok()?;
        self.infos.push(info)?;
        writer.revoked.push(0);
        writer.namespaces.insert(tenant.clone(), number);
        Some(number)
    }

    /// Sets or removes a policy for legacy credentials: of a namespace, or the default.
    pub(super) fn set_legacy_policy(
        &self,
        writer: &mut GrantWriter,
        tenant: Option<Tenant>,
        policy: Option<LegacyPolicy>,
    ) {
        let Some(tenant) = tenant else {
            return self.default_legacy.set(policy.as_ref());
        };
        let number = writer.namespaces.get(&tenant);
        match (number.and_then(|number| self.infos.value(*number)), policy) {
            (Some(info), policy) => info.legacy.set(policy.as_ref()),
            (None, Some(policy)) => {
                writer.legacy_policies.insert(tenant, policy);
            }
            (None, None) => {
                writer.legacy_policies.remove(&tenant);
            }
        }
    }
}

impl GrantWriter {
    /// All namespaces with keys or legacy credentials, and their numbers.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = (&Tenant, u32)> {
        self.namespaces
            .iter()
            .map(|(tenant, number)| (tenant, *number))
    }

    pub(super) fn namespace(&self, tenant: &Tenant) -> Option<u32> {
        self.namespaces.get(tenant).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        identity::Owner,
        index::grant::Holder,
        name::{Scope, UserId},
        scope::Scopes,
    };

    fn grant(namespace: &str, owner: &str, scopes: &[&str]) -> Grant {
        let scopes = scopes.iter().map(|scope| Scope::new(scope).unwrap());
        Grant {
            tenant: Tenant::parse("acme", namespace).unwrap(),
            holder: Holder::Owner(Owner::User(UserId::new(owner).unwrap())),
            scopes: Scopes::only(scopes).unwrap(),
        }
    }

    #[test]
    fn a_number_is_reused_once_nothing_refers_to_it() {
        let (grants, mut writer) = (Grants::new(), GrantWriter::default());
        let first = grants
            .acquire(&mut writer, grant("a", "alice", &["x"]), false)
            .unwrap();
        let again = grants
            .acquire(&mut writer, grant("a", "alice", &["x"]), false)
            .unwrap();
        assert!(first == again);
        grants.release(&mut writer, first);
        let before = grants.flags(first).unwrap();
        let other = grants
            .acquire(&mut writer, grant("a", "bob", &["y"]), false)
            .unwrap();
        assert!(other != first);
        grants.release(&mut writer, first);
        assert!(grants.flags(first).is_none());
        let reused = grants
            .acquire(&mut writer, grant("a", "carol", &["z"]), false)
            .unwrap();
        assert!(reused == first);
        assert_ne!(
            grants.flags(first).unwrap(),
            before,
            "the generation differs"
        );
    }

    #[test]
    fn a_cutoff_revokes_every_live_grant_of_its_target_and_no_other() {
        let (grants, mut writer) = (Grants::new(), GrantWriter::default());
        let mut acquire = |namespace, owner, scopes: &[&str]| {
            grants
                .acquire(&mut writer, grant(namespace, owner, scopes), false)
                .unwrap()
        };
        let own = [acquire("a", "alice", &["x"]), acquire("b", "alice", &[])];
        let other = acquire("a", "bob", &["x"]);
        let target = grant("a", "alice", &[]).targets().last().unwrap();
        grants.revoke(&mut writer, &target);
        for grant_ref in own {
            assert!(grants.flags(grant_ref).unwrap().is_revoked());
        }
        assert!(!grants.flags(other).unwrap().is_revoked());
        assert!(grants.namespace(other).unwrap().has_revoked_grants());
        // A later key of the owner has a grant of its own.
        let later = grants
            .acquire(&mut writer, grant("a", "alice", &["x"]), false)
            .unwrap();
        assert!(later != own[0] && !grants.flags(later).unwrap().is_revoked());
        for gone in own {
            grants.release(&mut writer, gone);
        }
        assert!(!grants.namespace(other).unwrap().has_revoked_grants());
        grants.revoke(&mut writer, &target);
        assert!(grants.flags(later).unwrap().is_revoked());
    }

    #[test]
    fn the_writers_lists_are_bounded_by_what_is_alive() {
        let (grants, mut writer) = (Grants::new(), GrantWriter::default());
        let mut held = Vec::new();
        for n in 0..10_000 {
            let owner = alloc::format!("owner-{n}");
            let new = grant("a", &owner, &[&owner]);
            held.push(grants.acquire(&mut writer, new, false).unwrap());
            if n >= 10 {
                grants.release(&mut writer, held.remove(0));
            }
        }
        assert!(grants.cells.len() <= 12, "{}", grants.cells.len());
        assert_eq!(writer.numbers.len(), 10);
        assert_eq!(
            writer.by_target.len(),
            12,
            "ten owners, a namespace, a team"
        );
        let listed: usize = writer
            .by_target
            .values()
            .map(|targeted| targeted.grants.len())
            .sum();
        assert!(listed <= 100, "{listed}");
        for grant_ref in held {
            grants.release(&mut writer, grant_ref);
        }
        assert!(writer.numbers.is_empty() && writer.by_target.is_empty());
    }
}
