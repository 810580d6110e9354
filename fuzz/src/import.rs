//! The target `legacy_import`.

use std::collections::BTreeMap;

use keyfob::{
    Actor, Context, Timestamp,
    key::Peppers,
    legacy::{ImportFault, ImportProblem, read_subjects},
    name::{NamespaceId, TeamId, UserId},
};
use serde_json::Value;

use super::spec;

/// Imports arbitrary text as an export of `OpenWhisk` subjects.
///
/// # Panics
///
/// If a problem contains more than a position and a fault, or if a text with one plain document per
/// line gives other records and problems than an independent parser.
pub fn legacy_import(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let context = Context::new(Actor::system(), Timestamp::from_unix(1_800_000_000));
    let team = TeamId::new("acme").expect("a name");
    let import = read_subjects(text, &context, &Peppers::none(), |namespace| {
        has_team(namespace).then(|| team.clone())
    });
    let lines = text.split('\n').count();
    for problem in import.problems.iter().chain(&import.unusable) {
        says_no_more_than_its_place(problem);
        assert!((1..=lines).contains(&problem.line));
    }

    let documents: Option<Vec<(usize, Value)>> = (1..)
        .zip(text.split('\n'))
        .filter(|(_, text)| !text.trim().is_empty())
        .map(|(line, text)| is_plain(text).map(|document| (line, document)))
        .collect();
    let Some(documents) = documents else {
        return;
    };
    let mut expected = Expected::default();
    for (number, (line, document)) in (1..).zip(&documents) {
        expected.read(number, *line, document);
    }
    let records = import.records.iter().map(|record| Record {
        namespace: record.tenant.namespace.to_string(),
        subject: record.subject.to_string(),
        id: record.id.to_string(),
        digest: record.digest.to_text(),
        blocked: record.blocked,
    });
    assert_eq!(records.collect::<Vec<_>>(), expected.records);
    let place = |problem: &ImportProblem| Place {
        document: problem.document,
        line: problem.line,
        namespace: problem.namespace,
        fault: problem.fault,
    };
    let problems: Vec<Place> = import.problems.iter().map(place).collect();
    assert_eq!(problems, expected.problems);
    let unusable: Vec<Place> = import.unusable.iter().map(place).collect();
    assert_eq!(unusable, expected.unusable);
    assert!(import.records.iter().all(|record| record.revoked.is_none()));
}

/// What an independent parser reads.
#[derive(Default)]
struct Expected {
    records: Vec<Record>,
    seen: BTreeMap<String, usize>,
    problems: Vec<Place>,
    unusable: Vec<Place>,
}

#[derive(Debug, PartialEq)]
struct Record {
    namespace: String,
    subject: String,
    id: String,
    digest: String,
    blocked: bool,
}

#[derive(Debug, PartialEq)]
struct Place {
    document: usize,
    line: usize,
    namespace: Option<usize>,
    fault: ImportFault,
}

impl Expected {
    fn read(&mut self, document: usize, line: usize, value: &Value) {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let place = |namespace, fault| Place {
            document,
            line,
            namespace,
            fault,
        };
        if text("_id").starts_with("_design/") {
            return;
        }
        let subject = text("subject");
        if UserId::new(&subject).is_err() {
            self.problems.push(place(None, ImportFault::Subject));
            return;
        }
        let namespaces = value["namespaces"].as_array().into_iter().flatten();
        for (at, entry) in namespaces.enumerate() {
            match self.add(&subject, value["blocked"] == Value::Bool(true), entry) {
                Ok(()) => {}
                Err(ImportFault::KeyLength) => {
                    self.unusable.push(place(Some(at), ImportFault::KeyLength));
                }
                Err(fault) => self.problems.push(place(Some(at), fault)),
            }
        }
    }

