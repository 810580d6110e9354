//! How the database finds the rows of each statement, once there are many.

use std::time::Duration;

use keyfob_testkit::postgres::{run, shared};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::{Options, PostgresStore, settings::Settings, sql};

/// Many rows in every table that grows, as many as it takes for the planner to look at an index.
const MANY: &[&str] = &[
    "INSERT INTO audit (revision, latest, entry, hash, attempt) SELECT n, n, jsonb_build_object( \
     'at', n, 'actor', jsonb_build_object('owner', 'user:' || n % 500), 'team', 'team-' || n % 50, \
     'namespace', 'fn-' || n % 1000, 'credential', 'key:' || n, 'action', 'key_created'), \
     decode(repeat('00', 32), 'hex'), decode(repeat('00', 16), 'hex') \
     FROM generate_series(1, 60000) n",
    "INSERT INTO namespaces SELECT jsonb_build_object('tenant', jsonb_build_object( \
     'team', 'team-' || n % 50, 'namespace', 'fn-' || n), 'created_revision', n) \
     FROM generate_series(1, 10000) n",
    "INSERT INTO keys SELECT jsonb_build_object('id', n, 'tenant', s.record -> 'tenant', \
     'owner', 'user:' || n % 500, 'name', 'name-' || n % 1000, \
     'labels', jsonb_build_object('env', 'value-' || n % 5), \
     'created_by', jsonb_build_object('owner', 'user:' || n % 499), \
     'expires_at', CASE WHEN n % 2 = 0 THEN n END, 'status', 'active', \
     'created_revision', n + 10000, 'revision', n + 10000) \
     FROM generate_series(1, 30000) n JOIN namespaces s ON s.created_revision = 1 + n % 10000",
    "INSERT INTO deleted_keys SELECT 'key:' || n + 1000000, n, team, namespace \
     FROM generate_series(1, 20000) n JOIN namespaces ON created_revision = 1 + n % 10000",
    "INSERT INTO cutoffs SELECT jsonb_build_object('target', jsonb_build_object('owner', \
     jsonb_build_array('team-' || n % 50, 'user:' || n)), 'up_to', n, 'blocked', false, \
     'revision', n) FROM generate_series(1, 20000) n",
    "INSERT INTO legacy SELECT jsonb_build_object('id', n, 'tenant', s.record -> 'tenant', \
     'blocked', n % 100 = 0, 'created_revision', n, 'revision', n) \
     FROM generate_series(1, 20000) n JOIN namespaces s ON s.created_revision = 1 + n % 10000",
    "INSERT INTO policies SELECT kind, jsonb_build_array(record -> 'tenant', '{}'::jsonb), \
     2 * created_revision + (kind = 'policy')::integer \
     FROM namespaces, unnest(ARRAY['policy', 'legacy_policy']) kind",
    "INSERT INTO usage SELECT id, 0, 1, 1 FROM keys",
    "INSERT INTO usage_days SELECT day, id, false, 'accepted', array_fill(1::bigint, ARRAY[24]) \
     FROM keys, generate_series(99, 101) day",
    "INSERT INTO usage_sources SELECT decode(lpad(to_hex(n), 32, '0'), 'hex'), 1, n \
     FROM generate_series(1, 20000) n",
    "ANALYZE",
];

/// The plan of a prepared statement, as lines.
async fn plan(client: &Client, arguments: &str) -> Vec<String> {
    let explain = format!("EXPLAIN (COSTS OFF) EXECUTE statement{arguments}");
    let lines = client.simple_query(&explain).await.unwrap();
    let line = |message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    };
    lines.into_iter().filter_map(line).collect()
}

/// A value of each type that the statement has parameters of.
async fn arguments(client: &Client) -> String {
    let types = "SELECT array_to_string(parameter_types::text[], ' ') \
                 FROM pg_prepared_statements WHERE name = 'statement'";
    let types = client.query_one(types, &[]).await.unwrap();
    let types: String = types.get(0);
    let id = "decode(repeat('00', 15) || '07', 'hex')";
    let values: Vec<String> = types
        .split_whitespace()
        .map(|kind| match kind {
            "text" => "'team-7'".into(),
            "bigint" => "100".into(),
            "boolean" => "true".into(),
            "jsonb" => "'{}'".into(),
            "bytea" => id.into(),
            "text[]" => "ARRAY['team-7']".into(),
            "bigint[]" => "ARRAY[7]".into(),
            "jsonb[]" => "ARRAY['{\"team\": \"team-7\"}'::jsonb]".into(),
            other => panic!("a parameter of type {other}"),
        })
        .collect();
    if values.is_empty() {
        String::new()
    } else {
        format!("({})", values.join(", "))
    }
}

