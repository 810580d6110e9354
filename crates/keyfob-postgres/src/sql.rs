//! Every statement that the store runs, in one list.
//!
//! A [`Sql`] can only be made here, and a test checks the query plan of each. Values are bound; no
//! statement is put together at run time, and the schema is the connection's `search_path`.

/// The text of a statement that is prepared once per connection.
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

/// The cutoffs that apply to each row, as one more column. `$targets` are those of the row.
macro_rules! with_cutoffs {
    ($table:literal, $targets:expr, $rest:expr) => {
        concat!(
            "SELECT r.record, c.records FROM ",
            $table,
            cutoffs!("ARRAY[", $targets, "]"),
            $rest
        )
    };
}

/// `c`: the cutoffs of these targets, the last revision that one of them covers.
macro_rules! cutoffs {
    ($($targets:expr),+) => {
        concat!(
            " CROSS JOIN LATERAL (SELECT jsonb_agg(record) AS records, max(up_to) AS up_to \
             FROM cutoffs WHERE target = ANY (",
            $($targets),+,
            ")) c "
        )
    };
}

/// The team and the namespace of a record `r`.
macro_rules! targets_of_tenant {
    () => {
        "jsonb_build_object('team', r.team), \
         jsonb_build_object('namespace', r.record -> 'tenant')"
    };
}

/// And its owner.
macro_rules! targets_of_key {
    () => {
        concat!(
            targets_of_tenant!(),
            ", jsonb_build_object('owner', jsonb_build_array(r.team, r.owner))"
        )
    };
}

/// A page of keys by the path that `$path` says. The parameters of all: the team, the revisions
/// between which the page is, how many, and the filters that may be null: namespace, owner, name,
/// label and its value, statuses, creator, identifiers.
macro_rules! page_of_keys {
    ($from:literal, $path:literal) => {
        page_of_keys!($from, $path, "")
    };
    ($from:literal, $path:literal, $order:literal) => {
        page_of_keys!($from, $path, "r.created_revision", $order)
    };
    ($from:literal, $path:literal, $by:literal, $order:literal) => {
        with_cutoffs!(
            $from,
            targets_of_key!(),
            concat!(
                "WHERE r.team = $1 AND r.created_revision > $2 AND r.created_revision < $3 AND ",
                $path,
                " AND ($5::text IS NULL OR r.namespace = $5) \
                 AND ($6::text IS NULL OR r.owner = $6) \
                 AND ($7::text IS NULL OR r.name = $7) \
                 AND ($8::text IS NULL OR r.record #>> ARRAY['labels', $8] = $9) \
                 AND ($10::text[] IS NULL OR CASE WHEN c.up_to >= r.created_revision \
                 THEN 'revoked' ELSE r.status END = ANY ($10)) \
                 AND ($11::text IS NULL OR r.creator = $11 AND r.creator <> r.owner) \
                 AND ($12::text[] IS NULL OR r.id = ANY ($12)) ORDER BY ",
                $by,
                $order,
                " LIMIT $4"
            )
        )
    };
}

/// What names the keys of a team $1 on a page, as [`page_of_keys`], by the path that `$path` says,
/// of which $5 is the value: no record is read, and no other filter is applied.
macro_rules! names_of_keys {
    ($path:literal) => {
        names_of_keys!($path, "")
    };
    ($path:literal, $order:literal) => {
        concat!(
            "SELECT r.created_revision, r.namespace, r.owner, r.name, r.id FROM keys r \
             WHERE r.team = $1 AND r.created_revision > $2 AND r.created_revision < $3 AND ",
            $path,
            " ORDER BY r.created_revision",
            $order,
            " LIMIT $4"
        )
    };
}

/// A page of legacy credentials by the path that `$path` says. The parameters of all: what comes
/// after, how many, and the filters that may be null: team, namespace, identifier.
macro_rules! page_of_legacy {
    ($path:literal) => {
        with_cutoffs!(
            "legacy r",
            targets_of_tenant!(),
            concat!(
                "WHERE r.created_revision > $1 AND ",
                $path,
                " AND ($3::text IS NULL OR r.team = $3) \
                 AND ($4::text IS NULL OR r.namespace = $4) \
                 AND ($5::text IS NULL OR r.id = $5) ORDER BY r.created_revision LIMIT $2"
            )
        )
    };
}

