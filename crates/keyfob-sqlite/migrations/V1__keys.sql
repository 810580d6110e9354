-- A record is kept as JSON, as the library writes it. Every column that is searched, ordered by or
-- constrained is computed from the record, so the two cannot disagree. Owners and credentials are
-- kept as `user:alice` and `key:d79e…`, times as Unix seconds.

-- The head of the log: the revision of the last commit, the hash of its audit event, and the format
-- of the keys, which is set once.
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL CHECK (revision >= 0),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    key_format TEXT
) STRICT;

INSERT INTO head VALUES (1, 0, zeroblob(32), NULL);

CREATE TRIGGER key_format_is_set_once BEFORE UPDATE OF key_format ON head
WHEN OLD.key_format IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'the format of the keys is set once');
END;

CREATE TRIGGER head_moves_by_one BEFORE UPDATE OF revision, hash ON head
WHEN NEW.revision <> OLD.revision + 1
BEGIN
    SELECT RAISE(ABORT, 'the head of the log moves by one');
END;

CREATE TRIGGER head_stays BEFORE DELETE ON head
BEGIN
    SELECT RAISE(ABORT, 'the head of the log stays');
END;

-- One event per revision. `latest` is the latest `at` so far: it never falls, so the first event at
-- or after a time is found by an index, and the last event before a time too, except for the few
-- that came late because a clock was behind.
CREATE TABLE audit (
    revision INTEGER PRIMARY KEY CHECK (revision > 0),
    latest INTEGER NOT NULL CHECK (latest >= at),
    entry TEXT NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    at INTEGER NOT NULL AS (entry ->> 'at'),
    actor TEXT AS (entry ->> '$.actor.owner'),
    team TEXT AS (entry ->> 'team'),
    namespace TEXT AS (entry ->> 'namespace'),
    credential TEXT AS (entry ->> 'credential'),
    action TEXT NOT NULL AS (entry ->> 'action'),
    -- Whether a credential was revoked since it was found in the open.
    leak INTEGER NOT NULL AS (entry ->> 'action' IN ('key_revoked', 'legacy_revoked')
        AND (coalesce(entry ->> 'reason', '') = 'found in the open'
        OR coalesce(entry ->> 'reason', '') GLOB 'found in the open: *'))
) STRICT;

CREATE INDEX audit_by_latest ON audit (latest);
CREATE INDEX audit_late ON audit (at) WHERE at < latest;
CREATE INDEX audit_by_team ON audit (team);
CREATE INDEX audit_by_action ON audit (team, action);
CREATE INDEX audit_leaks ON audit (revision) WHERE leak;
CREATE INDEX audit_by_namespace ON audit (namespace);
CREATE INDEX audit_by_actor ON audit (actor) WHERE actor IS NOT NULL;
CREATE INDEX audit_by_credential ON audit (credential) WHERE credential IS NOT NULL;

CREATE TRIGGER audit_has_no_gap BEFORE INSERT ON audit
WHEN NEW.revision <> (SELECT revision + 1 FROM head)
BEGIN
    SELECT RAISE(ABORT, 'the audit trail has no gap');
END;

CREATE TRIGGER audit_is_not_rewritten BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is not rewritten');
END;

CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is not shortened');
END;

-- A namespace belongs to the team that first used it.
CREATE TABLE namespaces (
    created_revision INTEGER PRIMARY KEY REFERENCES audit (revision),
    record TEXT NOT NULL CHECK (record ->> 'created_revision' = created_revision),
    namespace TEXT NOT NULL UNIQUE AS (record ->> '$.tenant.namespace'),
    team TEXT NOT NULL AS (record ->> '$.tenant.team'),
    UNIQUE (namespace, team)
) STRICT;

CREATE INDEX namespaces_by_team ON namespaces (team);

CREATE TRIGGER namespaces_stay BEFORE DELETE ON namespaces
BEGIN
    SELECT RAISE(ABORT, 'a namespace stays with its team');
END;

CREATE TRIGGER namespaces_do_not_change BEFORE UPDATE ON namespaces
BEGIN
    SELECT RAISE(ABORT, 'a namespace stays with its team');
END;

-- The order of creation is the order of the rows, so every index ends in it.
CREATE TABLE keys (
    created_revision INTEGER PRIMARY KEY REFERENCES audit (revision),
    record TEXT NOT NULL CHECK (record ->> 'created_revision' = created_revision),
    id TEXT NOT NULL UNIQUE AS ('key:' || (record ->> 'id')),
    revision INTEGER NOT NULL UNIQUE REFERENCES audit (revision)
        CHECK (revision >= created_revision) AS (record ->> 'revision'),
    team TEXT NOT NULL AS (record ->> '$.tenant.team'),
    namespace TEXT NOT NULL AS (record ->> '$.tenant.namespace'),
    owner TEXT NOT NULL AS (record ->> 'owner'),
    creator TEXT AS (record ->> '$.created_by.owner'),
    name TEXT NOT NULL AS (record ->> 'name'),
    expires_at INTEGER AS (record ->> 'expires_at'),
    revoked INTEGER NOT NULL AS (record ->> '$.status.revoked' IS NOT NULL),
    FOREIGN KEY (namespace, team) REFERENCES namespaces (namespace, team)
) STRICT;

