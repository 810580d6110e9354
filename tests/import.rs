//! Import of `OpenWhisk` subjects: the forms of an export, and what is not a subject.
#![cfg(feature = "import")]

use keyfob::{
    Actor, Context, Timestamp,
    key::Peppers,
    legacy::{Import, ImportFault, PassedOver, read_subjects},
    name::TeamId,
};

fn read(export: &str) -> Import {
    let context = Context::new(Actor::system(), Timestamp::from_unix(1_800_000_000));
    read_subjects(export, &context, &Peppers::none(), |_| {
        TeamId::new("acme").ok()
    })
}

fn uuid(number: u8) -> String {
    format!("10000000-0000-4000-8000-0000000000{number:02}")
}

fn entry(number: u8) -> String {
    let (uuid, key) = (uuid(number), "k".repeat(64));
    format!(r#"{{"name":"fn-{number}","uuid":"{uuid}","key":"{key}"}}"#)
}

fn subject(number: u8) -> String {
    let entry = entry(number);
    format!(r#"{{"_id":"s{number}","subject":"s{number}","namespaces":[{entry}]}}"#)
}

/// The last two digits of each record's UUID.
fn numbers(import: &Import) -> Vec<u8> {
    let ids = import.records.iter().map(|record| record.id.to_string());
    ids.map(|id| id[34..].parse().unwrap()).collect()
}

#[test]
fn every_form_of_an_export_is_read() {
    let (one, two) = (subject(1), subject(2));
    let row = |document: &str| {
        format!(r#"{{"id":"s","key":"s","value":{{"rev":"1-a"}},"doc":{document}}}"#)
    };
    let (row_one, row_two) = (row(&one), row(&two));
    let pretty = |text: &str| text.replace(',', ",\n  ").replace('{', "{\n");
    for export in [
        format!("{one}\n{two}\n"),
        format!("{one}\r\n\r\n{two}"),
        format!("{one} {two}"),
        format!("{}\n{}\n", pretty(&one), pretty(&two)),
        format!("\u{feff}{one}\n{two}\n"),
        format!("[{one},{two}]"),
        format!("[{one}]\n[{two}]\n"),
        format!("{{\"docs\":[{one},{two}],\"bookmark\":\"nil\"}}"),
        format!("{{\"total_rows\":2,\"offset\":0,\"rows\":[\n{row_one},\n{row_two}\n]}}\n"),
        format!("\u{feff}{{\"rows\":[{row_one},{row_two}]}}"),
        format!("{row_one}\n{row_two}\n"),
        format!(
            "{{\"results\":[{{\"seq\":\"1\",\"id\":\"s\",\"changes\":[{{\"rev\":\"1-a\"}}],\"doc\":{one}}},{two}],\"last_seq\":\"2\"}}"
        ),
    ] {
        let import = read(&export);
        assert_eq!(import.problems, [], "{export}");
        assert_eq!(numbers(&import), [1, 2], "{export}");
        assert_eq!(import.passed_over, PassedOver::default(), "{export}");
    }
}

#[test]
fn documents_of_early_versions_have_one_namespace() {
    let (uuid, key) = (uuid(7), "k".repeat(64));
    let import = read(&format!(
        r#"{{"_id":"guest","subject":"guest","uuid":"{uuid}","key":"{key}"}}"#
    ));
    assert_eq!(numbers(&import), [7]);
    assert_eq!(import.records[0].tenant.namespace.as_str(), "guest");
}

#[test]
fn documents_that_are_no_subjects_are_counted_by_kind() {
    let import = read(
        r#"{"rows":[
        {"id":"_design/x","value":{"rev":"1"},"doc":{"_id":"_design/x","views":{}}},
        {"id":"a/limits","value":{"rev":"1"},"doc":{"_id":"a/limits","invocationsPerMinute":1}},
        {"id":"b","value":{"rev":"2","deleted":true},"doc":null},
        {"id":"c","changes":[],"deleted":true,"doc":{"_id":"c","_deleted":true}},
        {"id":"d","value":{"rev":"1"},"doc":{"_id":"d","note":"x"}}
        ]}"#,
    );
    assert_eq!(import.problems, []);
    let passed_over = import.passed_over;
    assert_eq!((passed_over.design, passed_over.limits), (1, 1));
    assert_eq!((passed_over.deleted, passed_over.other), (2, 1));
    assert_eq!(passed_over.total(), 5);
}

#[test]
fn one_bad_document_leaves_the_others() {
    let (one, two, three) = (subject(1), subject(2), subject(3));
    let cut = &two[..two.len() - 4];
    let bad_entry = two.replace("\"key\"", "\"kez\"");
    let half = two.replace(&entry(2), &format!("7,{}", entry(2)));
    for (middle, read_too, fault) in [
        (cut, &[][..], None),
        ("nonsense", &[], None),
        (&bad_entry, &[], Some(0)),
        (&half, &[2], Some(0)),
        (&two.replace("\"s2\",\"n", "\" s2\",\"n"), &[], None),
        (&two.replace("\"subject\":\"s2\",", ""), &[], None),
        ("[1]", &[], None),
    ] {
        let expected = [&[1][..], read_too, &[3]].concat();
        let import = read(&format!("{one}\n{middle}\n{three}\n"));
        assert_eq!(numbers(&import), expected, "{middle}");
        assert_eq!(import.problems.len(), 1, "{middle}: {:?}", import.problems);
        let problem = import.problems[0];
        assert_eq!((problem.document, problem.line), (2, 2), "{middle}");
        assert_eq!(problem.namespace, fault, "{middle}");
    }
    // An answer that was cut off while it was downloaded.
    let rows = format!("{{\"rows\":[\n{{\"id\":\"s1\",\"doc\":{one}}},\n{{\"id\":\"s2\",\"do");
    let import = read(&rows);
    assert_eq!(numbers(&import), [1]);
    assert!(!import.problems.is_empty());
}

#[test]
fn an_export_without_the_documents_is_reported() {
    let import = read(r#"{"rows":[{"id":"guest","key":"guest","value":{"rev":"1-a"}}]}"#);
    assert_eq!(import.problems.len(), 1);
    assert_eq!(import.problems[0].fault, ImportFault::NoDocument);
}

#[test]
fn a_key_of_another_length_could_never_log_in() {
    for (length, unusable) in [(0, 1), (63, 1), (64, 0), (65, 1), (80, 1)] {
        let text = subject(1).replace(&"k".repeat(64), &"k".repeat(length));
        let import = read(&text);
        assert_eq!(import.unusable.len(), unusable, "{length}");
        assert_eq!(import.records.len(), 1 - unusable, "{length}");
        assert_eq!(import.problems, [], "{length}");
    }
    let import = read(&subject(1).replace("kk\"", "k-\""));
    assert_eq!(import.problems[0].fault, ImportFault::Key);
}

#[test]
fn a_subject_is_blocked_as_openwhisk_reads_the_field() {
    for (value, blocked) in [
        ("true", true),
        ("1", true),
        ("\"true\"", true),
        ("[]", true),
        ("{\"by\":\"x\"}", true),
        ("false", false),
        ("0", false),
        ("\"\"", false),
        ("null", false),
    ] {
        let text = subject(1).replacen('{', &format!("{{\"blocked\":{value},"), 1);
        let import = read(&text);
        assert_eq!(import.problems, [], "{value}");
        assert_eq!(import.records[0].blocked, blocked, "{value}");
    }
}

#[test]
fn a_credential_that_occurs_twice_is_blocked_if_one_of_them_is() {
    let one = subject(1);
    let blocked = one.replacen('{', "{\"blocked\":true,", 1);
    for export in [format!("{one}\n{blocked}"), format!("{blocked}\n{one}")] {
        let import = read(&export);
        assert_eq!(import.problems, []);
        assert_eq!(import.records.len(), 1);
        assert!(import.records[0].blocked);
    }
    let other = one.replace("fn-1", "fn-2");
    let import = read(&format!("{one}\n{other}"));
    assert_eq!(import.problems[0].fault, ImportFault::Repeated);
}

#[test]
fn a_fault_has_its_line_and_column() {
    let export = format!("{}\n  {{\"subject\": 7}}\n", subject(1));
    let import = read(&export);
    assert_eq!(
        import.problems[0].to_string(),
        "document 2 (line 2): not a subject document (line 2, column 15)"
    );
}
