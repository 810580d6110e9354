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
        const ALL: &[(&str, Sql)] = &[$((stringify!($name), $name)),*];

        /// How many statements a connection keeps ready: all.
        pub(crate) const COUNT: usize = [$($name),*].len();
    };
}

macro_rules! keys {
    ($rest:literal) => {
        concat!("SELECT record FROM keys WHERE ", $rest)
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
        concat!(
            "SELECT revision, entry, hash FROM audit WHERE ",
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

    // Lists, in the order of creation. What the index does not decide, the record does.
    KEYS_OF_TEAM = keys!("team = ?1 AND created_revision > ?2 ORDER BY created_revision");
    KEYS_OF_NAMESPACE = keys!("namespace = ?1 AND created_revision > ?2 \
                               ORDER BY created_revision");
    KEYS_OF_OWNER = keys!("team = ?1 AND owner = ?3 AND created_revision > ?2 \
                           ORDER BY created_revision");
    KEYS_OF_CREATOR = keys!("team = ?1 AND creator = ?3 AND creator <> owner \
                             AND created_revision > ?2 ORDER BY created_revision");
    KEYS_OF_NAME = keys!("team = ?1 AND name = ?3 AND created_revision > ?2 \
                          ORDER BY created_revision");
    KEYS_OF_LABEL = "SELECT k.record FROM key_labels l JOIN keys k USING (created_revision) \
                     WHERE l.team = ?1 AND l.label = ?3 AND l.value = ?4 \
                     AND l.created_revision > ?2 ORDER BY l.created_revision";
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
    AUDIT_OF_NAMESPACE = audit!("namespace = ?3 AND ");
    AUDIT_OF_ACTOR = audit!("actor = ?3 AND ");
    AUDIT_OF_CREDENTIAL = audit!("credential = ?3 AND ");
    NEWEST_OF_ALL = audit!("", " DESC");
    NEWEST_OF_TEAM = audit!("team = ?3 AND ", " DESC");
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
    MERGE_USAGE = "INSERT INTO usage (credential, last_used, accepted, refused) \
                   SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM keys WHERE id = ?1) \
                   OR EXISTS (SELECT 1 FROM legacy WHERE id = ?1) \
                   ON CONFLICT (credential) DO UPDATE SET \
                   last_used = coalesce(max(last_used, excluded.last_used), last_used, \
                   excluded.last_used), \
                   accepted = CASE WHEN accepted > 9223372036854775807 - excluded.accepted \
                   THEN 9223372036854775807 ELSE accepted + excluded.accepted END, \
                   refused = CASE WHEN refused > 9223372036854775807 - excluded.refused \
                   THEN 9223372036854775807 ELSE refused + excluded.refused END";
    USAGE = "SELECT last_used, accepted, refused FROM usage WHERE credential = ?1";
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
            |step: &&String| step.contains("rowid>?") || step.contains("created_revision>?");
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
            let plan = plan(&connection, statement);
            let fault = fault(statement, &plan);
            assert_eq!(fault, None, "{name}: {plan:#?}");
        }
    }

    #[test]
    fn a_list_uses_the_index_that_was_made_for_it() {
        let connection = database();
        for (statement, expected) in [
            (KEYS_OF_TEAM, "keys_by_team (team=? AND rowid>?)"),
            (
                KEYS_OF_NAMESPACE,
                "keys_by_namespace (namespace=? AND rowid>?)",
            ),
            (
                KEYS_OF_OWNER,
                "keys_by_owner (team=? AND owner=? AND rowid>?)",
            ),
            (
                KEYS_OF_CREATOR,
                "keys_created_for_others (team=? AND creator=? AND rowid>?)",
            ),
            (KEYS_OF_NAME, "keys_by_name (team=? AND name=? AND rowid>?)"),
            (
                KEYS_OF_LABEL,
                "PRIMARY KEY (team=? AND label=? AND value=? AND created_revision>?)",
            ),
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