CREATE INDEX keys_by_team ON keys (team);
CREATE INDEX keys_by_namespace ON keys (namespace);
CREATE INDEX keys_by_owner ON keys (team, owner);
CREATE INDEX keys_by_name ON keys (team, name);
-- Lists of keys that are not revoked, and the search in what names them, read no records that they
-- do not give.
CREATE INDEX keys_unrevoked ON keys (team, created_revision, namespace, owner, name, id)
WHERE NOT revoked;
CREATE INDEX keys_unrevoked_by_namespace ON keys (namespace, created_revision, owner, name, id)
WHERE NOT revoked;
CREATE INDEX keys_by_expiry ON keys (team, expires_at, created_revision, namespace, owner, revoked)
WHERE expires_at IS NOT NULL;
CREATE INDEX keys_unrevoked_by_name ON keys (namespace, owner, name) WHERE NOT revoked;
-- These have all that a count of live keys needs, and a list of an owner's keys.
CREATE INDEX keys_unrevoked_by_owner ON keys (namespace, owner, created_revision, expires_at)
WHERE NOT revoked;
CREATE INDEX keys_unrevoked_by_team ON keys (team, owner, created_revision, expires_at, namespace)
WHERE NOT revoked;
CREATE INDEX keys_created_for_others ON keys (team, creator) WHERE creator <> owner;

CREATE TRIGGER keys_revoked_stay_so BEFORE UPDATE ON keys
WHEN OLD.revoked
BEGIN
    SELECT RAISE(ABORT, 'a revoked key stays revoked');
END;

CREATE TRIGGER keys_do_not_move AFTER UPDATE ON keys
WHEN NEW.created_revision <> OLD.created_revision OR NEW.id <> OLD.id OR NEW.team <> OLD.team
    OR NEW.namespace <> OLD.namespace OR NEW.owner <> OLD.owner OR NEW.revision <= OLD.revision
BEGIN
    SELECT RAISE(ABORT, 'a key keeps its identifier, namespace and owner');
END;

-- The labels of each key, as its record has them.
CREATE TABLE key_labels (
    team TEXT NOT NULL,
    label TEXT NOT NULL,
    value TEXT NOT NULL,
    created_revision INTEGER NOT NULL REFERENCES keys (created_revision) ON DELETE CASCADE,
    PRIMARY KEY (team, label, value, created_revision)
) STRICT, WITHOUT ROWID;

CREATE INDEX key_labels_by_key ON key_labels (created_revision);

CREATE TRIGGER labels_of_a_new_key AFTER INSERT ON keys
BEGIN
    INSERT INTO key_labels SELECT NEW.team, key, value, NEW.created_revision
    FROM json_each(NEW.record, '$.labels');
END;

CREATE TRIGGER labels_of_a_changed_key AFTER UPDATE ON keys
WHEN NEW.record -> 'labels' <> OLD.record -> 'labels'
BEGIN
    DELETE FROM key_labels WHERE created_revision = OLD.created_revision;
    INSERT INTO key_labels SELECT NEW.team, key, value, NEW.created_revision
    FROM json_each(NEW.record, '$.labels');
END;

-- The identifiers of deleted keys stay taken.
CREATE TABLE deleted_keys (
    revision INTEGER PRIMARY KEY REFERENCES audit (revision),
    id TEXT NOT NULL UNIQUE,
    team TEXT NOT NULL,
    namespace TEXT NOT NULL,
    FOREIGN KEY (namespace, team) REFERENCES namespaces (namespace, team)
) STRICT;

CREATE TRIGGER deleted_keys_stay BEFORE DELETE ON deleted_keys
BEGIN
    SELECT RAISE(ABORT, 'a deleted key stays deleted');
END;

CREATE TRIGGER deleted_keys_do_not_change BEFORE UPDATE ON deleted_keys
BEGIN
    SELECT RAISE(ABORT, 'a deleted key stays deleted');
END;

CREATE TRIGGER deleted_keys_do_not_return AFTER INSERT ON keys
WHEN EXISTS (SELECT 1 FROM deleted_keys WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'a deleted key stays deleted');
END;

CREATE TRIGGER keys_leave_a_mark AFTER DELETE ON keys
WHEN NOT EXISTS (SELECT 1 FROM deleted_keys WHERE id = OLD.id)
BEGIN
    SELECT RAISE(ABORT, 'a deleted key leaves a mark');
END;

CREATE TABLE cutoffs (
    record TEXT NOT NULL,
    target TEXT NOT NULL UNIQUE AS (record -> 'target'),
    up_to INTEGER NOT NULL CHECK (up_to > 0) AS (record ->> 'up_to'),
    revision INTEGER NOT NULL UNIQUE REFERENCES audit (revision) CHECK (revision >= up_to)
        AS (record ->> 'revision'),
    team TEXT NOT NULL AS (coalesce(record ->> '$.target.team',
        record ->> '$.target.namespace.team', record ->> '$.target.owner[0]')),
    namespace TEXT AS (record ->> '$.target.namespace.namespace'),
    owner TEXT AS (record ->> '$.target.owner[1]')
) STRICT;