/// A page of namespaces, as [`page_of_legacy`]; the filters: team, namespace.
macro_rules! page_of_namespaces {
    ($path:literal) => {
        with_cutoffs!(
            "namespaces r",
            targets_of_tenant!(),
            concat!(
                "WHERE r.created_revision > $1 AND ",
                $path,
                " AND ($3::text IS NULL OR r.team = $3) \
                 AND ($4::text IS NULL OR r.namespace = $4) \
                 ORDER BY r.created_revision LIMIT $2"
            )
        )
    };
}

/// The number of live keys of a team $1 at $2, by the path that `$path` says, without those that one
/// of the `$targets` covers, which are the same for all rows, or a cutoff by one of the `$columns`.
macro_rules! live_keys {
    ($path:literal, $targets:expr $(, $column:literal)*) => {
        concat!(
            "(SELECT count(*) FROM keys k WHERE k.team = $1 AND ",
            $path,
            " AND k.status <> 'revoked' AND k.expires_at > $2 AND k.created_revision > \
             coalesce((SELECT max(t.up_to) FROM cutoffs t WHERE t.target = ANY (ARRAY[",
            $targets,
            "])), 0)",
            $(" AND NOT EXISTS (SELECT 1 FROM cutoffs c WHERE c.team = $1 AND c.", $column,
            " = k.", $column, " AND c.up_to >= k.created_revision)",)*
            ")"
        )
    };
}

/// The number of live legacy credentials, as [`live_keys`].
macro_rules! live_legacy {
    ($path:literal, $targets:expr $(, $column:literal)*) => {
        concat!(
            "(SELECT count(*) FROM legacy l WHERE l.team = $1 AND ",
            $path,
            " AND NOT l.revoked AND NOT l.blocked AND l.created_revision > \
             coalesce((SELECT max(t.up_to) FROM cutoffs t WHERE t.target = ANY (ARRAY[",
            $targets,
            "])), 0)",
            $(" AND NOT EXISTS (SELECT 1 FROM cutoffs c WHERE c.team = $1 AND c.", $column,
            " = l.", $column, " AND c.up_to >= l.created_revision)",)*
            ")"
        )
    };
}

/// The target that is the team $1.
macro_rules! team {
    () => {
        "jsonb_build_object('team', $1::text)"
    };
}

/// Names in their order, at most `$limit`, and whether each is blocked. Each is found as the next
/// one after the one before it, in one of two tables: `$first` finds the next one after `$after`,
/// `$next` after `n.name`. `$target` is the target of a name.
macro_rules! names {
    ($first:expr, $first_cut:expr, $next:expr, $next_cut:expr, $target:literal, $limit:literal) => {
        concat!(
            "WITH RECURSIVE names (name) AS (SELECT least((",
            $first,
            "), (",
            $first_cut,
            ")) UNION ALL SELECT least((",
            $next,
            "), (",
            $next_cut,
            ")) FROM names n WHERE n.name IS NOT NULL) \
             SELECT p.name, coalesce((SELECT c.blocked FROM cutoffs c WHERE c.target = ",
            $target,
            "), false) FROM (SELECT name FROM names WHERE name IS NOT NULL LIMIT ",
            $limit,
            ") p ORDER BY p.name"
        )
    };
}

/// The next team after `$after`, of a table that has a condition on its rows.
macro_rules! next_team {
    ($table:literal, $where:literal, $after:literal) => {
        concat!(
            "SELECT t.team FROM ",
            $table,
            " t WHERE t.team > ",
            $after,
            $where,
            " ORDER BY t.team LIMIT 1"
        )
    };
}

/// The next owner of the team $1 after `$after` and before $3.
macro_rules! next_owner {
    ($table:literal, $after:literal) => {
        concat!(
            "SELECT t.owner FROM ",
            $table,
            " t WHERE t.team = $1 AND t.owner > ",
            $after,
            " AND t.owner < $3 ORDER BY t.owner LIMIT 1"
        )
    };
}

