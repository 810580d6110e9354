//! Code that leaks on purpose, which the tools must catch: one that finds nothing here finds
//! nothing anywhere.

use std::{collections::BTreeSet, hint::black_box};

use keyfob::{Access, KeyId, Verifier, key::PresentedKey};

use crate::situations::{NOW, format};

/// Compares two digests up to the first difference.
///
/// Without `black_box` the compiler makes one vector comparison of the loop, and the leak is gone.
#[inline(never)]
pub fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    for (a, b) in a.iter().zip(b) {
        if black_box(a) != black_box(b) {
            return false;
        }
    }
    true
}

/// Reads the place in a table that the first byte of a digest names.
#[inline(never)]
pub fn look_up(table: &[u8; 256], digest: &[u8; 32]) -> u8 {
    black_box(table)[usize::from(digest[0])]
}

/// Verifies a text, and leaves out the hash where there is no such key.
pub fn verify(
    ids: &BTreeSet<KeyId>,
    verifier: &Verifier,
    text: &[u8],
    access: &Access<'_>,
) -> bool {
    PresentedKey::parse(&format(), text)
        .is_ok_and(|key| ids.contains(&key.id()) && verifier.verify_text(text, access, NOW).is_ok())
}
