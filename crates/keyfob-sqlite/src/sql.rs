//! Every statement that the store runs, in one list.
//!
//! A [`Sql`] can only be made here, and a test checks the query plan of each. Values are bound; no
//! statement is put together at run time.

use rusqlite::{CachedStatement, Connection};

/// The text of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sql(&'static str);

impl Sql {
    /// The statement, ready to run on `connection`.
    pub(crate) fn on(self, connection: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
        #[cfg(test)]
        crate::faults::pass()?;
        connection.prepare_cached(self.0)
    }
}

/// Begins and ends a write transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transaction {
    /// Takes the write lock at once: a transaction that begins by reading could not take it later
    /// if another process wrote meanwhile.
    Begin,
    Commit,
    Rollback,
}

impl Transaction {
    pub(crate) fn on(self, connection: &Connection) -> rusqlite::Result<()> {
        #[cfg(test)]
        crate::faults::pass()?;
        connection.execute_batch(match self {
            Self::Begin => "BEGIN IMMEDIATE",
            Self::Commit => "COMMIT",
            Self::Rollback => "ROLLBACK",
        })?;
        #[cfg(test)]
        crate::faults::pass()?;
        Ok(())
    }
}

macro_rules! statements {
    ($($name:ident = $($text:expr),+;)*) => {
        $(pub(crate) const $name: Sql = Sql(concat!($($text),+));)*

        /// Each statement with its name.
        #[cfg(test)]
        pub(crate) const ALL: &[(&str, Sql)] = &[$((stringify!($name), $name)),*];

        /// How many statements a connection keeps ready: all.
        pub(crate) const COUNT: usize = [$($name),*].len();
    };
}

macro_rules! keys {
    ($rest:literal) => {
        concat!("SELECT record FROM keys WHERE ", $rest)
    };
}

/// Keys by an index that were created after ?2 and before ?3, oldest first or, with `DESC`, newest first.
macro_rules! page_of_keys {
    ($index:literal, $path:literal) => {
        page_of_keys!($index, $path, "")
    };
    ($index:literal, $path:literal, $order:literal) => {
        concat!(
            "SELECT record FROM keys INDEXED BY ",
            $index,
            " WHERE ",
            $path,
            " AND created_revision > ?2 AND created_revision < ?3 ORDER BY created_revision",
            $order
        )
    };
}

/// The same, of the keys with the label ?4 of the value ?5.
macro_rules! page_of_labelled {
    ($order:literal) => {
        concat!(
            "SELECT k.record FROM key_labels l JOIN keys k USING (created_revision) \
             WHERE l.team = ?1 AND l.label = ?4 AND l.value = ?5 AND l.created_revision > ?2 \
             AND l.created_revision < ?3 ORDER BY l.created_revision",
            $order
        )
    };
}

/// What an index has of the keys that are not revoked, as [`page_of_keys`].
macro_rules! unrevoked {
    ($columns:literal, $index:literal, $path:literal) => {
        unrevoked!($columns, $index, $path, "")
    };
    ($columns:literal, $index:literal, $path:literal, $order:literal) => {
        concat!(
            "SELECT created_revision, namespace, owner, ",
            $columns,
            ", 0, NULL FROM keys INDEXED BY ",
            $index,
            " WHERE ",
            $path,
            " AND NOT revoked AND created_revision > ?2 AND created_revision < ?3 \
             ORDER BY created_revision",
            $order
        )
    };
}

macro_rules! legacy {
    ($rest:literal) => {
        concat!("SELECT record FROM legacy WHERE ", $rest)
    };
}

macro_rules! namespaces {
    ($rest:literal) => {
        concat!("SELECT record FROM namespaces WHERE ", $rest)
    };
}

/// The live keys of a team ?1, created after ?2 and live at ?3, by the path that `$path` says. The
/// path uses up the cutoffs that are the same for all rows; `$cutoffs` has those of each row.
macro_rules! live_keys {
    ($index:literal, $path:literal $(, $cutoff:literal)*) => {
        concat!(
            "SELECT count(*) FROM keys k ",
            $index,
            " WHERE ",
            $path,
            " AND NOT k.revoked AND k.created_revision > ?2 \
             AND (k.expires_at IS NULL OR k.expires_at > ?3)",
            $(" AND NOT EXISTS (SELECT 1 FROM cutoffs c WHERE c.team = ?1 AND c.",
            $cutoff, " = k.", $cutoff, " AND c.up_to >= k.created_revision)"),*
        )
    };
}

