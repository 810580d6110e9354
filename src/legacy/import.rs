//! Import of `OpenWhisk` subjects.

use alloc::{borrow::Cow, collections::BTreeSet, vec::Vec};
use core::fmt;

use serde::de;
use zeroize::Zeroizing;

use crate::{
    digest::{KeyDigest, Peppers},
    identity::{Context, Tenant},
    legacy::{LegacyId, LegacyRecord, PresentedLegacy},
    name::{NamespaceId, TeamId, UserId},
    revision::Revision,
};

/// The result of reading `OpenWhisk` subjects.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Import {
    /// The hashed credentials, in the order of the documents.
    pub records: Vec<LegacyRecord>,
    /// The documents and credentials that were skipped.
    pub problems: Vec<ImportProblem>,
}

/// A document or credential that was skipped. It never holds the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {fault}", Within(*.namespace))]
#[non_exhaustive]
pub struct ImportProblem {
    /// The line number, counted from one.
    pub line: usize,
    /// The index of the namespace in the document, counted from zero; `None` for the whole
    /// document.
    pub namespace: Option<usize>,
    /// The fault.
    pub fault: ImportFault,
}

struct Within(Option<usize>);

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, ", namespace {at}"),
            None => Ok(()),
        }
    }
}

/// The reason why a document or credential was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportFault {
    /// The line is not JSON or not a subject document.
    #[error("not a subject document (column {column})")]
    Document {
        /// The column of the fault, counted from one; zero if unknown.
        column: usize,
    },
    /// The subject is not a valid [`UserId`].
    #[error("subject: not a valid user name")]
    Subject,
    /// The name is not a valid [`NamespaceId`], or the namespace has no team.
    #[error("name: not a valid namespace with a team")]
    Namespace,
    /// The UUID is invalid.
    #[error("uuid: not a UUID")]
    Uuid,
    /// The key is not 64 letters and digits.
    #[error("key: not 64 letters and digits")]
    Key,
    /// The UUID occurs more than once.
    #[error("uuid: occurs earlier in this import")]
    Repeated,
}

/// Reads the documents of `CouchDB`'s `subjects` database, one JSON object per line, and hashes
/// their credentials. The result holds no plain secret.
///
/// `team_of` returns the team of a namespace; for a namespace without a team, the result has an
/// [`ImportFault::Namespace`]. Blocked subjects are imported as blocked. A subject with several
/// namespaces gives one record for each. Empty lines and design documents (`_id` starts with
/// `_design/`) are skipped.
///
/// # Examples
///
/// ```
/// use keyfob::{Actor, Context, Timestamp, key::Peppers, name::TeamId};
///
/// let line = r#"{"subject": "guest", "namespaces": [{"name": "guest", "uuid": "23bc46b1-71f6-4ed5-8c54-816aa4f8c502", "key": "123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"}]}"#;
/// let context = Context::new(Actor::system(), Timestamp::from_unix(1_780_000_000));
/// let import = keyfob::legacy::read_subjects(line, &context, &Peppers::none(), |_namespace| {
///     TeamId::new("acme").ok()
/// });
/// assert_eq!(import.records.len(), 1);
/// assert!(import.problems.is_empty());
/// ```
pub fn read_subjects(
    json_lines: &str,
    context: &Context,
    peppers: &Peppers,
    team_of: impl Fn(&NamespaceId) -> Option<TeamId>,
) -> Import {
    let mut import = Import::default();
    let mut seen = BTreeSet::new();
    for (line, text) in (1..).zip(json_lines.lines()) {
        if text.trim().is_empty() {
            continue;
        }
        let mut problem = |namespace, fault| {
            import.problems.push(ImportProblem {
                line,
                namespace,
                fault,
            });
        };
        // Serde would also accept an array of the fields.
        if !text.trim_start().starts_with('{') {
            problem(None, ImportFault::Document { column: 1 });
            continue;
        }
        let document: Document<'_> = match serde_json::from_str(text) {
            Ok(document) => document,
            Err(error) => {
                let column = error.column();
                problem(None, ImportFault::Document { column });
                continue;
            }
        };
        if document.id.is_some_and(|id| id.starts_with("_design/")) {
            continue;
        }
        let Ok(subject) = UserId::new(&document.subject) else {
            problem(None, ImportFault::Subject);
            continue;
        };
        for (at, entry) in document.namespaces.iter().enumerate() {
            let mut problem = |fault| problem(Some(at), fault);
            let Some((namespace, team)) = NamespaceId::new(&entry.name)
                .ok()
                .and_then(|namespace| team_of(&namespace).map(|team| (namespace, team)))
            else {
                problem(ImportFault::Namespace);
                continue;
            };
            if LegacyId::parse(entry.uuid.as_bytes()).is_err() {
                problem(ImportFault::Uuid);
                continue;
            }
            let mut text = Zeroizing::new([0; PresentedLegacy::LEN]);
            let length = [entry.uuid.as_bytes(), b":", entry.key.0.as_bytes()]
                .into_iter()
                .flatten()
                .zip(text.iter_mut())
                .map(|(byte, place)| *place = *byte)
                .count();
            let whole = length == PresentedLegacy::LEN && entry.key.0.len() == 64;
            let Some(presented) = PresentedLegacy::parse(&text[..]).ok().filter(|_| whole) else {
                problem(ImportFault::Key);
                continue;
            };
            if !seen.insert(presented.id()) {
                problem(ImportFault::Repeated);
                continue;
            }
            import.records.push(LegacyRecord {
                id: presented.id(),
                tenant: Tenant::new(team, namespace),
                subject: subject.clone(),
                digest: KeyDigest::of_legacy(&presented, peppers),
                blocked: document.blocked,
                imported_at: context.now,
                imported_by: context.actor.clone(),
                revoked: None,
                created_revision: Revision::ZERO,
                revision: Revision::ZERO,
            });
        }
    }
    import
}

#[derive(serde::Deserialize)]
struct Document<'a> {
    #[serde(rename = "_id", borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    subject: Cow<'a, str>,
    #[serde(default)]
    blocked: bool,
    #[serde(borrow, default)]
    namespaces: Vec<Entry<'a>>,
}

#[derive(serde::Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    uuid: Cow<'a, str>,
    #[serde(borrow)]
    key: SecretText<'a>,
}

/// A secret in a document; zeroized if JSON escapes required a copy.
struct SecretText<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for SecretText<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = SecretText<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(SecretText(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(SecretText(Cow::Owned(text.into())))
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

impl Drop for SecretText<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(text) = &mut self.0 {
            zeroize::Zeroize::zeroize(text);
        }
    }
}
