//! Every statement that the store runs, in one list.
//!
//! A [`Sql`] can be made here alone, so none escapes the test of the plans, which goes over the
//! list. Values are bound; no statement is put together at run time, and the schema is the
//! connection's `search_path`.

/// The text of a statement that is prepared once a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sql(&'static str);

impl Sql {
    pub(crate) fn text(self) -> &'static str {
        self.0
    }
}

macro_rules! statements {
    ($($name:ident = $($text:expr),+;)*) => {
        $(pub(crate) const $name: Sql = Sql(concat!($($text),+));)*

        /// Each statement with its name.
        #[cfg(test)]
        pub(crate) const ALL: &[(&str, Sql)] = &[$((stringify!($name), $name)),*];
    };
}

/// A key's record as it was written: what [`Columns::key`](crate::row::Columns::key) reads.
macro_rules! key_columns {
    () => {
        "k.id, k.team, k.namespace, k.owner_kind, k.owner, k.name, k.labels, k.scopes, k.digest, \
         k.previous_digest, k.previous_issued_at, k.previous_until, k.created_at, k.created_by, \
         k.updated_at, k.issued_at, k.not_before, k.expires_at, k.status, k.revocation, k.created_revision, \
         k.revision"
    };
}

/// A cutoff, looked up for each row. The limit keeps the planner from reading all cutoffs
/// instead, which it would rather do for a page of unknown length.
macro_rules! cut {
    ($alias:literal, $team:expr, $kind:expr, $name:expr) => {
        concat!(
            " LEFT JOIN LATERAL (SELECT b.up_to, b.blocked, b.revocation, b.revision \
             FROM cutoffs b WHERE b.team = ",
            $team,
            " AND b.kind = ",
            $kind,
            " AND b.name = ",
            $name,
            " LIMIT 1) ",
            $alias,
            " ON true "
        )
    };
}

/// The cutoffs of a key's, or a legacy credential's, team and namespace.
macro_rules! cuts_of {
    ($record:literal) => {
        concat!(
            cut!("t", concat!($record, ".team"), "'team'", "''"),
            cut!(
                "n",
                concat!($record, ".team"),
                "'namespace'",
                concat!($record, ".namespace")
            )
        )
    };
}

macro_rules! cuts_of_key {
    () => {
        concat!(
            cuts_of!("k"),
            cut!("o", "k.team", "k.owner_kind", "k.owner")
        )
    };
}

macro_rules! cut_columns {
    ($cut:literal) => {
        concat!(
            ", ",
            $cut,
            ".up_to, ",
            $cut,
            ".blocked, ",
            $cut,
            ".revocation, ",
            $cut,
            ".revision"
        )
    };
}

/// Keys with the cutoffs that they are to be read behind.
macro_rules! keys {
    ($from:literal, $rest:expr) => {
        concat!(
            "SELECT ",
            key_columns!(),
            cut_columns!("t"),
            cut_columns!("n"),
            cut_columns!("o"),
            " FROM ",
            $from,
            cuts_of_key!(),
            $rest
        )
    };
}

/// A page of keys by the path that `$path` says. The parameters of all: the team, what comes
/// after, how many, and the filters that may be none: namespace, kind and name of the owner, name,
/// label and its value, status.
macro_rules! page_of_keys {
    ($from:literal, $path:literal) => {
        keys!(
            $from,
            concat!(
                "WHERE k.team = $1 AND k.created_revision > $2 AND ",
                $path,
                " AND ($4::text IS NULL OR k.namespace = $4) \
                 AND ($5::text IS NULL OR (k.owner_kind = $5 AND k.owner = $6)) \
                 AND ($7::text IS NULL OR k.name = $7) \
                 AND ($8::text IS NULL OR k.labels @> jsonb_build_object($8::text, $9::text)) \
                 AND ($10::text IS NULL OR $10 = CASE WHEN t.up_to >= k.created_revision OR n.up_to >= k.created_revision \
                 OR o.up_to >= k.created_revision THEN 'revoked' ELSE k.status END) \
                 ORDER BY k.created_revision LIMIT $3"
            )
        )
    };
}

