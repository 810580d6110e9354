//! Import of `OpenWhisk` subjects.

use alloc::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry as Place},
    vec::Vec,
};
use core::fmt;

use zeroize::Zeroizing;

use crate::{
    digest::{KeyDigest, Peppers},
    identity::{Context, Tenant},
    legacy::{
        LegacyId, LegacyRecord, PresentedLegacy,
        export::{Document, Found, Namespace, documents},
    },
    name::{NamespaceId, TeamId, UserId},
    revision::Revision,
};

/// The result of reading `OpenWhisk` subjects.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Import {
    /// The hashed credentials, in the order of the documents.
    pub records: Vec<LegacyRecord>,
    /// The documents and credentials that could not be read.
    pub problems: Vec<ImportProblem>,
    /// The credentials that `OpenWhisk` stores but has never accepted, because their keys do not
    /// have 64 characters.
    pub unusable: Vec<ImportProblem>,
    /// The documents that are not subjects.
    pub passed_over: PassedOver,
}

/// The number of documents that are not subjects, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassedOver {
    /// Design documents, whose identifiers begin with `_design/`.
    pub design: usize,
    /// The limits of namespaces, such as `guest/limits`.
    pub limits: usize,
    /// Deleted documents.
    pub deleted: usize,
    /// Documents without a subject, a namespace or a key.
    pub other: usize,
}

impl PassedOver {
    /// The number of documents of every kind.
    pub fn total(&self) -> usize {
        [self.design, self.limits, self.deleted, self.other]
            .into_iter()
            .fold(0, usize::saturating_add)
    }
}

/// A document or credential that could not be read. It never holds the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("document {document} (line {line}){}: {fault}", Within(*.namespace))]
#[non_exhaustive]
pub struct ImportProblem {
    /// The number of the document in the export, counted from one.
    pub document: usize,
    /// The line of the export in which the document starts, counted from one.
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

/// The reason why a document or credential could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportFault {
    /// The text is not JSON, or not a subject document.
    #[error("not a subject document (line {line}, column {column})")]
    Document {
        /// The line of the fault, counted from one.
        line: usize,
        /// The column of the fault, counted from one.
        column: usize,
    },
    /// The row has no document: the export was made without the documents.
    #[error("no document: export with include_docs=true")]
    NoDocument,
    /// The subject is not a valid [`UserId`].
    #[error("subject: not a valid user name")]
    Subject,
    /// The name is not a valid [`NamespaceId`], or the namespace has no team.
    #[error("name: not a valid namespace with a team")]
    Namespace,
    /// The UUID is invalid.
    #[error("uuid: not a UUID")]
    Uuid,
    /// The key has another length, so `OpenWhisk` has never accepted the credential.
    #[error("key: not 64 characters, so it could never log in")]
    KeyLength,
    /// The key is not 64 letters and digits.
    #[error("key: not 64 letters and digits")]
    Key,
    /// The UUID occurs more than once, with another key or in another namespace.
    #[error("uuid: occurs earlier in this import, for another credential")]
    Repeated,
}

/// Reads the documents of `CouchDB`'s `subjects` database, and hashes their credentials. The result
/// holds no plain secret.
///
/// `export` is the answer of `_all_docs?include_docs=true`, `_find` or `_changes`, an array of
/// documents, or one document after the other, such as one per line. A document that cannot be read
/// does not affect the others.
///
/// `team_of` returns the team of a namespace; for a namespace without a team, the result has an
/// [`ImportFault::Namespace`]. Blocked subjects are imported as blocked; a credential that occurs
/// twice is blocked if one of its subjects is. A subject with several namespaces gives one record
/// for each. Documents that are not subjects are counted in [`Import::passed_over`].
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
    export: &str,
    context: &Context,
    peppers: &Peppers,
    team_of: impl Fn(&NamespaceId) -> Option<TeamId>,
) -> Import {
    let mut reading = Reading {
        import: Import::default(),
        places: BTreeMap::new(),
        context,
        peppers,
        team_of,
    };
    for (number, (line, found)) in (1..).zip(documents(export)) {
        reading.read(
            Origin {
                document: number,
                line,
            },
            found,
        );
    }
    reading.import
}

struct Reading<'a, F> {
    import: Import,
    /// The place of each credential in `import.records`.
    places: BTreeMap<LegacyId, usize>,
    context: &'a Context,
    peppers: &'a Peppers,
    team_of: F,
}

