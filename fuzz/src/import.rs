//! The target `legacy_import`.

use std::collections::BTreeSet;

use keyfob::{
    Actor, Context, Timestamp,
    key::Peppers,
    legacy::{ImportFault, ImportProblem, read_subjects},
    name::{NamespaceId, TeamId, UserId},
};
use serde_json::Value;

use super::spec;

/// Imports arbitrary text as `OpenWhisk` subjects.
///
/// # Panics
///
/// If the records and problems differ from those of an independent parser, or if a problem contains
/// more than a position and a fault.
pub fn legacy_import(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let context = Context::new(Actor::system(), Timestamp::from_unix(1_800_000_000));
    let team = TeamId::new("acme").expect("a name");
    let import = read_subjects(text, &context, &Peppers::none(), |namespace| {
        has_team(namespace).then(|| team.clone())
    });
    for problem in &import.problems {
        says_no_more_than_its_place(problem);
        assert!((1..=text.lines().count()).contains(&problem.line));
    }

    let mut records = import.records.iter();
    let mut problems = import.problems.iter().peekable();
    let mut seen = BTreeSet::new();
    for (line, text) in (1..).zip(text.lines()) {
        let unreadable = |problem: &&ImportProblem| {
            problem.line == line && matches!(problem.fault, ImportFault::Document { .. })
        };
        if problems.next_if(unreadable).is_some() {
            assert!(!is_plain(text), "a plain document was refused");
            continue;
        }
        if text.trim().is_empty() {
            continue;
        }
        // The library accepts what a general reader rejects only if an ignored field has a number
        // out of range. The other fields cannot be compared then.
        let Ok(document) = serde_json::from_str::<Value>(text) else {
            return;
        };
        let field = |name: &str, at: usize| match &document {
            Value::Array(fields) => fields.get(at).cloned().unwrap_or_default(),
            fields => fields.get(name).cloned().unwrap_or_default(),
        };
        if field("_id", 0)
            .as_str()
            .is_some_and(|id| id.starts_with("_design/"))
        {
            continue;
        }
        let subject = field("subject", 1).as_str().unwrap_or_default().to_owned();
        if UserId::new(&subject).is_err() {
            let problem = problems.next().expect("a problem with the subject");
            assert_eq!((problem.line, problem.namespace), (line, None));
            assert_eq!(problem.fault, ImportFault::Subject);
            continue;
        }
        let namespaces = field("namespaces", 3);
        for (at, entry) in namespaces.as_array().into_iter().flatten().enumerate() {
            match read(entry, &mut seen) {
                Ok((namespace, uuid, digest)) => {
                    let record = records.next().expect("a record for a good entry");
                    assert_eq!(record.tenant.namespace.as_str(), namespace);
                    assert_eq!(record.subject.as_str(), subject);
                    assert_eq!(record.id.to_string(), uuid);
                    assert_eq!(record.digest.to_text(), digest);
                    assert_eq!(record.blocked, field("blocked", 2) == Value::Bool(true));
                    assert!(record.revoked.is_none());
                }
                Err(fault) => {
                    let problem = problems.next().expect("a problem with a bad entry");
                    assert_eq!((problem.line, problem.namespace), (line, Some(at)));
                    assert_eq!(problem.fault, fault);
                }
            }
        }
    }
    assert!(records.next().is_none() && problems.next().is_none());
}

/// Returns namespace, UUID in lower case and stored digest of an entry, or its fault.
fn read(
    entry: &Value,
    seen: &mut BTreeSet<String>,
) -> Result<(String, String, String), ImportFault> {
    let field = |name: &str, at: usize| {
        let value = entry.get(name).or_else(|| entry.get(at));
        value
            .and_then(Value::as_str)
            .expect("the library saw a text")
    };
    let (name, uuid, key) = (field("name", 0), field("uuid", 1), field("key", 2));
    if !NamespaceId::new(name).is_ok_and(|namespace| has_team(&namespace)) {
        return Err(ImportFault::Namespace);
    }
    if !spec::is_uuid(uuid.as_bytes()) {
        return Err(ImportFault::Uuid);
    }
    if !spec::is_legacy_key(key.as_bytes()) {
        return Err(ImportFault::Key);
    }
    let id = uuid.to_ascii_lowercase();
    if !seen.insert(id.clone()) {
        return Err(ImportFault::Repeated);
    }
    let digest = spec::digest(&[b"kl1", uuid.as_bytes(), b":", key.as_bytes()]);
    Ok((name.to_owned(), id, digest))
}

/// The mapping to teams in this test: namespaces that start with `no` have no team.
fn has_team(namespace: &NamespaceId) -> bool {
    !namespace.as_str().starts_with("no")
}

/// Whether this is a document as `CouchDB` writes it: these fields, each once and of its type.
fn is_plain(text: &str) -> bool {
    let Ok(Value::Object(document)) = serde_json::from_str(text) else {
        return false;
    };
    let is_text = |value: Option<&Value>| value.is_some_and(Value::is_string);
    let entry = |entry: &Value| {
        ["name", "uuid", "key"]
            .iter()
            .all(|name| is_text(entry.get(name)))
            && entry.as_object().is_some_and(|fields| fields.len() == 3)
    };
    let namespaces = document.get("namespaces").and_then(Value::as_array);
    // A general reader keeps only one of two fields with the same name. So a text in which each
    // field name of the parsed value occurs exactly once has no repeated field.
    let once = [
        "subject",
        "namespaces",
        "name",
        "uuid",
        "key",
        "_id",
        "blocked",
    ]
    .iter()
    .all(|name| text.matches(&format!("\"{name}\"")).count() <= 1);
    once && document.len() == 2
        && !text.contains('\\')
        && is_text(document.get("subject"))
        && namespaces.is_some_and(|entries| entries.iter().all(entry))
}

/// Checks that a problem contains only line, namespace and one of six constant texts.
fn says_no_more_than_its_place(problem: &ImportProblem) {
    let (display, debug) = match problem.fault {
        ImportFault::Document { column } => (
            format!("not a subject document (column {column})"),
            format!("Document {{ column: {column} }}"),
        ),
        ImportFault::Subject => ("subject: not a valid user name".into(), "Subject".into()),
        ImportFault::Namespace => (
            "name: not a valid namespace with a team".into(),
            "Namespace".into(),
        ),
        ImportFault::Uuid => ("uuid: not a UUID".into(), "Uuid".into()),
        ImportFault::Key => ("key: not 64 letters and digits".into(), "Key".into()),
        ImportFault::Repeated => (
            "uuid: occurs earlier in this import".into(),
            "Repeated".into(),
        ),
        _ => unreachable!("there are six faults"),
    };
    let line = problem.line;
    let within = problem
        .namespace
        .map_or(String::new(), |at| format!(", namespace {at}"));
    assert_eq!(
        problem.to_string(),
        format!("line {line}{within}: {display}")
    );
    let namespace = problem.namespace;
    assert_eq!(
        format!("{problem:?}"),
        format!("ImportProblem {{ line: {line}, namespace: {namespace:?}, fault: {debug} }}")
    );
}