/// A legacy credential's record as it was written.
macro_rules! legacy_columns {
    () => {
        "l.id, l.team, l.namespace, l.subject, l.digest, l.blocked, l.imported_at, \
         l.imported_by, l.revocation, l.created_revision, l.revision"
    };
}

macro_rules! legacy {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            legacy_columns!(),
            cut_columns!("t"),
            cut_columns!("n"),
            " FROM legacy l",
            cuts_of!("l"),
            $rest
        )
    };
}

/// A namespace, and whether it or its team is closed.
macro_rules! namespaces {
    ($rest:literal) => {
        concat!(
            "SELECT s.team, s.namespace, s.created_at, \
             coalesce(t.blocked, false) OR coalesce(n.blocked, false), s.created_revision FROM namespaces s",
            cuts_of!("s"),
            $rest
        )
    };
}

/// A page of the trail by the path that `$path` says. The parameters of all: what comes after, how
/// many, and the filters that may be none: team, namespace, kind and id of the credential, kind and
/// name of the actor, since, until, action.
macro_rules! page_of_audit {
    ($path:literal) => {
        concat!(
            "SELECT revision, at, actor_kind, actor, actor_credential, action, team, namespace, \
             owner_kind, owner, credential_kind, credential, reason, request_id, hash FROM audit \
             WHERE ",
            $path,
            " AND revision > CASE WHEN $9::bigint IS NULL THEN $1 ELSE greatest($1, \
             coalesce((SELECT a.revision - 1 FROM audit a WHERE a.latest >= $9 \
             ORDER BY a.latest, a.revision LIMIT 1), 9223372036854775807)) END \
             AND revision <= CASE WHEN $10::bigint IS NULL THEN 9223372036854775807 ELSE \
             greatest(coalesce((SELECT a.revision - 1 FROM audit a WHERE a.latest >= $10 \
             ORDER BY a.latest, a.revision LIMIT 1), 9223372036854775807), \
             (SELECT max(a.revision + 0) FROM audit a WHERE a.late AND a.at < $10)) END \
             AND ($3::text IS NULL OR team = $3) AND ($4::text IS NULL OR namespace = $4) \
             AND ($5::text IS NULL OR (credential_kind = $5 AND credential = $6)) \
             AND ($7::text IS NULL OR (actor_kind = $7 AND actor = $8)) \
             AND ($9::bigint IS NULL OR at >= $9) \
             AND ($10::bigint IS NULL OR at < $10) \
             AND ($11::text IS NULL OR action = $11) ORDER BY revision LIMIT $2"
        )
    };
}

/// The policy of the namespace of a credential.
macro_rules! policy_of {
    ($table:literal, $kind:literal) => {
        concat!(
            "SELECT coalesce((SELECT p.policy FROM ",
            $table,
            " r JOIN policies p ON p.kind = '",
            $kind,
            "' AND p.namespace = r.namespace WHERE r.id = $1), \
             (SELECT p.policy FROM policies p WHERE p.kind = '",
            $kind,
            "' AND p.namespace = ''))"
        )
    };
}

/// What `$changed` does to one row; an error, which ends the transaction, if there is none.
macro_rules! one {
    ($changed:literal) => {
        concat!(
            "WITH changed AS (",
            $changed,
            " RETURNING 1) SELECT 1 / count(*) FROM changed"
        )
    };
}

macro_rules! merge_usage {
    ($kind:literal, $kept:literal) => {
        concat!(
            "WITH kept AS (",
            $kept,
            ") INSERT INTO usage (kind, id, last_used, accepted, refused) SELECT '",
            $kind,
            "', b.id, b.last_used, b.accepted, b.refused FROM unnest($1::bytea[], $2::bigint[], \
             $3::bigint[], $4::bigint[]) AS b (id, last_used, accepted, refused) JOIN kept \
             ON kept.id = b.id ORDER BY b.id ON CONFLICT (kind, id) DO UPDATE SET \
             last_used = greatest(usage.last_used, excluded.last_used), \
             accepted = CASE WHEN usage.accepted > 9223372036854775807 - excluded.accepted \
             THEN 9223372036854775807 ELSE usage.accepted + excluded.accepted END, \
             refused = CASE WHEN usage.refused > 9223372036854775807 - excluded.refused \
             THEN 9223372036854775807 ELSE usage.refused + excluded.refused END"
        )
    };
}