    fn add(&mut self, subject: &str, blocked: bool, entry: &Value) -> Result<(), ImportFault> {
        let field = |name: &str| entry[name].as_str().expect("a plain document");
        let (name, uuid, key) = (field("name"), field("uuid"), field("key"));
        if !NamespaceId::new(name).is_ok_and(|namespace| has_team(&namespace)) {
            return Err(ImportFault::Namespace);
        }
        if !spec::is_uuid(uuid.as_bytes()) {
            return Err(ImportFault::Uuid);
        }
        if key.len() != 64 {
            return Err(ImportFault::KeyLength);
        }
        if !spec::is_legacy_key(key.as_bytes()) {
            return Err(ImportFault::Key);
        }
        let record = Record {
            namespace: name.to_owned(),
            subject: subject.to_owned(),
            id: uuid.to_ascii_lowercase(),
            digest: spec::digest(&[b"kl1", uuid.as_bytes(), b":", key.as_bytes()]),
            blocked,
        };
        if let Some(at) = self.seen.get(&record.id) {
            let first = &mut self.records[*at];
            if (&first.namespace, &first.digest) != (&record.namespace, &record.digest) {
                return Err(ImportFault::Repeated);
            }
            first.blocked |= blocked;
            return Ok(());
        }
        self.seen.insert(record.id.clone(), self.records.len());
        self.records.push(record);
        Ok(())
    }
}

/// The mapping to teams in this test: namespaces that start with `no` have no team.
fn has_team(namespace: &NamespaceId) -> bool {
    !namespace.as_str().starts_with("no")
}

/// The document, if it is as `CouchDB` writes it: these fields, each once and of its type.
fn is_plain(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text).ok()?;
    let document = value.as_object()?;
    let is_text = |value: Option<&Value>| value.is_some_and(Value::is_string);
    let entry = |entry: &Value| {
        ["name", "uuid", "key"]
            .iter()
            .all(|name| is_text(entry.get(name)))
            && entry.as_object().is_some_and(|fields| fields.len() == 3)
    };
    let namespaces = document.get("namespaces").and_then(Value::as_array)?;
    // A general reader keeps only one of two fields with the same name. So a text in which each
    // field name of the parsed value occurs exactly once has no repeated field.
    let once = ["subject", "namespaces", "_id", "blocked"]
        .iter()
        .all(|name| text.matches(&format!("\"{name}\"")).count() <= 1)
        && ["name", "uuid", "key"]
            .iter()
            .all(|name| text.matches(&format!("\"{name}\"")).count() <= namespaces.len());
    let optional = |name: &str, is: fn(&Value) -> bool| document.get(name).is_none_or(is);
    let known = ["subject", "namespaces", "_id", "blocked"];
    let plain = once
        && document.keys().all(|name| known.contains(&name.as_str()))
        && !text.contains('\\')
        && is_text(document.get("subject"))
        && optional("_id", Value::is_string)
        && optional("blocked", Value::is_boolean)
        && namespaces.iter().all(entry);
    plain.then_some(value)
}

/// Checks that a problem contains only its place and one of eight constant texts.
fn says_no_more_than_its_place(problem: &ImportProblem) {
    let (display, debug) = match problem.fault {
        ImportFault::Document { line, column } => (
            format!("not a subject document (line {line}, column {column})"),
            format!("Document {{ line: {line}, column: {column} }}"),
        ),
        ImportFault::NoDocument => (
            "no document: export with include_docs=true".into(),
            "NoDocument".into(),
        ),
        ImportFault::Subject => ("subject: not a valid user name".into(), "Subject".into()),
        ImportFault::Namespace => (
            "name: not a valid namespace with a team".into(),
            "Namespace".into(),
        ),
        ImportFault::Uuid => ("uuid: not a UUID".into(), "Uuid".into()),
        ImportFault::KeyLength => (
            "key: not 64 characters, so it could never log in".into(),
            "KeyLength".into(),
        ),
        ImportFault::Key => ("key: not 64 letters and digits".into(), "Key".into()),
        ImportFault::Repeated => (
            "uuid: occurs earlier in this import, for another credential".into(),
            "Repeated".into(),
        ),
        _ => unreachable!("there are eight faults"),
    };
    let (document, line) = (problem.document, problem.line);
    let within = problem
        .namespace
        .map_or(String::new(), |at| format!(", namespace {at}"));
    assert_eq!(
        problem.to_string(),
        format!("document {document} (line {line}){within}: {display}")
    );
    let namespace = problem.namespace;
    assert_eq!(
        format!("{problem:?}"),
        format!(
            "ImportProblem {{ document: {document}, line: {line}, namespace: {namespace:?}, fault: {debug} }}"
        )
    );
}
