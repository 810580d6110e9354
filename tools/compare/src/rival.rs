//! What every rival does, and what is said of it.

use std::{ops::Deref, sync::Arc};

/// How many keys there are.
pub(crate) const KEYS: usize = 1_000;

/// A way of knowing credentials by their text.
pub(crate) trait Rival {
    /// What the table says about it.
    fn facts(&self) -> Facts;

    /// Makes a credential for this grant, and keeps what must be kept to verify it.
    fn issue(&mut self, grant: &Grant) -> String;

    /// Whose credential this is, if it may enter this namespace now (in Unix seconds; some rivals
    /// insist on reading the clock themselves).
    fn verify(&self, credential: &str, namespace: &str, now: i64) -> Option<Owner<'_>>;

    /// Makes a credential useless from the next call on, or answers that this cannot be done.
    fn revoke(&mut self, credential: &str, now: i64) -> bool;

    /// How many credentials to make: fewer where making one takes tens of milliseconds.
    fn population(&self) -> usize {
        KEYS
    }

    /// Whether one text alone stands for a credential, or other spellings of it pass.
    fn has_one_text(&self) -> bool {
        true
    }

    /// Verifies so many credentials in turn, and counts those that were accepted.
    ///
    /// The loop is here so that it is compiled for each rival, without a virtual call in it.
    fn verify_many(&self, keys: &[Key], from: usize, calls: usize, now: i64) -> usize {
        let turns = keys.iter().cycle().skip(from % keys.len()).take(calls);
        turns
            .filter(|key| {
                let (credential, namespace) = (key.credential.as_str(), &*key.grant.namespace);
                let owner = self.verify(std::hint::black_box(credential), namespace, now);
                std::hint::black_box(owner).is_some()
            })
            .count()
    }
}

/// What a credential is for.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) owner: String,
    pub(crate) namespace: Arc<str>,
    pub(crate) issued_at: i64,
    /// The first second at which it no longer works.
    pub(crate) expires_at: i64,
}

impl Grant {
    /// The `n`th grant of the population: ten keys a person, a hundred a namespace.
    pub(crate) fn nth(n: usize, issued_at: i64) -> Self {
        Self {
            owner: format!("user-{}", n / 10),
            namespace: format!("fn-{:036}", n / 100).into(),
            issued_at,
            expires_at: issued_at + 90 * DAY,
        }
    }

    /// Whether it opens this namespace now: what remains to be asked of a table's record once
    /// the secret has matched.
    pub(crate) fn opens(&self, namespace: &str, now: i64) -> bool {
        now < self.expires_at && *self.namespace == *namespace
    }
}

/// A grant and the credential that was made for it.
pub(crate) struct Key {
    pub(crate) grant: Grant,
    pub(crate) credential: String,
}

/// Whose credential it is, as each rival can tell it most cheaply.
pub(crate) enum Owner<'a> {
    Borrowed(&'a str),
    Shared(Arc<str>),
    Owned(String),
    Named(keyfob::Owner),
}

impl Deref for Owner<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
            Self::Owned(text) => text,
            Self::Named(owner) => owner.as_str(),
        }
    }
}

/// What the table says about a rival beside the figures.
pub(crate) struct Facts {
    pub(crate) what: &'static str,
    /// The package whose version is shown.
    pub(crate) package: &'static str,
    pub(crate) revocation: By,
    pub(crate) expiry: By,
    pub(crate) namespace: By,
    pub(crate) constant_time: &'static str,
    /// What it does not do.
    pub(crate) lacks: &'static str,
}

/// Who sees to something.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The crate.
    Crate,
    /// Code around the crate, which is timed with it.
    Caller,
    /// Nobody.
    Nobody,
}

impl By {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Crate => "yes",
            Self::Caller => "caller",
            Self::Nobody => "no",
        }
    }
}

pub(crate) const DAY: i64 = 86_400;