/// Where a document is.
#[derive(Clone, Copy)]
struct Origin {
    document: usize,
    line: usize,
}

impl Origin {
    fn problem(self, namespace: Option<usize>, fault: ImportFault) -> ImportProblem {
        ImportProblem {
            document: self.document,
            line: self.line,
            namespace,
            fault,
        }
    }
}

impl<F: Fn(&NamespaceId) -> Option<TeamId>> Reading<'_, F> {
    fn read(&mut self, origin: Origin, found: Found<'_>) {
        let passed_over = &mut self.import.passed_over;
        let counter = match found {
            Found::Subject(document) => return self.read_subject(origin, &document),
            Found::Fault(fault) => {
                return self.import.problems.push(origin.problem(None, fault));
            }
            Found::Design => &mut passed_over.design,
            Found::Limits => &mut passed_over.limits,
            Found::Deleted => &mut passed_over.deleted,
            Found::Other => &mut passed_over.other,
        };
        *counter = counter.saturating_add(1);
    }

    fn read_subject(&mut self, origin: Origin, document: &Document<'_>) {
        let Ok(subject) = UserId::new(document.subject()) else {
            let problem = origin.problem(None, ImportFault::Subject);
            return self.import.problems.push(problem);
        };
        let own = document.own_namespace();
        let own = own.iter().map(Ok);
        let listed = document.entries.iter().map(Result::as_ref);
        for (at, namespace) in own.chain(listed).enumerate() {
            let read = match namespace {
                Ok(namespace) => self.record(document, &subject, namespace),
                Err(fault) => Err(*fault),
            };
            let read = read.and_then(|record| self.add(record));
            if let Err(fault) = read {
                let problem = origin.problem(Some(at), fault);
                match fault {
                    ImportFault::KeyLength => self.import.unusable.push(problem),
                    _ => self.import.problems.push(problem),
                }
            }
        }
    }

    fn record(
        &self,
        document: &Document<'_>,
        subject: &UserId,
        entry: &Namespace<'_>,
    ) -> Result<LegacyRecord, ImportFault> {
        let namespace = NamespaceId::new(&entry.name).map_err(|_| ImportFault::Namespace)?;
        let team = (self.team_of)(&namespace).ok_or(ImportFault::Namespace)?;
        let key = entry.key.as_bytes();
        LegacyId::parse(entry.uuid.as_bytes()).map_err(|_| ImportFault::Uuid)?;
        if key.len() != PresentedLegacy::KEY_LEN {
            return Err(ImportFault::KeyLength);
        }
        let mut text = Zeroizing::new([0; PresentedLegacy::LEN]);
        let parts = [entry.uuid.as_bytes(), b":", key];
        for (place, byte) in text.iter_mut().zip(parts.into_iter().flatten()) {
            *place = *byte;
        }
        let presented = PresentedLegacy::parse(&text[..]).map_err(|_| ImportFault::Key)?;
        Ok(LegacyRecord {
            id: presented.id(),
            tenant: Tenant::new(team, namespace),
            subject: subject.clone(),
            digest: KeyDigest::of_legacy(&presented, self.peppers),
            blocked: document.blocked(),
            imported_at: self.context.now,
            imported_by: self.context.actor.clone(),
            revoked: None,
            created_revision: Revision::ZERO,
            revision: Revision::ZERO,
        })
    }

    fn add(&mut self, record: LegacyRecord) -> Result<(), ImportFault> {
        let records = &mut self.import.records;
        match self.places.entry(record.id) {
            Place::Vacant(place) => {
                place.insert(records.len());
                records.push(record);
                Ok(())
            }
            Place::Occupied(place) => match records.get_mut(*place.get()) {
                Some(first) if first.is_same_credential(&record) => {
                    first.blocked |= record.blocked;
                    Ok(())
                }
                _ => Err(ImportFault::Repeated),
            },
        }
    }
}

impl Document<'_> {
    fn subject(&self) -> &str {
        self.subject.as_deref().unwrap_or_default()
    }

    /// The namespace of the subject itself, in the documents of early versions of `OpenWhisk`.
    fn own_namespace(&self) -> Option<Namespace<'_>> {
        Some(Namespace {
            name: Cow::Borrowed(self.subject()),
            uuid: Cow::Borrowed(self.uuid.as_deref()?),
            key: self.key.as_ref()?.borrowed(),
        })
    }
}
