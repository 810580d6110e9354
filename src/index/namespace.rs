//! Namespaces, as verification reads them.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    index::legacy_terms::TermsCell,
    name::{NamespaceId, TeamId},
};

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
pub(super) struct NamespaceCell(pub(super) OnceLock<Namespace>);

const _: () = assert!(
    size_of::<NamespaceCell>() == 64,
    "a namespace takes one line"
);

/// What few verifications need of a namespace.
pub(super) struct NamespaceInfo {
    /// The team to which the namespace is bound permanently.
    pub(super) team: TeamId,
    /// The namespace's own policy for legacy credentials.
    pub(super) legacy: TermsCell,
}

impl Namespace {
    /// The rest of a cache line: enough for `fn-` and a UUID.
    const TEXT: usize = 39;

    pub(super) fn new(id: NamespaceId) -> Self {
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

    /// Whether a cutoff has revoked a grant that keys of this namespace still refer to.
    #[inline]
    pub(crate) fn has_revoked_grants(&self) -> bool {
        self.has_revoked_grants.load(Ordering::Acquire)
    }

    pub(super) fn set_has_revoked_grants(&self, has: bool) {
        self.has_revoked_grants.store(has, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

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
}
