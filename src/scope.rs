//! Scopes of a key.

use alloc::{sync::Arc, vec::Vec};

use crate::name::Scope;

/// The permissions of a key in its namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Scopes {
    /// All permissions.
    #[default]
    All,
    /// Only these scopes, sorted and without duplicates. With none, the key only authenticates its
    /// owner.
    Only(#[cfg_attr(feature = "serde", serde(serialize_with = "serialize_all"))] Arc<[Scope]>),
}

impl Scopes {
    /// The maximum number of scopes of a key.
    pub const MAX: usize = 64;

    /// Creates the permissions with only these scopes.
    ///
    /// # Errors
    ///
    /// [`TooManyScopes`] for more than [`Scopes::MAX`] distinct scopes.
    pub fn only(scopes: impl IntoIterator<Item = Scope>) -> Result<Self, TooManyScopes> {
        let mut scopes: Vec<Scope> = scopes.into_iter().collect();
        scopes.sort();
        scopes.dedup();
        if scopes.len() > Self::MAX {
            return Err(TooManyScopes);
        }
        Ok(Self::Only(scopes.into()))
    }

    /// Creates the permissions without any scope: the key only authenticates its owner.
    pub fn none() -> Self {
        Self::Only(Arc::from([]))
    }

    /// Whether all of `required` are included.
    pub fn contain(&self, required: &[Scope]) -> bool {
        match self {
            Self::All => true,
            Self::Only(held) => required.iter().all(|scope| held.contains(scope)),
        }
    }

    /// Whether these permissions are a subset of `other`, as required of a key that another key
    /// creates.
    pub fn within(&self, other: &Self) -> bool {
        match self {
            Self::All => *other == Self::All,
            Self::Only(held) => other.contain(held),
        }
    }
}

#[cfg(feature = "serde")]
fn serialize_all<S: serde::Serializer>(
    scopes: &Arc<[Scope]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(scopes.iter())
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Scopes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename = "Scopes", rename_all = "snake_case")]
        enum Stored {
            All,
            Only(Vec<Scope>),
        }
        match Stored::deserialize(deserializer)? {
            Stored::All => Ok(Self::All),
            Stored::Only(scopes) => Self::only(scopes).map_err(serde::de::Error::custom),
        }
    }
}

/// A key was given more than 64 scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("scopes: more than 64")]
pub struct TooManyScopes;

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn scopes(names: &[&str]) -> Scopes {
        Scopes::only(names.iter().map(|name| Scope::new(name).unwrap())).unwrap()
    }

    #[test]
    fn scopes_contain_only_the_named_scopes_or_all() {
        let invoke = [Scope::new("invoke").unwrap()];
        assert!(Scopes::All.contain(&invoke));
        assert!(scopes(&["read", "invoke"]).contain(&invoke));
        assert!(!scopes(&["read"]).contain(&invoke));
        assert!(!scopes(&[]).contain(&invoke));
        assert!(scopes(&[]).contain(&[]));
    }

    #[test]
    fn a_set_of_scopes_is_within_its_supersets_only() {
        let (one, two) = (scopes(&["a"]), scopes(&["b", "a", "a"]));
        assert!(one.within(&two) && one.within(&one) && two.within(&Scopes::All));
        assert!(!two.within(&one) && !Scopes::All.within(&two));
        assert!(Scopes::All.within(&Scopes::All));
    }

    #[test]
    fn the_number_of_scopes_is_bounded() {
        let many = |n: usize| (0..n).map(|i| Scope::new(&format!("s{i}")).unwrap());
        assert!(Scopes::only(many(64)).is_ok());
        assert_eq!(Scopes::only(many(65)), Err(TooManyScopes));
        assert!(Scopes::only(many(64).chain(many(64))).is_ok());
    }

    #[cfg(feature = "serde")]
    #[test]
    fn scopes_round_trip_through_json() {
        for (scopes, text) in [
            (Scopes::All, r#""all""#),
            (scopes(&[]), r#"{"only":[]}"#),
            (scopes(&["b", "a"]), r#"{"only":["a","b"]}"#),
        ] {
            assert_eq!(serde_json::to_string(&scopes).unwrap(), text);
            assert_eq!(serde_json::from_str::<Scopes>(text).unwrap(), scopes);
        }
    }
}