/// Events after ?1 and up to ?2, oldest first or, with `DESC`, newest first.
macro_rules! audit {
    ($path:literal) => {
        audit!($path, "")
    };
    ($path:literal, $order:literal) => {
        audit!("", $path, $order)
    };
    ($index:literal, $path:literal, $order:literal) => {
        concat!(
            "SELECT revision, entry, hash FROM audit ",
            $index,
            " WHERE ",
            $path,
            "revision > ?1 AND revision <= ?2 ORDER BY revision",
            $order
        )
    };
}

statements! {
    // What a commit is decided by.
    HEAD = "SELECT revision, hash FROM head WHERE one = 1";
    KEY_FORMAT = "SELECT key_format FROM head WHERE one = 1";
    TEAM_OF_NAMESPACE = "SELECT team FROM namespaces WHERE namespace = ?1";
    KEY = keys!("id = ?1");
    DELETED_KEY = "SELECT 1 FROM deleted_keys WHERE id = ?1";
    LEGACY = legacy!("id = ?1");
    CUTOFF = "SELECT record FROM cutoffs WHERE target = ?1";
    // Keys that may be live: the cutoffs of their owners are applied afterwards.
    SAME_NAME = keys!("namespace = ?1 AND owner = ?6 AND name = ?2 AND NOT revoked AND created_revision > ?3 \
                       AND id <> ?4 AND (expires_at IS NULL OR expires_at > ?5)");
    COUNT_OF_OWNER = "SELECT count(*) FROM (SELECT 1 FROM keys WHERE namespace = ?1 \
                      AND owner = ?2 AND NOT revoked AND created_revision > ?3 \
                      AND (expires_at IS NULL OR expires_at > ?4) LIMIT ?5)";

    TEAM_IS_KNOWN = "SELECT 1 FROM namespaces WHERE team = ?1 LIMIT 1";
    OWNER_IS_KNOWN = "SELECT 1 FROM keys WHERE team = ?1 AND owner = ?2 LIMIT 1";
    POLICY_ENTRY = "SELECT revision, '{\"' || kind || '\":' || record || '}' FROM policies \
                    WHERE kind = ?1 AND namespace = ?2";

    // What a commit writes.
    ADVANCE = "UPDATE head SET revision = ?1, hash = ?2 WHERE one = 1 AND revision = ?1 - 1";
    SET_KEY_FORMAT = "UPDATE head SET key_format = ?1 WHERE one = 1 AND key_format IS NULL";
    INSERT_EVENT = "INSERT INTO audit (revision, latest, entry, hash) \
                    VALUES (?1, max(?2, coalesce((SELECT latest FROM audit \
                    WHERE revision = ?1 - 1), ?2)), ?3, ?4)";
    INSERT_NAMESPACE = "INSERT INTO namespaces (created_revision, record) VALUES (?1, ?2)";
    PUT_KEY = "INSERT INTO keys (created_revision, record) VALUES (?1, ?2) \
               ON CONFLICT (created_revision) DO UPDATE SET record = excluded.record";
    MARK_DELETED = "INSERT INTO deleted_keys (revision, id, team, namespace) \
                    VALUES (?1, ?2, ?3, ?4)";
    DELETE_KEY = "DELETE FROM keys WHERE id = ?1";
    DELETE_USAGE = "DELETE FROM usage WHERE credential = ?1";
    PUT_CUTOFF = "INSERT INTO cutoffs (record) VALUES (?1) \
                  ON CONFLICT (target) DO UPDATE SET record = excluded.record";
    PUT_LEGACY = "INSERT INTO legacy (created_revision, record) VALUES (?1, ?2) \
                  ON CONFLICT (created_revision) DO UPDATE SET record = excluded.record";
    PUT_POLICY = "INSERT INTO policies (kind, revision, record) VALUES (?1, ?2, ?3) \
                  ON CONFLICT (kind, namespace) DO UPDATE SET revision = excluded.revision, \
                  record = excluded.record";

    // Lists, in the order of creation or newest first. What the index does not decide, the record
    // does.
    KEYS_OF_TEAM = page_of_keys!("keys_by_team", "team = ?1");
    KEYS_OF_NAMESPACE = page_of_keys!("keys_by_namespace", "namespace = ?1");
    KEYS_OF_OWNER = page_of_keys!("keys_by_owner", "team = ?1 AND owner = ?4");
    KEYS_OF_CREATOR = page_of_keys!("keys_created_for_others", "team = ?1 AND creator = ?4 AND creator <> owner");
    KEYS_OF_NAME = page_of_keys!("keys_by_name", "team = ?1 AND name = ?4");
    KEYS_OF_LABEL = page_of_labelled!("");
    NEWEST_KEYS_OF_TEAM = page_of_keys!("keys_by_team", "team = ?1", " DESC");
    NEWEST_KEYS_OF_NAMESPACE = page_of_keys!("keys_by_namespace", "namespace = ?1", " DESC");
    NEWEST_KEYS_OF_OWNER = page_of_keys!("keys_by_owner", "team = ?1 AND owner = ?4", " DESC");
    NEWEST_KEYS_OF_CREATOR = page_of_keys!("keys_created_for_others", "team = ?1 AND creator = ?4 AND creator <> owner",
                                           " DESC");
    NEWEST_KEYS_OF_NAME = page_of_keys!("keys_by_name", "team = ?1 AND name = ?4", " DESC");
    NEWEST_KEYS_OF_LABEL = page_of_labelled!(" DESC");
    // What indexes have of keys, and the record of one.
    UNREVOKED_OF_TEAM = unrevoked!("name, id", "keys_unrevoked", "team = ?1");
    UNREVOKED_OF_NAMESPACE = unrevoked!("name, id", "keys_unrevoked_by_namespace",
                                        "namespace = ?1");
    UNREVOKED_OF_OWNER = unrevoked!("NULL, NULL", "keys_unrevoked_by_team",
                                    "team = ?1 AND owner = ?4");
    NEWEST_UNREVOKED_OF_TEAM = unrevoked!("name, id", "keys_unrevoked", "team = ?1", " DESC");
    NEWEST_UNREVOKED_OF_NAMESPACE = unrevoked!("name, id", "keys_unrevoked_by_namespace",
                                               "namespace = ?1", " DESC");
    NEWEST_UNREVOKED_OF_OWNER = unrevoked!("NULL, NULL", "keys_unrevoked_by_team",
                                           "team = ?1 AND owner = ?4", " DESC");
    KEYS_BY_EXPIRY = "SELECT created_revision, namespace, owner, NULL, NULL, revoked, expires_at \
                      FROM keys INDEXED BY keys_by_expiry WHERE team = ?1 \
                      AND (expires_at, created_revision) > (?2, ?3) AND expires_at < ?4 \
                      ORDER BY expires_at, created_revision";
    KEY_AT = keys!("created_revision = ?1");
    LEGACY_OF_ALL = legacy!("created_revision > ?1 ORDER BY created_revision");
    LEGACY_OF_TEAM = legacy!("team = ?2 AND created_revision > ?1 ORDER BY created_revision");
    LEGACY_OF_NAMESPACE = legacy!("namespace = ?2 AND created_revision > ?1 \
                                   ORDER BY created_revision");
    LEGACY_BY_ID = legacy!("id = ?2 AND created_revision > ?1");
    NAMESPACES_OF_ALL = namespaces!("created_revision > ?1 ORDER BY created_revision");
    NAMESPACES_OF_TEAM = namespaces!("team = ?2 AND created_revision > ?1 \
                                      ORDER BY created_revision");
    NAMESPACES_OF_NAME = namespaces!("namespace = ?2 AND created_revision > ?1");
    POLICY = "SELECT record FROM policies WHERE kind = ?1 AND namespace = ?2";

    // Teams and owners, in the order of their names: each statement finds the next one, and whether
    // it is blocked, so that a list skips the keys between two owners.
    NEXT_TEAM = "SELECT team FROM namespaces WHERE team > ?1 ORDER BY team LIMIT 1";
    NEXT_CUT_TEAM = "SELECT team FROM cutoffs WHERE team > ?1 AND namespace IS NULL \
                     AND owner IS NULL ORDER BY team LIMIT 1";
    NEXT_OWNER = "SELECT owner FROM keys WHERE team = ?1 AND owner > ?2 AND owner < ?3 \
                  ORDER BY owner LIMIT 1";
    NEXT_CUT_OWNER = "SELECT owner FROM cutoffs WHERE team = ?1 AND owner > ?2 AND owner < ?3 \
                      ORDER BY owner LIMIT 1";

    // Counts of what a revocation ends.
    LIVE_KEYS_OF_TEAM = live_keys!("INDEXED BY keys_unrevoked_by_team", "k.team = ?1",
                                   "namespace", "owner");
    LIVE_KEYS_OF_NAMESPACE = live_keys!("INDEXED BY keys_unrevoked_by_owner", "k.namespace = ?4",
                                        "owner");
    LIVE_KEYS_OF_OWNER = live_keys!("INDEXED BY keys_unrevoked_by_team",
                                    "k.team = ?1 AND k.owner = ?4", "namespace");
    LIVE_KEYS_OF_CREATOR = live_keys!("INDEXED BY keys_created_for_others",
                                      "k.team = ?1 AND k.creator = ?4 AND k.creator <> k.owner",
                                      "namespace", "owner");
    LIVE_LEGACY_OF_TEAM = "SELECT count(*) FROM legacy l INDEXED BY legacy_live_by_team \
                           WHERE l.team = ?1 AND NOT l.revoked AND NOT l.blocked \
                           AND l.created_revision > ?2 AND NOT EXISTS (SELECT 1 FROM cutoffs c \
                           WHERE c.team = ?1 AND c.namespace = l.namespace \
                           AND c.up_to >= l.created_revision)";
    LIVE_LEGACY_OF_NAMESPACE = "SELECT count(*) FROM legacy l INDEXED BY legacy_live_by_team \
                                WHERE l.team = ?1 AND l.namespace = ?3 AND NOT l.revoked \
                                AND NOT l.blocked AND l.created_revision > ?2";

    // The trail.
    AUDIT_OF_ALL = audit!("");
    AUDIT_OF_TEAM = audit!("team = ?3 AND ");
    AUDIT_OF_ACTION = audit!("INDEXED BY audit_by_action", "team = ?3 AND action = ?4 AND ", "");
    AUDIT_OF_LEAKS = audit!("INDEXED BY audit_leaks", "leak AND ", "");
    AUDIT_OF_NAMESPACE = audit!("namespace = ?3 AND ");
    AUDIT_OF_ACTOR = audit!("actor = ?3 AND ");
    AUDIT_OF_CREDENTIAL = audit!("credential = ?3 AND ");
    NEWEST_OF_ALL = audit!("", " DESC");
    NEWEST_OF_TEAM = audit!("team = ?3 AND ", " DESC");
    NEWEST_OF_ACTION = audit!("INDEXED BY audit_by_action", "team = ?3 AND action = ?4 AND ",
                              " DESC");
    NEWEST_OF_LEAKS = audit!("INDEXED BY audit_leaks", "leak AND ", " DESC");
    NEWEST_OF_NAMESPACE = audit!("namespace = ?3 AND ", " DESC");
    NEWEST_OF_ACTOR = audit!("actor = ?3 AND ", " DESC");
    NEWEST_OF_CREDENTIAL = audit!("credential = ?3 AND ", " DESC");
    FIRST_SINCE = "SELECT revision FROM audit WHERE latest >= ?1 ORDER BY latest, revision LIMIT 1";
    // `+revision`, or SQLite would scan the table from its end.
    LAST_LATE = "SELECT max(+revision) FROM audit WHERE at < latest AND at < ?1";

    // The feed: the tables merged in the order of last changes, each row as an item.
    CHANGED = "SELECT revision, '{\"key\":' || record || '}' FROM keys WHERE revision > ?1 \
               UNION ALL SELECT revision, json_object('key_deleted', json_object('id', \
               substr(id, 5), 'tenant', json_object('team', team, 'namespace', namespace))) \
               FROM deleted_keys WHERE revision > ?1 \
               UNION ALL SELECT revision, '{\"cutoff\":' || record || '}' \
               FROM cutoffs WHERE revision > ?1 \
               UNION ALL SELECT revision, '{\"legacy\":' || record || '}' \
               FROM legacy WHERE revision > ?1 \
               UNION ALL SELECT revision, '{\"' || kind || '\":' || record || '}' \
               FROM policies WHERE revision > ?1 ORDER BY 1 LIMIT ?2";
    HASH_OF = "SELECT hash FROM audit WHERE revision = ?1";

    // Usage. The first changes no row if the batch, or a later one of its source, was recorded.
    RECORD_SOURCE = "INSERT INTO usage_sources (source, sequence, at) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (source) DO UPDATE SET sequence = excluded.sequence, \
                     at = excluded.at WHERE excluded.sequence > sequence";
    FORGET_SOURCES = "DELETE FROM usage_sources WHERE at <= ?1";
    FORGET_OF_GROUP = "DELETE FROM usage_sources WHERE source IN (SELECT source FROM usage_sources \
                       WHERE source BETWEEN ?1 AND ?2 AND source <> ?3 \
                       ORDER BY at DESC, source DESC LIMIT -1 OFFSET ?4)";
    TENANT_OF_CREDENTIAL = "SELECT namespace, team FROM keys WHERE id = ?1 \
                            UNION ALL SELECT namespace, team FROM legacy WHERE id = ?1";
    MERGE_USAGE = "INSERT INTO usage (credential, last_used, accepted, refused) \
                   VALUES (?1, ?2, ?3, ?4) ON CONFLICT (credential) DO UPDATE SET \
                   last_used = coalesce(max(last_used, excluded.last_used), last_used, \
                   excluded.last_used), \
                   accepted = CASE WHEN accepted > 9223372036854775807 - excluded.accepted \
                   THEN 9223372036854775807 ELSE accepted + excluded.accepted END, \
                   refused = CASE WHEN refused > 9223372036854775807 - excluded.refused \
                   THEN 9223372036854775807 ELSE refused + excluded.refused END";
    MERGE_DAY = "INSERT INTO usage_days (day, subject, legacy, outcome, hours) \
                 VALUES (?1, ?2, ?3, ?4, json_object(?5, ?6)) \
                 ON CONFLICT (day, subject, legacy, outcome) DO UPDATE SET \
                 hours = json_set(hours, '$.' || ?5, \
                 CASE WHEN coalesce(hours ->> ?5, 0) > 9223372036854775807 - ?6 \
                 THEN 9223372036854775807 ELSE coalesce(hours ->> ?5, 0) + ?6 END)";
    FORGET_DAYS = "DELETE FROM usage_days WHERE (day, subject, legacy, outcome) IN ( \
                   SELECT day, subject, legacy, outcome FROM usage_days WHERE day <= ?1 LIMIT ?2)";
    USAGE = "SELECT last_used, accepted, refused FROM usage WHERE credential = ?1";
    USAGE_OF_DAY = "SELECT legacy, outcome, hours FROM usage_days WHERE day = ?1 AND subject = ?2";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::migrate;

    fn plan(connection: &Connection, statement: &str) -> Vec<String> {
        let mut explained = connection
            .prepare(&["EXPLAIN QUERY PLAN ", statement].concat())
            .unwrap();
        let steps = explained.raw_query().mapped(|row| row.get(3));
        steps.collect::<rusqlite::Result<_>>().unwrap()
    }

    /// What of a plan grows with the table.
    fn fault(statement: &str, plan: &[String]) -> Option<String> {
        let found_by_index =
            |step: &&String| step.starts_with("SEARCH ") && step.contains(" USING ");
        let walks = |step: &&String| step.starts_with("SEARCH ") && !step.contains(" USING ");
        let scans = |step: &&String| {
            step.starts_with("SCAN ") && !matches!(step.as_str(), "SCAN CONSTANT ROW")
                // Of the rows that an index has found.
                && !step.starts_with("SCAN (subquery-")
        };
        let pages = statement.contains("ORDER BY created_revision")
            || statement.contains("ORDER BY revision");
        let begins_at_the_cursor =
            |step: &&String| step.contains("rowid>?") || step.contains("revision>?");
        if let Some(step) = plan.iter().find(scans).or(plan.iter().find(walks)) {
            return Some(step.clone());
        }
        if let Some(step) = plan.iter().find(|step| step.contains("TEMP B-TREE")) {
            return Some(step.clone());
        }
        if !statement.starts_with("INSERT") && plan.iter().find(found_by_index).is_none() {
            return Some("no index".into());
        }
        if pages && plan.iter().find(begins_at_the_cursor).is_none() {
            return Some("a page does not begin at its cursor".into());
        }
        None
    }

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection).unwrap();
        connection
    }

    #[test]
    fn every_statement_finds_its_rows_by_an_index() {
        let connection = database();
        assert!(ALL.len() >= 40, "the list has {} statements", ALL.len());
        for (name, Sql(statement)) in ALL {
            let mut plan = plan(&connection, statement);
            if *name == "FORGET_OF_GROUP" {
                // It sorts the sources of a group, which are a thousand and one at most.
                plan.retain(|step| !step.contains("TEMP B-TREE"));
            }
            let fault = fault(statement, &plan);
            assert_eq!(fault, None, "{name}: {plan:#?}");
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "each list and its index")]
    fn a_list_uses_the_index_that_was_made_for_it() {
        let connection = database();
        for (statement, expected) in [
            (
                KEYS_OF_TEAM,
                "keys_by_team (team=? AND rowid>? AND rowid<?)",
            ),
            (
                NEWEST_KEYS_OF_TEAM,
                "keys_by_team (team=? AND rowid>? AND rowid<?)",
            ),
            (
                KEYS_OF_NAMESPACE,
                "keys_by_namespace (namespace=? AND rowid>? AND rowid<?)",
            ),
            (
                NEWEST_KEYS_OF_NAMESPACE,
                "keys_by_namespace (namespace=? AND rowid>? AND rowid<?)",
            ),
            (
                KEYS_OF_OWNER,
                "keys_by_owner (team=? AND owner=? AND rowid>? AND rowid<?)",
            ),
            (
                NEWEST_KEYS_OF_OWNER,
                "keys_by_owner (team=? AND owner=? AND rowid>? AND rowid<?)",
            ),
            (
                KEYS_OF_CREATOR,
                "keys_created_for_others (team=? AND creator=? AND rowid>? AND rowid<?)",
            ),
            (
                NEWEST_KEYS_OF_CREATOR,
                "keys_created_for_others (team=? AND creator=? AND rowid>? AND rowid<?)",
            ),
            (
                KEYS_OF_NAME,
                "keys_by_name (team=? AND name=? AND rowid>? AND rowid<?)",
            ),
            (
                NEWEST_KEYS_OF_NAME,
                "keys_by_name (team=? AND name=? AND rowid>? AND rowid<?)",
            ),
            (
                KEYS_OF_LABEL,
                "PRIMARY KEY (team=? AND label=? AND value=? AND created_revision>? \
                 AND created_revision<?)",
            ),
            (
                NEWEST_KEYS_OF_LABEL,
                "PRIMARY KEY (team=? AND label=? AND value=? AND created_revision>? \
                 AND created_revision<?)",
            ),
            (
                UNREVOKED_OF_TEAM,
                "keys_unrevoked (team=? AND created_revision>? \
                 AND created_revision<?)",
            ),
            (
                NEWEST_UNREVOKED_OF_TEAM,
                "keys_unrevoked (team=? AND created_revision>? \
                 AND created_revision<?)",
            ),
            (
                UNREVOKED_OF_NAMESPACE,
                "keys_unrevoked_by_namespace (namespace=? AND created_revision>? \
                 AND created_revision<?)",
            ),
            (
                NEWEST_UNREVOKED_OF_NAMESPACE,
                "keys_unrevoked_by_namespace (namespace=? AND created_revision>? \
                 AND created_revision<?)",
            ),
            (
                UNREVOKED_OF_OWNER,
                "keys_unrevoked_by_team (team=? AND owner=? \
                 AND created_revision>? AND created_revision<?)",
            ),
            (
                NEWEST_UNREVOKED_OF_OWNER,
                "keys_unrevoked_by_team (team=? AND owner=? \
                 AND created_revision>? AND created_revision<?)",
            ),
            (
                KEYS_BY_EXPIRY,
                "keys_by_expiry (team=? AND expires_at>? AND expires_at<?)",
            ),
            (KEY_AT, "INTEGER PRIMARY KEY (rowid=?)"),
            (
                SAME_NAME,
                "keys_unrevoked_by_name (namespace=? AND owner=? AND name=? AND rowid>?)",
            ),
            (
                COUNT_OF_OWNER,
                "keys_unrevoked_by_owner (namespace=? AND owner=? AND created_revision>?)",
            ),
            (LEGACY_OF_TEAM, "legacy_by_team (team=? AND rowid>?)"),
            (
                AUDIT_OF_TEAM,
                "audit_by_team (team=? AND rowid>? AND rowid<?)",
            ),
            (
                AUDIT_OF_ACTION,
                "audit_by_action (team=? AND action=? AND rowid>? AND rowid<?)",
            ),
            (
                NEWEST_OF_ACTION,
                "audit_by_action (team=? AND action=? AND rowid>? AND rowid<?)",
            ),
            (AUDIT_OF_LEAKS, "audit_leaks (revision>? AND revision<?)"),
            (NEWEST_OF_LEAKS, "audit_leaks (revision>? AND revision<?)"),
            (
                AUDIT_OF_NAMESPACE,
                "audit_by_namespace (namespace=? AND rowid>? AND rowid<?)",
            ),
            (
                AUDIT_OF_ACTOR,
                "audit_by_actor (actor=? AND rowid>? AND rowid<?)",
            ),
            (
                AUDIT_OF_CREDENTIAL,
                "audit_by_credential (credential=? AND rowid>? AND rowid<?)",
            ),
            (
                NEWEST_OF_TEAM,
                "audit_by_team (team=? AND rowid>? AND rowid<?)",
            ),
            (
                NEWEST_OF_CREDENTIAL,
                "audit_by_credential (credential=? AND rowid>? AND rowid<?)",
            ),
            (FIRST_SINCE, "audit_by_latest (latest>?)"),
            (LAST_LATE, "audit_late (at<?)"),
        ] {
            let plan = plan(&connection, statement.0);
            let uses = plan.iter().any(|step| step.contains(expected));
            assert!(uses, "{}: {plan:#?}", statement.0);
        }
    }

    #[test]
    fn a_list_of_what_names_keys_reads_no_records() {
        // Cursor 0 is that of the table. Its virtual columns are computed from its record.
        let reads_records = |statement: Sql| {
            let connection = database();
            let explain = ["EXPLAIN ", statement.0].concat();
            let mut explained = connection.prepare(&explain).unwrap();
            let steps = explained.raw_query().mapped(|row| {
                let (opcode, cursor): (String, i64) = (row.get(1)?, row.get(2)?);
                Ok(opcode == "Column" && cursor == 0)
            });
            let steps: Vec<bool> = steps.collect::<rusqlite::Result<_>>().unwrap();
            steps.contains(&true)
        };
        for statement in [
            UNREVOKED_OF_TEAM,
            UNREVOKED_OF_NAMESPACE,
            UNREVOKED_OF_OWNER,
            NEWEST_UNREVOKED_OF_TEAM,
            NEWEST_UNREVOKED_OF_NAMESPACE,
            NEWEST_UNREVOKED_OF_OWNER,
            KEYS_BY_EXPIRY,
        ] {
            assert!(!reads_records(statement), "{}", statement.0);
        }
        assert!(reads_records(KEYS_OF_TEAM));
    }

    #[test]
    fn the_feed_is_merged_and_not_sorted() {
        let plan = plan(&database(), CHANGED.0);
        let searches = plan.iter().filter(|step| step.starts_with("SEARCH "));
        assert_eq!(searches.count(), 5, "{plan:#?}");
        let merges = plan.iter().filter(|step| *step == "MERGE (UNION ALL)");
        assert_eq!(merges.count(), 4, "{plan:#?}");
    }

    #[test]
    fn statements_that_grow_with_a_table_are_noticed() {
        let connection = database();
        for statement in [
            "SELECT * FROM keys WHERE expires_at = ?1",
            "SELECT * FROM keys WHERE team = ?1 ORDER BY record",
            "SELECT * FROM keys WHERE team = ?1 ORDER BY created_revision",
            "UPDATE keys SET record = ?1",
            "DELETE FROM usage WHERE last_used < ?1",
            "SELECT * FROM audit WHERE at >= ?1 ORDER BY revision",
            "SELECT max(revision) FROM audit WHERE at < ?1",
        ] {
            let plan = plan(&connection, statement);
            assert!(fault(statement, &plan).is_some(), "{statement}: {plan:#?}");
        }
    }
}