/// A page of the trail by the path that `$path` says. The parameters of all: where the page begins,
/// how many, the filters that may be null: team, namespace, credential, actor, since, until, action,
/// and whether only leaks are selected.
macro_rules! page_of_audit {
    ($path:literal) => {
        page_of_audit!($path, "revision > $1", "")
    };
    ($path:literal, $begins:literal, $order:literal) => {
        concat!(
            "SELECT revision, entry, hash FROM audit WHERE ",
            $path,
            " AND ",
            $begins,
            " AND revision > CASE WHEN $7::bigint IS NULL THEN 0 ELSE \
             coalesce((SELECT a.revision - 1 FROM audit a WHERE a.latest >= $7 \
             ORDER BY a.latest, a.revision LIMIT 1), 9223372036854775807) END \
             AND revision <= CASE WHEN $8::bigint IS NULL THEN 9223372036854775807 ELSE \
             greatest(coalesce((SELECT a.revision - 1 FROM audit a WHERE a.latest >= $8 \
             ORDER BY a.latest, a.revision LIMIT 1), 9223372036854775807), \
             (SELECT max(a.revision + 0) FROM audit a WHERE a.late AND a.at < $8)) END \
             AND ($3::text IS NULL OR team = $3) AND ($4::text IS NULL OR namespace = $4) \
             AND ($5::text IS NULL OR credential = $5) AND ($6::text IS NULL OR actor = $6) \
             AND ($7::bigint IS NULL OR at >= $7) AND ($8::bigint IS NULL OR at < $8) \
             AND ($9::text IS NULL OR action = $9) AND (NOT $10::boolean OR leak) \
             ORDER BY revision",
            $order,
            " LIMIT $2"
        )
    };
}

/// The same, newest first: the page begins before `$1`.
macro_rules! newest_of_audit {
    ($path:literal) => {
        page_of_audit!($path, "revision < $1", " DESC")
    };
}

/// The policy of a kind for the namespace that `$namespace` selects: its override, or the default
/// that was set.
macro_rules! policy {
    ($kind:literal, $namespace:literal) => {
        concat!(
            "SELECT coalesce((SELECT nullif(p.record -> 1, 'null') FROM (",
            $namespace,
            ") n JOIN policies p ON p.kind = ",
            $kind,
            " AND p.namespace = n.namespace), (SELECT nullif(p.record -> 1, 'null') \
             FROM policies p WHERE p.kind = ",
            $kind,
            " AND p.namespace = ''))"
        )
    };
}