CREATE INDEX cutoffs_of_teams ON cutoffs (team) WHERE namespace IS NULL AND owner IS NULL;
CREATE INDEX cutoffs_of_namespaces ON cutoffs (team, namespace, up_to) WHERE namespace IS NOT NULL;
CREATE INDEX cutoffs_of_owners ON cutoffs (team, owner, up_to) WHERE owner IS NOT NULL;

CREATE TRIGGER cutoffs_stay BEFORE DELETE ON cutoffs
BEGIN
    SELECT RAISE(ABORT, 'what was revoked stays revoked');
END;

CREATE TRIGGER cutoffs_move_forward AFTER UPDATE ON cutoffs
WHEN NEW.up_to < OLD.up_to OR NEW.revision <= OLD.revision OR NEW.target <> OLD.target
BEGIN
    SELECT RAISE(ABORT, 'what was revoked stays revoked');
END;

CREATE TABLE legacy (
    created_revision INTEGER PRIMARY KEY REFERENCES audit (revision),
    record TEXT NOT NULL CHECK (record ->> 'created_revision' = created_revision),
    id TEXT NOT NULL UNIQUE AS ('legacy:' || (record ->> 'id')),
    revision INTEGER NOT NULL UNIQUE REFERENCES audit (revision)
        CHECK (revision >= created_revision) AS (record ->> 'revision'),
    team TEXT NOT NULL AS (record ->> '$.tenant.team'),
    namespace TEXT NOT NULL AS (record ->> '$.tenant.namespace'),
    revoked INTEGER NOT NULL AS (record ->> 'revoked' IS NOT NULL),
    blocked INTEGER NOT NULL AS (record ->> 'blocked'),
    FOREIGN KEY (namespace, team) REFERENCES namespaces (namespace, team)
) STRICT;

CREATE INDEX legacy_live_by_team ON legacy (team, namespace) WHERE NOT revoked AND NOT blocked;
CREATE INDEX legacy_by_team ON legacy (team);
CREATE INDEX legacy_by_namespace ON legacy (namespace);

CREATE TRIGGER legacy_revoked_stays_so BEFORE UPDATE ON legacy
WHEN OLD.revoked
BEGIN
    SELECT RAISE(ABORT, 'a revoked credential stays revoked');
END;

CREATE TRIGGER legacy_does_not_move AFTER UPDATE ON legacy
WHEN NEW.created_revision <> OLD.created_revision OR NEW.id <> OLD.id OR NEW.team <> OLD.team
    OR NEW.namespace <> OLD.namespace OR NEW.revision <= OLD.revision
BEGIN
    SELECT RAISE(ABORT, 'a credential keeps its identifier and namespace');
END;

CREATE TRIGGER legacy_stays BEFORE DELETE ON legacy
BEGIN
    SELECT RAISE(ABORT, 'a legacy credential stays');
END;

-- A record is `[tenant, policy]`: no tenant for the default, no policy where it was taken back.
CREATE TABLE policies (
    kind TEXT NOT NULL CHECK (kind IN ('policy', 'legacy_policy')),
    revision INTEGER NOT NULL UNIQUE REFERENCES audit (revision),
    record TEXT NOT NULL,
    team TEXT AS (record ->> '$[0].team'),
    namespace TEXT NOT NULL AS (coalesce(record ->> '$[0].namespace', '')),
    UNIQUE (kind, namespace),
    FOREIGN KEY (namespace, team) REFERENCES namespaces (namespace, team)
) STRICT;

CREATE TABLE usage (
    credential TEXT PRIMARY KEY,
    last_used INTEGER,
    accepted INTEGER NOT NULL CHECK (accepted >= 0),
    refused INTEGER NOT NULL CHECK (refused >= 0)
) STRICT, WITHOUT ROWID;

-- The last batch of usage of each source, and when it was recorded: a batch is counted once.
CREATE TABLE usage_sources (
    source BLOB PRIMARY KEY CHECK (length(source) = 16),
    sequence INTEGER NOT NULL CHECK (sequence >= 0),
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_sources_by_time ON usage_sources (at);

-- The uses of each day (since 1970-01-01, in UTC), for 400 days. The subject is a credential
-- (`key:d79e…`, `legacy:23bc…`), or all of a namespace (`namespace:orders`) or team (`team:acme`).
-- `hours` is a JSON object: the number of uses in each hour of the day that has any.
--
-- The day comes first, so that what is written often lies together, and what is dropped too.
CREATE TABLE usage_days (
    day INTEGER NOT NULL,
    subject TEXT NOT NULL,
    legacy INTEGER NOT NULL CHECK (legacy IN (0, 1)),
    outcome TEXT NOT NULL,
    hours TEXT NOT NULL,
    PRIMARY KEY (day, subject, legacy, outcome)
) STRICT, WITHOUT ROWID;