statements! {
    // What a commit is judged by. The first of them lets one commit in at a time.
    LOCK_LOG = "SELECT revision, hash, uuid_send(gen_random_uuid()) FROM log WHERE one = 1 \
                FOR UPDATE";
    KEY_FORMAT = "SELECT key_format FROM log WHERE one = 1";
    TEAM_OF_NAMESPACE = "SELECT team FROM namespaces WHERE namespace = $1";
    KEY = keys!("keys k", "WHERE k.id = $1");
    POLICY_OF_KEY = policy_of!("keys", "keys");
    POLICY_OF_LEGACY = policy_of!("legacy", "legacy");
    DELETED_KEY = "SELECT 1 FROM deleted_keys WHERE id = $1";
    LEGACY = legacy!("WHERE l.id = $1");
    CUTOFFS = "SELECT b.team, b.kind, b.name, b.up_to, b.blocked, b.revocation, b.revision \
                  FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY \
                  AS asked (team, kind, name, place) JOIN cutoffs b ON b.team = asked.team \
                  AND b.kind = asked.kind AND b.name = asked.name ORDER BY asked.place";
    NAME_IS_TAKEN = "SELECT 1 FROM keys k", cuts_of_key!(),
        "WHERE k.namespace = $1 AND k.name = $2 AND k.status <> 'revoked' \
         AND coalesce(k.expires_at, 9223372036854775807) > $4 AND k.id <> $3 \
         AND (t.up_to < k.created_revision OR t.up_to IS NULL) AND (n.up_to < k.created_revision OR n.up_to IS NULL) \
         AND (o.up_to < k.created_revision OR o.up_to IS NULL) LIMIT 1";
    // A namespace's keys are of one team, so their cuts are found before them.
    LIVE_KEYS = "SELECT count(*) FROM (SELECT 1 FROM keys k WHERE k.namespace = $1 \
                 AND k.owner_kind = $2 AND k.owner = $3 AND k.status <> 'revoked' \
                 AND k.created_revision > coalesce((SELECT greatest(t.up_to, n.up_to, o.up_to) FROM namespaces s",
        cuts_of!("s"), cut!("o", "s.team", "$2", "$3"),
        "WHERE s.namespace = $1), 0) \
         AND coalesce(k.expires_at, 9223372036854775807) > $4 LIMIT $5) AS live";

    // What a commit writes.
    ADVANCE = one!("UPDATE log SET revision = $1, hash = $2, latest = greatest(latest, $3) \
                    WHERE one = 1 AND revision = $1::bigint - 1");
    SET_KEY_FORMAT = "UPDATE log SET key_format = coalesce(key_format, $1) WHERE one = 1 \
                      RETURNING key_format";
    INSERT_EVENT = "INSERT INTO audit (revision, at, actor_kind, actor, actor_credential, action, \
                    team, namespace, owner_kind, owner, credential_kind, credential, reason, \
                    request_id, hash, attempt, latest) \
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
                    $16, (SELECT latest FROM log WHERE one = 1))";
    BIND_NAMESPACE = "INSERT INTO namespaces (created_revision, namespace, team, created_at) \
                      VALUES ($1, $2, $3, $4)";
    INSERT_KEY = "INSERT INTO keys (id, team, namespace, owner_kind, owner, name, labels, scopes, \
                  digest, previous_digest, previous_issued_at, previous_until, created_at, \
                  created_by, updated_at, issued_at, not_before, expires_at, status, revocation, \
                  created_revision, revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
                  $14, $15, $16, $17, $18, $19, $20, $21, $22)";
    REPLACE_KEY = one!("UPDATE keys SET name = $6, labels = $7, scopes = $8, digest = $9, \
                        previous_digest = $10, previous_issued_at = $11, previous_until = $12, \
                        created_at = $13, created_by = $14, updated_at = $15, issued_at = $16, \
                        not_before = $17, expires_at = $18, status = $19, revocation = $20, \
                        revision = $22 WHERE id = $1 AND team = $2 AND namespace = $3 \
                        AND owner_kind = $4 AND owner = $5 AND created_revision = $21 AND revision = $23");
    DELETE_LABELS = "DELETE FROM key_labels WHERE created_revision = $1";
    INSERT_LABELS = "INSERT INTO key_labels (team, label, value, created_revision) \
                     SELECT $1, label, value, $2::bigint FROM unnest($3::text[], $4::text[]) \
                     AS l (label, value)";
    DELETE_KEY = one!("DELETE FROM keys WHERE id = $1");
    MARK_DELETED = "INSERT INTO deleted_keys (id, revision) VALUES ($1, $2)";
    DELETE_USAGE = "DELETE FROM usage WHERE kind = 'key' AND id = $1";
    PUT_CUTOFF = "INSERT INTO cutoffs (team, kind, name, up_to, blocked, revocation, revision) \
                    VALUES ($1, $2, $3, $4, $5, $6, $7) \
                    ON CONFLICT (team, kind, name) DO UPDATE SET up_to = excluded.up_to, \
                    blocked = excluded.blocked, revocation = excluded.revocation, \
                    revision = excluded.revision";
    INSERT_LEGACY = "INSERT INTO legacy (id, team, namespace, subject, digest, blocked, \
                     imported_at, imported_by, revocation, created_revision, revision) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    REPLACE_LEGACY = one!("UPDATE legacy SET subject = $4, digest = $5, blocked = $6, \
                           imported_at = $7, imported_by = $8, revocation = $9, revision = $11 \
                           WHERE id = $1 AND team = $2 AND namespace = $3 AND created_revision = $10 \
                           AND revision = $12");
    PUT_POLICY = "INSERT INTO policies (kind, namespace, policy, revision) \
                  VALUES ($1, $2, $3, $4) ON CONFLICT (kind, namespace) DO UPDATE \
                  SET policy = excluded.policy, revision = excluded.revision";
    NOTIFY = "SELECT pg_notify('keyfob', current_schema() || ' ' || $1::bigint)";
    // What was kept at a revision, once no commit is under way.
    ATTEMPT_AT = "SELECT attempt FROM audit WHERE revision = $1";

    // Lists, in the order of creation.
    KEY_OF_TENANT = keys!("keys k", "WHERE k.id = $1 AND k.team = $2 AND k.namespace = $3");
    KEYS_OF_TEAM = page_of_keys!("keys k", "true");
    KEYS_OF_NAMESPACE = page_of_keys!("keys k", "k.namespace = $4");
    KEYS_OF_OWNER = page_of_keys!("keys k", "k.owner_kind = $5 AND k.owner = $6");
    KEYS_OF_NAME = page_of_keys!("keys k", "k.name = $7");
    KEYS_OF_LABEL = page_of_keys!("key_labels f JOIN keys k ON k.created_revision = f.created_revision",
                                  "f.team = $1 AND f.label = $8 AND f.value = $9 AND f.created_revision > $2");
    LEGACY_OF_ALL = legacy!("WHERE l.created_revision > $1 ORDER BY l.created_revision LIMIT $2");
    LEGACY_OF_TEAM = legacy!("WHERE l.team = $3 AND l.created_revision > $1 ORDER BY l.created_revision LIMIT $2");
    LEGACY_OF_NAMESPACE = legacy!("WHERE l.namespace = $3 AND ($4::text IS NULL OR l.team = $4) \
                                   AND l.created_revision > $1 ORDER BY l.created_revision LIMIT $2");
    LEGACY_OF_ID = legacy!("WHERE l.id = $3 AND ($4::text IS NULL OR l.team = $4) \
                            AND ($5::text IS NULL OR l.namespace = $5) AND l.created_revision > $1 \
                            ORDER BY l.created_revision LIMIT $2");
    NAMESPACES_OF_ALL = namespaces!("WHERE s.created_revision > $1 ORDER BY s.created_revision LIMIT $2");
    NAMESPACES_OF_TEAM = namespaces!("WHERE s.team = $3 AND s.created_revision > $1 ORDER BY s.created_revision LIMIT $2");
    NAMESPACES_OF_NAME = namespaces!("WHERE s.namespace = $3 AND ($4::text IS NULL OR s.team = $4) \
                                      AND s.created_revision > $1 ORDER BY s.created_revision LIMIT $2");
    POLICY = "SELECT coalesce((SELECT p.policy FROM namespaces s JOIN policies p \
              ON p.kind = $1 AND p.namespace = s.namespace WHERE s.namespace = $2 \
              AND s.team = $3), (SELECT p.policy FROM policies p WHERE p.kind = $1 \
              AND p.namespace = ''))";

    // The trail.
    AUDIT_OF_ALL = page_of_audit!("true");
    AUDIT_OF_TEAM = page_of_audit!("team = $3");
    AUDIT_OF_NAMESPACE = page_of_audit!("namespace = $4");
    AUDIT_OF_CREDENTIAL = page_of_audit!("credential_kind = $5 AND credential = $6");
    AUDIT_OF_ACTOR = page_of_audit!("actor_kind = $7 AND actor = $8");

    // The feed: each table in the order of last changes.
    HEAD = "SELECT revision FROM log WHERE one = 1";
    CHANGED_KEYS = "SELECT ", key_columns!(), " FROM keys k WHERE k.revision > $1 \
                    ORDER BY k.revision LIMIT $2";
    DELETED_KEYS = "SELECT id, revision FROM deleted_keys WHERE revision > $1 \
                    ORDER BY revision LIMIT $2";
    CHANGED_CUTOFFS = "SELECT team, kind, name, up_to, blocked, revocation, revision \
                          FROM cutoffs WHERE revision > $1 ORDER BY revision LIMIT $2";
    CHANGED_LEGACY = "SELECT ", legacy_columns!(), " FROM legacy l WHERE l.revision > $1 \
                      ORDER BY l.revision LIMIT $2";
    CHANGED_POLICIES = "SELECT kind, namespace, policy, revision FROM policies \
                        WHERE revision > $1 ORDER BY revision LIMIT $2";

    // Usage. A key that is being deleted is locked first, so that none of its usage stays.
    MERGE_KEY_USAGE = merge_usage!("key", "SELECT id FROM keys WHERE id = ANY($1::bytea[]) \
                                           ORDER BY id FOR KEY SHARE");
    MERGE_LEGACY_USAGE = merge_usage!("legacy", "SELECT id FROM legacy WHERE id = ANY($1::bytea[])");
    USAGE = "SELECT kind, id, last_used, accepted, refused FROM usage \
             WHERE kind = $1 AND id = ANY($2::bytea[])";
}

