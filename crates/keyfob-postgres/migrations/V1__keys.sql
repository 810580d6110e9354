-- A record is kept as JSON, as the library writes it. Every column that is searched, ordered by or
-- constrained is computed from the record, so the two cannot disagree. Owners and credentials are
-- kept as `user:alice` and `key:d79e…`, times as Unix seconds. Text is compared byte by byte.

-- The head of the log: one row. A commit locks it before anything else, so commits have one order.
CREATE TABLE log (
    one smallint PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    revision bigint NOT NULL CHECK (revision >= 0),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    -- The latest time of an event.
    latest bigint NOT NULL,
    -- The format of the keys, which is set once.
    key_format jsonb
) WITH (fillfactor = 10);

INSERT INTO log (revision, hash, latest)
VALUES (0, decode(repeat('00', 32), 'hex'), -9223372036854775808);

-- One event per revision. `latest` is the latest `at` so far: it never falls, so the first event at
-- or after a time is found by an index, and the last event before a time too, except for the few
-- that came late because a clock was behind. `attempt` tells a program that lost the answer to its
-- commit whether it was that commit which was kept.
CREATE TABLE audit (
    revision bigint PRIMARY KEY CHECK (revision > 0),
    latest bigint NOT NULL CHECK (latest >= at),
    entry jsonb NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    attempt bytea NOT NULL CHECK (octet_length(attempt) = 16),
    at bigint NOT NULL GENERATED ALWAYS AS ((entry ->> 'at')::bigint) STORED,
    actor text COLLATE "C" GENERATED ALWAYS AS (entry #>> '{actor,owner}') STORED,
    team text COLLATE "C" GENERATED ALWAYS AS (entry ->> 'team') STORED,
    namespace text COLLATE "C" GENERATED ALWAYS AS (entry ->> 'namespace') STORED,
    credential text COLLATE "C" GENERATED ALWAYS AS (entry ->> 'credential') STORED,
    action text COLLATE "C" NOT NULL GENERATED ALWAYS AS (entry ->> 'action') STORED,
    -- Whether a credential was revoked since it was found in the open.
    leak boolean NOT NULL GENERATED ALWAYS AS (entry ->> 'action' IN ('key_revoked',
        'legacy_revoked') AND (coalesce(entry ->> 'reason', '') = 'found in the open'
        OR starts_with(coalesce(entry ->> 'reason', ''), 'found in the open: '))) STORED,
    -- A column, so that the planner knows how few there are.
    late boolean NOT NULL GENERATED ALWAYS AS ((entry ->> 'at')::bigint < latest) STORED
);

CREATE INDEX audit_by_latest ON audit (latest, revision);
CREATE INDEX audit_late ON audit (at, revision) WHERE late;
CREATE INDEX audit_by_team ON audit (team, revision) WHERE team IS NOT NULL;
CREATE INDEX audit_by_action ON audit (team, action, revision) WHERE team IS NOT NULL;
CREATE INDEX audit_leaks ON audit (revision) WHERE leak;
CREATE INDEX audit_by_namespace ON audit (namespace, revision) WHERE namespace IS NOT NULL;
CREATE INDEX audit_by_actor ON audit (actor, revision) WHERE actor IS NOT NULL;
CREATE INDEX audit_by_credential ON audit (credential, revision) WHERE credential IS NOT NULL;

-- A namespace belongs to the team that first used it.
CREATE TABLE namespaces (
    record jsonb NOT NULL,
    namespace text COLLATE "C" GENERATED ALWAYS AS (record #>> '{tenant,namespace}') STORED
        PRIMARY KEY,
    team text COLLATE "C" NOT NULL GENERATED ALWAYS AS (record #>> '{tenant,team}') STORED,
    created_revision bigint NOT NULL UNIQUE CHECK (created_revision > 0)
        GENERATED ALWAYS AS ((record ->> 'created_revision')::bigint) STORED,
    UNIQUE (namespace, team)
);

CREATE INDEX namespaces_by_team ON namespaces (team, created_revision);

CREATE TABLE keys (
    record jsonb NOT NULL,
    id text COLLATE "C" GENERATED ALWAYS AS ('key:' || (record ->> 'id')) STORED PRIMARY KEY,
    created_revision bigint NOT NULL UNIQUE CHECK (created_revision > 0)
        GENERATED ALWAYS AS ((record ->> 'created_revision')::bigint) STORED,
    revision bigint NOT NULL UNIQUE CHECK (revision >= created_revision)
        GENERATED ALWAYS AS ((record ->> 'revision')::bigint) STORED,
    team text COLLATE "C" NOT NULL GENERATED ALWAYS AS (record #>> '{tenant,team}') STORED,
    namespace text COLLATE "C" NOT NULL
        GENERATED ALWAYS AS (record #>> '{tenant,namespace}') STORED,
    owner text COLLATE "C" NOT NULL GENERATED ALWAYS AS (record ->> 'owner') STORED,
    creator text COLLATE "C" GENERATED ALWAYS AS (record #>> '{created_by,owner}') STORED,
    name text COLLATE "C" NOT NULL GENERATED ALWAYS AS (record ->> 'name') STORED,
    -- The end of time for a key that does not expire.
    expires_at bigint NOT NULL GENERATED ALWAYS AS
        (coalesce((record ->> 'expires_at')::bigint, 9223372036854775807)) STORED,
    status text COLLATE "C" NOT NULL CHECK (status IN ('active', 'disabled', 'revoked'))
        GENERATED ALWAYS AS (CASE jsonb_typeof(record -> 'status') WHEN 'object' THEN 'revoked'
        ELSE record ->> 'status' END) STORED,
    FOREIGN KEY (namespace, team) REFERENCES namespaces (namespace, team)
);

CREATE INDEX keys_by_team ON keys (team, created_revision);
CREATE INDEX keys_by_namespace ON keys (namespace, created_revision);
CREATE INDEX keys_by_owner ON keys (team, owner, created_revision);
CREATE INDEX keys_created_for_others ON keys (team, creator, created_revision)
WHERE creator <> owner;
CREATE INDEX keys_by_name ON keys (team, name, created_revision);
-- Lists of keys that are not revoked, and the search in what names them.
CREATE INDEX keys_unrevoked_by_team ON keys (team, created_revision)
INCLUDE (namespace, owner, name, id) WHERE status <> 'revoked';
CREATE INDEX keys_unrevoked_by_namespace ON keys (namespace, created_revision)
INCLUDE (owner, name, id) WHERE status <> 'revoked';
CREATE INDEX keys_by_expiry ON keys (team, expires_at, created_revision)
WHERE expires_at < 9223372036854775807;
CREATE INDEX keys_unrevoked_by_owner ON keys (team, owner, created_revision)
WHERE status <> 'revoked';
-- Whether a name is taken, and how many keys an owner has. Keys that a cutoff revoked are before it
-- in the order of creation, so an owner who comes back does not pay for them.
CREATE INDEX keys_live_by_name ON keys (namespace, owner, name, expires_at)
WHERE status <> 'revoked';
CREATE INDEX keys_live_by_owner ON keys (namespace, owner, created_revision, expires_at)
WHERE status <> 'revoked';

-- The labels of each key, as its record has them, in the order in which lists give keys.
CREATE TABLE key_labels (
    team text COLLATE "C" NOT NULL,
    label text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    created_revision bigint NOT NULL REFERENCES keys (created_revision) ON DELETE CASCADE,
    PRIMARY KEY (team, label, value, created_revision)
);

CREATE UNIQUE INDEX key_labels_by_key ON key_labels (created_revision, label);

CREATE FUNCTION write_labels() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM key_labels WHERE created_revision = NEW.created_revision;
    INSERT INTO key_labels SELECT NEW.team, key, value, NEW.created_revision
    FROM jsonb_each_text(NEW.record -> 'labels');
    RETURN NULL;
END
$$;

CREATE TRIGGER labels_of_a_new_key AFTER INSERT ON keys FOR EACH ROW
WHEN (NEW.record -> 'labels' <> '{}')
EXECUTE FUNCTION write_labels();
CREATE TRIGGER labels_of_a_changed_key AFTER UPDATE ON keys FOR EACH ROW
WHEN (NEW.record -> 'labels' <> OLD.record -> 'labels')
EXECUTE FUNCTION write_labels();

-- The identifiers of deleted keys stay taken.
CREATE TABLE deleted_keys (
    id text COLLATE "C" PRIMARY KEY,
    revision bigint NOT NULL UNIQUE CHECK (revision > 0),
    team text COLLATE "C" NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    FOREIGN KEY (namespace, team) REFERENCES namespaces (namespace, team)
);

CREATE TABLE cutoffs (
    record jsonb NOT NULL,
    target jsonb GENERATED ALWAYS AS (record -> 'target') STORED PRIMARY KEY,
    up_to bigint NOT NULL CHECK (up_to > 0)
        GENERATED ALWAYS AS ((record ->> 'up_to')::bigint) STORED,
    blocked boolean NOT NULL GENERATED ALWAYS AS ((record ->> 'blocked')::boolean) STORED,
    revision bigint NOT NULL UNIQUE CHECK (revision >= up_to)
        GENERATED ALWAYS AS ((record ->> 'revision')::bigint) STORED,
    team text COLLATE "C" NOT NULL GENERATED ALWAYS AS (coalesce(record #>> '{target,team}',
        record #>> '{target,namespace,team}', record #>> '{target,owner,0}')) STORED,
    namespace text COLLATE "C"
        GENERATED ALWAYS AS (record #>> '{target,namespace,namespace}') STORED,
    owner text COLLATE "C" GENERATED ALWAYS AS (record #>> '{target,owner,1}') STORED
);

CREATE INDEX cutoffs_of_teams ON cutoffs (team) WHERE namespace IS NULL AND owner IS NULL;
CREATE INDEX cutoffs_of_namespaces ON cutoffs (team, namespace, up_to)
WHERE namespace IS NOT NULL;
CREATE INDEX cutoffs_of_owners ON cutoffs (team, owner, up_to) WHERE owner IS NOT NULL;

CREATE TABLE legacy (
    record jsonb NOT NULL,
    id text COLLATE "C" GENERATED ALWAYS AS ('legacy:' || (record ->> 'id')) STORED PRIMARY KEY,
    created_revision bigint NOT NULL UNIQUE CHECK (created_revision > 0)
        GENERATED ALWAYS AS ((record ->> 'created_revision')::bigint) STORED,
    revision bigint NOT NULL UNIQUE CHECK (revision >= created_revision)
        GENERATED ALWAYS AS ((record ->> 'revision')::bigint) STORED,
    team text COLLATE "C" NOT NULL GENERATED ALWAYS AS (record #>> '{tenant,team}') STORED,
    namespace text COLLATE "C" NOT NULL
        GENERATED ALWAYS AS (record #>> '{tenant,namespace}') STORED,
    revoked boolean NOT NULL GENERATED ALWAYS AS (record ->> 'revoked' IS NOT NULL) STORED,
    blocked boolean NOT NULL GENERATED ALWAYS AS ((record ->> 'blocked')::boolean) STORED,
    FOREIGN KEY (namespace, team) REFERENCES namespaces (namespace, team)
);

CREATE INDEX legacy_live_by_team ON legacy (team, namespace, created_revision)
WHERE NOT revoked AND NOT blocked;
CREATE INDEX legacy_by_team ON legacy (team, created_revision);
CREATE INDEX legacy_by_namespace ON legacy (namespace, created_revision);

-- A record is `[tenant, policy]`: no tenant for the default, no policy where it was taken back.
CREATE TABLE policies (
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('policy', 'legacy_policy')),
    record jsonb NOT NULL,
    revision bigint NOT NULL UNIQUE CHECK (revision > 0),
    team text COLLATE "C" GENERATED ALWAYS AS (record #>> '{0,team}') STORED,
    namespace text COLLATE "C" NOT NULL
        GENERATED ALWAYS AS (coalesce(record #>> '{0,namespace}', '')) STORED,
    PRIMARY KEY (kind, namespace),
    FOREIGN KEY (namespace, team) REFERENCES namespaces (namespace, team)
);

CREATE TABLE usage (
    credential text COLLATE "C" PRIMARY KEY,
    last_used bigint,
    accepted bigint NOT NULL CHECK (accepted >= 0),
    refused bigint NOT NULL CHECK (refused >= 0)
) WITH (fillfactor = 70);

-- The last batch of usage of each source, and when it was recorded: a batch is counted once.
CREATE TABLE usage_sources (
    source bytea PRIMARY KEY CHECK (octet_length(source) = 16),
    sequence bigint NOT NULL CHECK (sequence >= 0),
    at bigint NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX usage_sources_by_time ON usage_sources (at);

-- The uses in each hour of a day (since 1970-01-01, in UTC), for 400 days. The subject is a credential
-- (`key:d79e…`, `legacy:23bc…`), or all of a namespace (`namespace:orders`) or team (`team:acme`).
--
-- The day comes first, so that what is written often lies together, and what is dropped too.
CREATE TABLE usage_days (
    day bigint NOT NULL,
    subject text COLLATE "C" NOT NULL,
    legacy boolean NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    hours bigint[] NOT NULL CHECK (array_length(hours, 1) = 24),
    PRIMARY KEY (day, subject, legacy, outcome)
) WITH (fillfactor = 70);

-- What may never happen, whatever program writes. A trigger that looks at a computed column of the
-- new row runs after the change, and its error undoes the change.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER key_format_is_set_once BEFORE UPDATE ON log FOR EACH ROW
WHEN (OLD.key_format IS NOT NULL AND NEW.key_format IS DISTINCT FROM OLD.key_format)
EXECUTE FUNCTION refuse('the format of the keys is set once');
CREATE TRIGGER log_moves_by_one BEFORE UPDATE OF revision, hash, latest ON log FOR EACH ROW
WHEN (NEW.revision <> OLD.revision + 1 OR NEW.latest < OLD.latest)
EXECUTE FUNCTION refuse('the head of the log moves by one');
CREATE TRIGGER log_stays BEFORE DELETE ON log FOR EACH ROW
EXECUTE FUNCTION refuse('the head of the log stays');

CREATE TRIGGER audit_is_not_rewritten BEFORE UPDATE OR DELETE ON audit FOR EACH ROW
EXECUTE FUNCTION refuse('the audit trail is not rewritten');
CREATE TRIGGER audit_is_not_shortened BEFORE TRUNCATE ON audit
EXECUTE FUNCTION refuse('the audit trail is not shortened');

CREATE TRIGGER namespaces_stay BEFORE UPDATE OR DELETE ON namespaces FOR EACH ROW
EXECUTE FUNCTION refuse('a namespace stays with its team');

CREATE TRIGGER keys_revoked_stay_so BEFORE UPDATE ON keys FOR EACH ROW
WHEN (OLD.status = 'revoked')
EXECUTE FUNCTION refuse('a revoked key stays revoked');
CREATE TRIGGER keys_do_not_move AFTER UPDATE ON keys FOR EACH ROW
WHEN (NEW.created_revision <> OLD.created_revision OR NEW.id <> OLD.id OR NEW.team <> OLD.team
    OR NEW.namespace <> OLD.namespace OR NEW.owner <> OLD.owner OR NEW.revision <= OLD.revision)
EXECUTE FUNCTION refuse('a key keeps its identifier, namespace and owner');

CREATE TRIGGER deleted_keys_stay BEFORE UPDATE OR DELETE ON deleted_keys FOR EACH ROW
EXECUTE FUNCTION refuse('a deleted key stays deleted');

CREATE TRIGGER cutoffs_stay BEFORE DELETE ON cutoffs FOR EACH ROW
EXECUTE FUNCTION refuse('what was revoked stays revoked');
CREATE TRIGGER cutoffs_move_forward AFTER UPDATE ON cutoffs FOR EACH ROW
WHEN (NEW.up_to < OLD.up_to OR NEW.revision <= OLD.revision OR NEW.target <> OLD.target)
EXECUTE FUNCTION refuse('what was revoked stays revoked');

CREATE TRIGGER legacy_revoked_stays_so BEFORE UPDATE ON legacy FOR EACH ROW
WHEN (OLD.revoked)
EXECUTE FUNCTION refuse('a revoked credential stays revoked');
CREATE TRIGGER legacy_does_not_move AFTER UPDATE ON legacy FOR EACH ROW
WHEN (NEW.created_revision <> OLD.created_revision OR NEW.id <> OLD.id OR NEW.team <> OLD.team
    OR NEW.namespace <> OLD.namespace OR NEW.revision <= OLD.revision)
EXECUTE FUNCTION refuse('a credential keeps its identifier and namespace');
CREATE TRIGGER legacy_stays BEFORE DELETE ON legacy FOR EACH ROW
EXECUTE FUNCTION refuse('a legacy credential stays');