/// What of a plan grows with a table.
fn fault(name: &str, plan: &[String]) -> Option<String> {
    let scan = plan.iter().find(|line| {
        // The log has one row, however many commits there are. The keys of a whole team are
        // compared with its cutoffs, which the planner may find by reading all of them.
        let whole_team = name == "LIVE_OF_TEAM" && line.contains("Seq Scan on cutoffs");
        line.contains("Seq Scan on ") && !line.contains("Seq Scan on log") && !whole_team
    });
    if let Some(scan) = scan {
        return Some(scan.trim().to_owned());
    }
    if name == "CHANGED" {
        // The parts of five tables, each by its index, may be sorted together.
        let parts = plan
            .iter()
            .filter(|line| line.contains("Index Cond: (revision >"));
        return (parts.count() != 5).then(|| "a table is not read from its cursor".into());
    }
    let pages = [
        "KEYS_OF_",
        "NEWEST_KEYS_OF_",
        "KEYS_BY_EXPIRY",
        "UNREVOKED_",
        "NEWEST_UNREVOKED_",
        "NAMES_OF_",
        "NEWEST_NAMES_OF_",
        "AUDIT_OF_",
        "NEWEST_OF_",
    ];
    let queries = ["LEGACY_OF_ALL", "LEGACY_OF_TEAM", "LEGACY_OF_NAMESPACE"];
    let queries = [&queries[..], &["NAMESPACES_OF_ALL", "NAMESPACES_OF_TEAM"]].concat();
    // With these values, the planner may prefer an index that leaves one row at most.
    let one_row = ["Index Cond: (id = ", "using namespaces_namespace_team_key"];
    if plan
        .iter()
        .any(|line| one_row.iter().any(|path| line.contains(path)))
    {
        return None;
    }
    if pages.iter().any(|page| name.starts_with(page)) || queries.contains(&name) {
        if let Some(sort) = plan.iter().find(|line| line.contains("Sort")) {
            return Some(format!("a page is sorted: {}", sort.trim()));
        }
        let begins = plan.iter().any(|line| {
            line.contains("Index Cond")
                && (line.contains("created_revision >")
                    || line.contains("revision >")
                    || line.contains("revision <")
                    || line.contains("ROW("))
        });
        if !begins {
            return Some("a page does not begin at its cursor".into());
        }
    }
    None
}

#[test]
fn every_statement_finds_its_rows_by_an_index() {
    run(async {
        let database = shared().database().await;
        let store = PostgresStore::connect(&database.url()).await.unwrap();
        drop(store);
        let client = database.client().await;
        // As on the connections of a store.
        let patient = Options::default().with_statement_timeout(Duration::MAX);
        Settings::new(&patient).apply(&client, false).await.unwrap();
        for rows in MANY {
            client.batch_execute(rows).await.expect(rows);
        }
        assert!(sql::ALL.len() >= 40, "{} statements", sql::ALL.len());
        let mut faults = Vec::new();
        for (name, statement) in sql::ALL {
            let prepare = format!("PREPARE statement AS {}", statement.text());
            client.batch_execute(&prepare).await.expect(name);
            let arguments = arguments(&client).await;
            // The plan for any values, which a connection may settle on, and the one for these.
            for mode in ["force_generic_plan", "force_custom_plan"] {
                let set = format!("SET plan_cache_mode = {mode}");
                client.batch_execute(&set).await.unwrap();
                let plan = plan(&client, &arguments).await;
                if let Some(fault) = fault(name, &plan) {
                    faults.push(format!("{name}, {mode}: {fault}\n{}", plan.join("\n")));
                }
            }
            client.batch_execute("DEALLOCATE statement").await.unwrap();
        }
        assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    });
}

/// The test sees a scan when there is one.
#[test]
fn a_scan_is_a_fault() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let scan = "Limit\n  ->  Seq Scan on keys k\n        Filter: (team = 'x'::text)";
    assert_eq!(
        fault("KEY", &lines(scan)).as_deref(),
        Some("->  Seq Scan on keys k")
    );
    let sorted = "Limit\n  ->  Sort\n        ->  Index Scan using keys_by_team on keys k\n\
                  Index Cond: (team = 'x'::text)";
    assert!(fault("KEYS_OF_TEAM", &lines(sorted)).is_some());
    let from_the_start = "Limit\n  ->  Index Scan using keys_by_team on keys k\n\
                          Index Cond: (team = 'x'::text)";
    assert!(fault("KEYS_OF_TEAM", &lines(from_the_start)).is_some());
    assert_eq!(fault("KEY", &lines(from_the_start)), None);
}