/// What holds on a connection: the schema, and how long a statement, a wait for a lock and an idle
/// transaction may take. A server that acknowledges before it has written is made to write first. A
/// page comes in the order of an index and ends with its last row; a bitmap of the index would be
/// read to its end and sorted.
pub(crate) const SETTINGS: &str = "SELECT set_config('search_path', $1, false), \
    set_config('statement_timeout', $2, false), set_config('lock_timeout', $3, false), \
    set_config('idle_in_transaction_session_timeout', $4, false), \
    set_config('enable_bitmapscan', 'off', false), \
    set_config('synchronous_commit', CASE current_setting('synchronous_commit') \
    WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)";

pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
pub(crate) const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
pub(crate) const COMMIT: &str = "COMMIT";
pub(crate) const ROLLBACK: &str = "ROLLBACK";

/// The channel is every schema's, so that its name is not put together; what is told names one.
pub(crate) const LISTEN: &str = "LISTEN keyfob";

// What happens once, before anything else.
pub(crate) const ENCODING: &str = "SELECT current_setting('server_encoding')";
/// One lock for the schemas of a database: they are not made every day.
pub(crate) const LOCK_MIGRATIONS: &str = "SET lock_timeout = '60s'; SET statement_timeout = '60s'; \
     SELECT pg_advisory_lock(hashtextextended('keyfob migrations', 0)); SET lock_timeout = '5s'";
pub(crate) const MAKE_SCHEMA: &str = "DO $$ BEGIN \
    IF to_regnamespace(quote_ident(current_setting('search_path'))) IS NULL THEN \
    EXECUTE format('CREATE SCHEMA %I', current_setting('search_path')); END IF; END $$";
pub(crate) const HAS_HISTORY: &str = "SELECT to_regclass('refinery_schema_history') IS NOT NULL";
pub(crate) const SCHEMA_VERSION: &str =
    "SELECT coalesce(max(version), 0)::integer FROM refinery_schema_history";