/// The part of the feed that one table has, each row as an item. Without a limit of its own, the
/// planner would rather read and sort the whole table.
macro_rules! changed {
    ($table:literal, $kind:literal, $content:literal) => {
        concat!(
            "(SELECT revision, jsonb_build_object(",
            $kind,
            ", ",
            $content,
            ") AS item FROM ",
            $table,
            " WHERE revision > $1 ORDER BY revision LIMIT $2)"
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

statements! {
    // What a commit is decided by. The first one serializes commits.
    LOCK_LOG = "SELECT revision, hash, uuid_send(gen_random_uuid()) FROM log WHERE one = 1 \
                FOR UPDATE";
    TEAM_OF_NAMESPACE = "SELECT team FROM namespaces WHERE namespace = $1";
    KEY = with_cutoffs!("keys r", targets_of_key!(), "WHERE r.id = $1");
    DELETED_KEY = "SELECT 1 FROM deleted_keys WHERE id = $1";
    LEGACY = with_cutoffs!("legacy r", targets_of_tenant!(), "WHERE r.id = $1");
    POLICY_OF_KEY = policy!("'policy'", "SELECT namespace FROM keys WHERE id = $1");
    POLICY_OF_LEGACY = policy!("'legacy_policy'", "SELECT namespace FROM legacy WHERE id = $1");
    CUTOFFS = "SELECT record FROM cutoffs WHERE target = ANY ($1::jsonb[])";
    NAME_IS_TAKEN = "SELECT 1 FROM keys r", cutoffs!("ARRAY[", targets_of_key!(), "]"),
        "WHERE r.namespace = $1 AND r.owner = $5 AND r.name = $2 AND r.status <> 'revoked' \
         AND r.expires_at > $4 AND r.id <> $3 \
         AND (c.up_to < r.created_revision OR c.up_to IS NULL) LIMIT 1";
    // A namespace's keys are of one team, so their cutoffs are found before them.
    LIVE_KEYS = "SELECT count(*) FROM (SELECT 1 FROM keys k WHERE k.namespace = $1 \
                 AND k.owner = $2 AND k.status <> 'revoked' \
                 AND k.created_revision > coalesce((SELECT c.up_to FROM namespaces r",
        cutoffs!("ARRAY[", targets_of_tenant!(),
                 ", jsonb_build_object('owner', jsonb_build_array(r.team, $2::text))]"),
        "WHERE r.namespace = $1), 0) AND k.expires_at > $3 LIMIT $4) AS live";

    // Ordered, so that the index is used: an unknown team has no row to be found early.
    TEAM_IS_KNOWN = "SELECT 1 FROM namespaces WHERE team = $1 ORDER BY created_revision LIMIT 1";
    OWNER_IS_KNOWN = "SELECT 1 FROM keys WHERE team = $1 AND owner = $2 LIMIT 1";
    POLICY_ENTRY = "SELECT revision, jsonb_build_object(kind, record) FROM policies \
                    WHERE kind = $1 AND namespace = $2";

    // What a commit writes.
    ADVANCE = one!("UPDATE log SET revision = $1, hash = $2, latest = greatest(latest, $3) \
                    WHERE one = 1 AND revision = $1::bigint - 1");
    SET_KEY_FORMAT = "UPDATE log SET key_format = coalesce(key_format, $1) WHERE one = 1 \
                      RETURNING key_format";
    INSERT_EVENT = "INSERT INTO audit (revision, entry, hash, attempt, latest) \
                    VALUES ($1, $2, $3, $4, (SELECT latest FROM log WHERE one = 1))";
    INSERT_NAMESPACE = "INSERT INTO namespaces (record) VALUES ($1)";
    PUT_KEY = "INSERT INTO keys (record) VALUES ($1) \
               ON CONFLICT (created_revision) DO UPDATE SET record = excluded.record";
    DELETE_KEY = one!("DELETE FROM keys WHERE id = $1");
    MARK_DELETED = "INSERT INTO deleted_keys (id, revision, team, namespace) \
                    VALUES ($1, $2, $3, $4)";
    DELETE_USAGE = "DELETE FROM usage WHERE credential = $1";
    PUT_CUTOFF = "INSERT INTO cutoffs (record) VALUES ($1) \
                  ON CONFLICT (target) DO UPDATE SET record = excluded.record";
    PUT_LEGACY = "INSERT INTO legacy (record) VALUES ($1) \
                  ON CONFLICT (created_revision) DO UPDATE SET record = excluded.record";
    PUT_POLICY = "INSERT INTO policies (kind, record, revision) VALUES ($1, $2, $3) \
                  ON CONFLICT (kind, namespace) DO UPDATE SET record = excluded.record, \
                  revision = excluded.revision";
    NOTIFY = "SELECT pg_notify('keyfob', current_schema() || ' ' || $1::bigint)";
    // What was kept at a revision, once no commit is under way.
    ATTEMPT_AT = "SELECT attempt FROM audit WHERE revision = $1";

    // Lists, in the order of creation, and those of keys also newest first.
    KEY_OF_TENANT = with_cutoffs!("keys r", targets_of_key!(),
                                  "WHERE r.id = $1 AND r.team = $2 AND r.namespace = $3");
    KEYS_OF_IDS = page_of_keys!("keys r", "r.id = ANY ($12)");
    KEYS_OF_TEAM = page_of_keys!("keys r", "true");
    KEYS_OF_NAMESPACE = page_of_keys!("keys r", "r.namespace = $5");
    KEYS_OF_OWNER = page_of_keys!("keys r", "r.owner = $6");
    UNREVOKED_OF_TEAM = page_of_keys!("keys r", "r.status <> 'revoked'");
    UNREVOKED_OF_NAMESPACE = page_of_keys!(
        "keys r", "r.namespace = $5 AND r.status <> 'revoked'");
    UNREVOKED_OF_OWNER = page_of_keys!(
        "keys r", "r.owner = $6 AND r.status <> 'revoked'");
    KEYS_OF_CREATOR = page_of_keys!(
        "keys r", "r.creator = $11 AND r.creator <> r.owner");
    KEYS_OF_NAME = page_of_keys!("keys r", "r.name = $7");
    KEYS_OF_LABEL = page_of_keys!(
        "key_labels l JOIN keys r ON r.created_revision = l.created_revision",
        "l.team = $1 AND l.label = $8 AND l.value = $9 AND l.created_revision > $2 \
         AND l.created_revision < $3");
    NEWEST_KEYS_OF_IDS = page_of_keys!("keys r", "r.id = ANY ($12)", " DESC");
    NEWEST_KEYS_OF_TEAM = page_of_keys!("keys r", "true", " DESC");
    NEWEST_KEYS_OF_NAMESPACE = page_of_keys!("keys r", "r.namespace = $5", " DESC");
    NEWEST_KEYS_OF_OWNER = page_of_keys!("keys r", "r.owner = $6", " DESC");
    NEWEST_UNREVOKED_OF_TEAM = page_of_keys!("keys r", "r.status <> 'revoked'", " DESC");
    NEWEST_UNREVOKED_OF_NAMESPACE = page_of_keys!(
        "keys r", "r.namespace = $5 AND r.status <> 'revoked'", " DESC");
    NEWEST_UNREVOKED_OF_OWNER = page_of_keys!(
        "keys r", "r.owner = $6 AND r.status <> 'revoked'", " DESC");
    NEWEST_KEYS_OF_CREATOR = page_of_keys!(
        "keys r", "r.creator = $11 AND r.creator <> r.owner", " DESC");
    NEWEST_KEYS_OF_NAME = page_of_keys!("keys r", "r.name = $7", " DESC");
    NEWEST_KEYS_OF_LABEL = page_of_keys!(
        "key_labels l JOIN keys r ON r.created_revision = l.created_revision",
        "l.team = $1 AND l.label = $8 AND l.value = $9 AND l.created_revision > $2 \
         AND l.created_revision < $3",
        " DESC");
    KEYS_BY_EXPIRY = page_of_keys!(
        "keys r",
        "(r.expires_at, r.created_revision) > ($13, $14) AND r.expires_at < $15 \
         AND r.expires_at < 9223372036854775807", "r.expires_at, r.created_revision", "");
    // The search in what names keys, and the keys that it found.
    NAMES_OF_TEAM = names_of_keys!("true");
    NAMES_OF_NAMESPACE = names_of_keys!("r.namespace = $5");
    NAMES_OF_OWNER = names_of_keys!("r.owner = $5");
    UNREVOKED_NAMES_OF_TEAM = names_of_keys!("r.status <> 'revoked'");
    UNREVOKED_NAMES_OF_NAMESPACE = names_of_keys!(
        "r.namespace = $5 AND r.status <> 'revoked'");
    UNREVOKED_NAMES_OF_OWNER = names_of_keys!(
        "r.owner = $5 AND r.status <> 'revoked'");
    NEWEST_NAMES_OF_TEAM = names_of_keys!("true", " DESC");
    NEWEST_NAMES_OF_NAMESPACE = names_of_keys!("r.namespace = $5", " DESC");
    NEWEST_NAMES_OF_OWNER = names_of_keys!("r.owner = $5", " DESC");
    NEWEST_UNREVOKED_NAMES_OF_TEAM = names_of_keys!("r.status <> 'revoked'", " DESC");
    NEWEST_UNREVOKED_NAMES_OF_NAMESPACE = names_of_keys!(
        "r.namespace = $5 AND r.status <> 'revoked'", " DESC");
    NEWEST_UNREVOKED_NAMES_OF_OWNER = names_of_keys!(
        "r.owner = $5 AND r.status <> 'revoked'", " DESC");
    KEYS_AT = page_of_keys!("keys r", "r.created_revision = ANY ($13)");
    NEWEST_KEYS_AT = page_of_keys!("keys r", "r.created_revision = ANY ($13)", " DESC");
    LEGACY_OF_ALL = page_of_legacy!("true");
    LEGACY_OF_TEAM = page_of_legacy!("r.team = $3");
    LEGACY_OF_NAMESPACE = page_of_legacy!("r.namespace = $4");
    LEGACY_OF_ID = page_of_legacy!("r.id = $5");
    NAMESPACES_OF_ALL = page_of_namespaces!("true");
    NAMESPACES_OF_TEAM = page_of_namespaces!("r.team = $3");
    NAMESPACES_OF_NAME = page_of_namespaces!("r.namespace = $4");
    POLICY = policy!("$1", "SELECT namespace FROM namespaces WHERE namespace = $2 AND team = $3");
    POLICIES = policy!("$1", "SELECT namespace FROM namespaces \
                              WHERE namespace = a.namespace AND team = a.team"),
               " FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS a (namespace, team, place) \
               ORDER BY a.place";
    TEAMS = names!(
        next_team!("namespaces", "", "$1"),
        next_team!("cutoffs", " AND t.namespace IS NULL AND t.owner IS NULL", "$1"),
        next_team!("namespaces", "", "n.name"),
        next_team!("cutoffs", " AND t.namespace IS NULL AND t.owner IS NULL", "n.name"),
        "jsonb_build_object('team', p.name)", "$2");
    OWNERS = names!(
        next_owner!("keys", "$2"), next_owner!("cutoffs", "$2"),
        next_owner!("keys", "n.name"), next_owner!("cutoffs", "n.name"),
        "jsonb_build_object('owner', jsonb_build_array($1::text, p.name))", "$4");
    // Whether something is known, and whether its cutoff blocks it.
    TEAM = "SELECT (SELECT true FROM namespaces WHERE team = $1 ORDER BY created_revision LIMIT 1) \
            IS NOT NULL, (SELECT c.blocked FROM cutoffs c WHERE c.target = jsonb_build_object('team', $1::text))";
    NAMESPACE = "SELECT EXISTS (SELECT 1 FROM namespaces WHERE namespace = $2 AND team = $1), \
                 (SELECT c.blocked FROM cutoffs c WHERE c.target = jsonb_build_object('namespace', \
                 jsonb_build_object('team', $1::text, 'namespace', $2::text)))";
    OWNER = "SELECT EXISTS (SELECT 1 FROM keys WHERE team = $1 AND owner = $2), \
             (SELECT c.blocked FROM cutoffs c WHERE c.target = jsonb_build_object('owner', \
             jsonb_build_array($1::text, $2::text)))";
    LIVE_OF_TEAM = "SELECT ", live_keys!("true", team!(), "namespace", "owner"), ", ",
        live_legacy!("true", team!(), "namespace"), ", 0::bigint";
    LIVE_OF_NAMESPACE = "SELECT ",
        live_keys!("k.namespace = $3", concat!(team!(), ", jsonb_build_object('namespace', \
                   jsonb_build_object('team', $1::text, 'namespace', $3::text))"), "owner"), ", ",
        live_legacy!("l.namespace = $3", concat!(team!(), ", jsonb_build_object('namespace', \
                     jsonb_build_object('team', $1::text, 'namespace', $3::text))")), ", 0::bigint";
    LIVE_OF_OWNER = "SELECT ",
        live_keys!("k.owner = $3", concat!(team!(), ", jsonb_build_object('owner', \
                   jsonb_build_array($1::text, $3::text))"), "namespace"), ", 0::bigint, ",
        live_keys!("k.creator = $3 AND k.creator <> k.owner", team!(), "namespace", "owner");
    KEY_FORMAT = "SELECT key_format FROM log WHERE one = 1";

    // The trail.
    AUDIT_OF_ALL = page_of_audit!("true");
    AUDIT_OF_TEAM = page_of_audit!("team = $3");
    AUDIT_OF_NAMESPACE = page_of_audit!("namespace = $4");
    AUDIT_OF_CREDENTIAL = page_of_audit!("credential = $5");
    AUDIT_OF_ACTOR = page_of_audit!("actor = $6");
    AUDIT_OF_ACTION = page_of_audit!("team = $3 AND action = $9");
    AUDIT_OF_LEAKS = page_of_audit!("leak");
    NEWEST_OF_ALL = newest_of_audit!("true");
    NEWEST_OF_TEAM = newest_of_audit!("team = $3");
    NEWEST_OF_NAMESPACE = newest_of_audit!("namespace = $4");
    NEWEST_OF_CREDENTIAL = newest_of_audit!("credential = $5");
    NEWEST_OF_ACTOR = newest_of_audit!("actor = $6");
    NEWEST_OF_ACTION = newest_of_audit!("team = $3 AND action = $9");
    NEWEST_OF_LEAKS = newest_of_audit!("leak");

    // The feed: the tables merged in the order of last changes, each row as an item.
    HEAD = "SELECT revision, hash FROM log WHERE one = 1";
    HEAD_AND_EVENT = "SELECT revision, hash, (SELECT a.hash FROM audit a WHERE a.revision = $1) \
                      FROM log WHERE one = 1";
    // With the hash of the event of the last row but one, which is where a page with more rows ends.
    CHANGED = "SELECT revision, item, CASE WHEN row_number() OVER (ORDER BY revision) = $2 - 1 \
        THEN (SELECT a.hash FROM audit a WHERE a.revision = changed.revision) END FROM (",
        changed!("keys", "'key'", "record"), " UNION ALL ",
        changed!("deleted_keys", "'key_deleted'", "jsonb_build_object('id', substr(id, 5), \
            'tenant', jsonb_build_object('team', team, 'namespace', namespace))"), " UNION ALL ",
        changed!("cutoffs", "'cutoff'", "record"), " UNION ALL ",
        changed!("legacy", "'legacy'", "record"), " UNION ALL ",
        changed!("policies", "kind", "record"), ") changed ORDER BY revision LIMIT $2";

    // Usage. A key that is being deleted is locked first, so that none of its usage stays. Nothing is
    // merged if the batch, or a later one of its source, was recorded. All batches lock rows in one
    // order: credentials first, and last what many of them share, namespaces and teams. The rows that an
    // OFFSET passes over would be locked too, so those of a group are found first, and locked then.
    MERGE_USAGE = "WITH source AS (INSERT INTO usage_sources (source, sequence, at) \
                   VALUES ($5, $6, $7) ON CONFLICT (source) DO UPDATE SET \
                   sequence = excluded.sequence, at = excluded.at \
                   WHERE excluded.sequence > usage_sources.sequence RETURNING 1), \
                   forgotten AS (DELETE FROM usage_sources WHERE source = ANY (ARRAY( \
                   SELECT o.source FROM usage_sources o WHERE o.at <= $8 AND o.source <> $5 \
                   AND EXISTS (SELECT 1 FROM source) ORDER BY o.at LIMIT 100 \
                   FOR UPDATE SKIP LOCKED))), \
                   crowded AS (DELETE FROM usage_sources WHERE source = ANY (ARRAY( \
                   SELECT o.source FROM usage_sources o WHERE o.source = ANY (ARRAY( \
                   SELECT i.source FROM usage_sources i WHERE i.source BETWEEN $13 AND $14 \
                   AND i.source <> $5 AND EXISTS (SELECT 1 FROM source) \
                   ORDER BY i.at DESC, i.source DESC OFFSET $15)) FOR UPDATE SKIP LOCKED))), \
                   forgotten_days AS (DELETE FROM usage_days WHERE ctid = ANY (ARRAY( \
                   SELECT o.ctid FROM usage_days o WHERE o.day <= $11 \
                   AND EXISTS (SELECT 1 FROM source) ORDER BY o.day LIMIT $12 \
                   FOR UPDATE SKIP LOCKED))), \
                   keys AS (SELECT id, namespace, team FROM keys WHERE id = ANY ($1::text[]) \
                   ORDER BY id FOR KEY SHARE), \
                   kept AS (SELECT id, namespace, team, false AS legacy FROM keys UNION ALL \
                   SELECT id, namespace, team, true FROM legacy WHERE id = ANY ($1::text[])), \
                   deltas AS (SELECT b.credential, b.outcome, b.last_used, b.count, \
                   kept.namespace, kept.team, kept.legacy \
                   FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) \
                   AS b (credential, outcome, last_used, count) \
                   JOIN kept ON kept.id = b.credential WHERE EXISTS (SELECT 1 FROM source)), \
                   totals AS (INSERT INTO usage (credential, last_used, accepted, refused) \
                   SELECT credential, max(last_used) FILTER (WHERE outcome IN ('accepted', 'accepted_previous')), \
                   least(coalesce(sum(count) FILTER (WHERE outcome IN ('accepted', 'accepted_previous')), 0), \
                   9223372036854775807)::bigint, \
                   least(coalesce(sum(count) FILTER (WHERE outcome NOT IN ('accepted', 'accepted_previous')), 0), \
                   9223372036854775807)::bigint \
                   FROM deltas GROUP BY credential ORDER BY credential \
                   ON CONFLICT (credential) DO UPDATE SET \
                   last_used = greatest(usage.last_used, excluded.last_used), \
                   accepted = CASE WHEN usage.accepted > 9223372036854775807 - excluded.accepted \
                   THEN 9223372036854775807 ELSE usage.accepted + excluded.accepted END, \
                   refused = CASE WHEN usage.refused > 9223372036854775807 - excluded.refused \
                   THEN 9223372036854775807 ELSE usage.refused + excluded.refused END \
                   RETURNING 1), \
                   uses AS (SELECT subject, legacy, outcome, \
                   least(sum(count), 9223372036854775807)::bigint AS count \
                   FROM deltas CROSS JOIN LATERAL (VALUES (credential), \
                   ('namespace:' || namespace), ('team:' || team)) s (subject) \
                   GROUP BY subject, legacy, outcome) \
                   INSERT INTO usage_days (day, subject, legacy, outcome, hours) \
                   SELECT $9, subject, legacy, outcome, \
                   ARRAY(SELECT CASE WHEN hour = $10 THEN count ELSE 0 END \
                   FROM generate_series(0::bigint, 23) hour ORDER BY hour) FROM uses \
                   WHERE $9 > $11 AND (SELECT count(*) FROM totals) >= 0 \
                   ORDER BY subject COLLATE \"C\", legacy, outcome COLLATE \"C\" \
                   ON CONFLICT (day, subject, legacy, outcome) DO UPDATE SET \
                   hours[$10::bigint::integer + 1] = CASE \
                   WHEN usage_days.hours[$10::bigint::integer + 1] \
                   > 9223372036854775807 - excluded.hours[$10::bigint::integer + 1] \
                   THEN 9223372036854775807 ELSE usage_days.hours[$10::bigint::integer + 1] \
                   + excluded.hours[$10::bigint::integer + 1] END";
    USAGE = "SELECT credential, last_used, accepted, refused FROM usage \
             WHERE credential = ANY ($1::text[])";
    // Each day of each subject is looked up by itself.
    USAGE_DAYS = "SELECT u.subject, u.day, u.legacy, u.outcome, u.hours \
                  FROM unnest($1::text[]) s (subject) \
                  CROSS JOIN generate_series($2::bigint, $3::bigint) d (day) \
                  CROSS JOIN LATERAL (SELECT * FROM usage_days WHERE usage_days.day = d.day \
                  AND usage_days.subject = s.subject OFFSET 0) u";
}

/// The settings of a connection, or, if $5 is true, of a transaction: the schema, and the timeouts of
/// a statement, a lock and an idle transaction. `synchronous_commit` is turned on, and bitmap scans
/// off: a page is read in the order of an index and ends with its last row, while a bitmap would be
/// read to its end and sorted. On a standby this divides by zero, so that nothing else is done there.
pub(crate) const SETTINGS: &str = "SELECT 1 / (NOT pg_is_in_recovery())::integer, \
    set_config('search_path', $1, $5), \
    set_config('statement_timeout', $2, $5), set_config('lock_timeout', $3, $5), \
    set_config('idle_in_transaction_session_timeout', $4, $5), \
    set_config('enable_bitmapscan', 'off', $5), \
    set_config('synchronous_commit', CASE current_setting('synchronous_commit') \
    WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, $5)";

/// Identifies the server process that runs it.
pub(crate) const PROCESS: &str = "SELECT pg_backend_pid() || ' ' || pg_postmaster_start_time()";

pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
pub(crate) const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
pub(crate) const COMMIT: &str = "COMMIT";
pub(crate) const ROLLBACK: &str = "ROLLBACK";

/// One channel for all schemas, so that its name is constant; the notice names the schema.
pub(crate) const LISTEN: &str = "LISTEN keyfob";

// What runs once, before anything else.
pub(crate) const ENCODING: &str = "SELECT current_setting('server_encoding')";
/// One lock for all schemas of a database, until the transaction ends.
pub(crate) const LOCK_MIGRATIONS: &str = "SET LOCAL lock_timeout = '60s'; \
     SET LOCAL statement_timeout = '60s'; \
     SELECT pg_advisory_xact_lock(hashtextextended('keyfob migrations', 0)); \
     SET LOCAL lock_timeout = '5s'";
pub(crate) const MAKE_SCHEMA: &str = "DO $$ BEGIN \
    IF to_regnamespace(quote_ident(current_setting('search_path'))) IS NULL THEN \
    EXECUTE format('CREATE SCHEMA %I', current_setting('search_path')); END IF; END $$";
pub(crate) const HAS_HISTORY: &str = "SELECT to_regclass('refinery_schema_history') IS NOT NULL";
pub(crate) const SCHEMA_VERSION: &str =
    "SELECT coalesce(max(version), 0)::integer FROM refinery_schema_history";
