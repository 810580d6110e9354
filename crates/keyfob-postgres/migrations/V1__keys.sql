-- Text is compared byte by byte, times are Unix seconds, and whatever changes has the revision of
-- its last change. A `name` or `namespace` that is empty stands for none, which no name can be.

-- The head of the log: one row. A commit locks it before anything else, so commits are in one order.
CREATE TABLE log (
    one smallint PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    revision bigint NOT NULL CHECK (revision >= 0),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    -- The latest time that an event tells.
    latest bigint NOT NULL,
    -- The format of the keys, which is set once.
    key_format jsonb
) WITH (fillfactor = 10);

INSERT INTO log (revision, hash, latest)
VALUES (0, decode(repeat('00', 32), 'hex'), -9223372036854775808);

-- One event for each revision. `latest` is the latest `at` so far: it never falls, so that the
-- first event at or after a time is found without looking at those before it, and the last one
-- before a time too, but for the few that a clock brought late. `attempt` tells a
-- program that lost the answer to its commit whether it was that commit which was kept.
CREATE TABLE audit (
    revision bigint PRIMARY KEY CHECK (revision > 0),
    at bigint NOT NULL,
    latest bigint NOT NULL CHECK (latest >= at),
    actor_kind text COLLATE "C" CHECK (actor_kind IN ('user', 'service')),
    actor text COLLATE "C",
    actor_credential jsonb,
    action text COLLATE "C" NOT NULL,
    team text COLLATE "C",
    namespace text COLLATE "C",
    owner_kind text COLLATE "C" CHECK (owner_kind IN ('user', 'service')),
    owner text COLLATE "C",
    credential_kind text COLLATE "C" CHECK (credential_kind IN ('key', 'legacy')),
    credential bytea CHECK (octet_length(credential) = 16),
    reason text COLLATE "C",
    request_id text COLLATE "C",
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    attempt bytea NOT NULL CHECK (octet_length(attempt) = 16),
    -- A column of its own, so that the planner knows how few there are.
    late boolean NOT NULL GENERATED ALWAYS AS (at < latest) STORED,
    CHECK ((actor_kind IS NULL) = (actor IS NULL)),
    CHECK ((owner_kind IS NULL) = (owner IS NULL)),
    CHECK ((credential_kind IS NULL) = (credential IS NULL))
);

CREATE INDEX audit_by_latest ON audit (latest, revision);
CREATE INDEX audit_late ON audit (at, revision) WHERE late;
CREATE INDEX audit_by_team ON audit (team, revision) WHERE team IS NOT NULL;
CREATE INDEX audit_by_namespace ON audit (namespace, revision) WHERE namespace IS NOT NULL;
CREATE INDEX audit_by_actor ON audit (actor_kind, actor, revision) WHERE actor IS NOT NULL;
CREATE INDEX audit_by_credential ON audit (credential_kind, credential, revision)
WHERE credential IS NOT NULL;

-- A namespace belongs to the team that first used it.
CREATE TABLE namespaces (
    namespace text COLLATE "C" PRIMARY KEY CHECK (namespace <> ''),
    team text COLLATE "C" NOT NULL CHECK (team <> ''),
    created_at bigint NOT NULL,
    created_revision bigint NOT NULL UNIQUE CHECK (created_revision > 0),
    UNIQUE (namespace, team)
);

CREATE INDEX namespaces_by_team ON namespaces (team, created_revision);

CREATE TABLE keys (
    id bytea PRIMARY KEY CHECK (octet_length(id) = 16),
    team text COLLATE "C" NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    owner_kind text COLLATE "C" NOT NULL CHECK (owner_kind IN ('user', 'service')),
    owner text COLLATE "C" NOT NULL CHECK (owner <> ''),
    name text COLLATE "C" NOT NULL CHECK (name <> ''),
    labels jsonb NOT NULL,
    scopes jsonb NOT NULL,
    digest text COLLATE "C" NOT NULL,
    previous_digest text COLLATE "C",
    previous_issued_at bigint,
    previous_until bigint,
    created_at bigint NOT NULL,
    created_by jsonb NOT NULL,
    updated_at bigint NOT NULL,
    issued_at bigint NOT NULL,
    not_before bigint,
    expires_at bigint,
    status text COLLATE "C" NOT NULL CHECK (status IN ('active', 'disabled', 'revoked')),
    revocation jsonb,
    created_revision bigint NOT NULL UNIQUE CHECK (created_revision > 0),
    revision bigint NOT NULL UNIQUE CHECK (revision >= created_revision),
    FOREIGN KEY (namespace, team) REFERENCES namespaces (namespace, team),
    CHECK ((status = 'revoked') = (revocation IS NOT NULL)),
    CHECK ((previous_digest IS NULL) = (previous_issued_at IS NULL)),
    CHECK ((previous_digest IS NULL) = (previous_until IS NULL))
);

CREATE INDEX keys_by_team ON keys (team, created_revision);
CREATE INDEX keys_by_namespace ON keys (namespace, created_revision);
CREATE INDEX keys_by_owner ON keys (team, owner_kind, owner, created_revision);
CREATE INDEX keys_by_name ON keys (team, name, created_revision);
-- Who takes a name, and how many keys an owner has. Keys that a cut revoked are behind it in the
-- order of creations, so that an owner who comes back is not charged for what they had.
CREATE INDEX keys_live_by_name ON keys
(namespace, name, (coalesce(expires_at, 9223372036854775807))) WHERE status <> 'revoked';
CREATE INDEX keys_live_by_owner ON keys
(namespace, owner_kind, owner, created_revision, (coalesce(expires_at, 9223372036854775807)))
WHERE status <> 'revoked';

-- What `keys.labels` says, in the order in which lists give it.
CREATE TABLE key_labels (
    team text COLLATE "C" NOT NULL,
    label text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    created_revision bigint NOT NULL REFERENCES keys (created_revision) ON DELETE CASCADE,
    PRIMARY KEY (team, label, value, created_revision)
);

CREATE UNIQUE INDEX key_labels_by_key ON key_labels (created_revision, label);

-- The identifiers of deleted keys stay taken.
CREATE TABLE deleted_keys (
    id bytea PRIMARY KEY CHECK (octet_length(id) = 16),
    revision bigint NOT NULL UNIQUE CHECK (revision > 0)
);

-- `name` is that of the namespace, the user or the service; empty for the team itself.
CREATE TABLE cutoffs (
    team text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('team', 'namespace', 'user', 'service')),
    name text COLLATE "C" NOT NULL,
    up_to bigint NOT NULL CHECK (up_to > 0),
    blocked boolean NOT NULL,
    revocation jsonb NOT NULL,
    revision bigint NOT NULL UNIQUE CHECK (revision >= up_to),
    PRIMARY KEY (team, kind, name),
    CHECK ((kind = 'team') = (name = ''))
);

CREATE TABLE legacy (
    id bytea PRIMARY KEY CHECK (octet_length(id) = 16),
    team text COLLATE "C" NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    digest text COLLATE "C" NOT NULL,
    blocked boolean NOT NULL,
    imported_at bigint NOT NULL,
    imported_by jsonb NOT NULL,
    revocation jsonb,
    created_revision bigint NOT NULL UNIQUE CHECK (created_revision > 0),
    revision bigint NOT NULL UNIQUE CHECK (revision >= created_revision),
    FOREIGN KEY (namespace, team) REFERENCES namespaces (namespace, team)
);

CREATE INDEX legacy_by_team ON legacy (team, created_revision);
CREATE INDEX legacy_by_namespace ON legacy (namespace, created_revision);

-- `namespace` is empty for the default; `policy` is none where it was taken back.
CREATE TABLE policies (
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('keys', 'legacy')),
    namespace text COLLATE "C" NOT NULL,
    policy jsonb,
    revision bigint NOT NULL UNIQUE CHECK (revision > 0),
    PRIMARY KEY (kind, namespace)
);

CREATE TABLE usage (
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('key', 'legacy')),
    id bytea NOT NULL CHECK (octet_length(id) = 16),
    last_used bigint,
    accepted bigint NOT NULL CHECK (accepted >= 0),
    refused bigint NOT NULL CHECK (refused >= 0),
    PRIMARY KEY (kind, id)
) WITH (fillfactor = 70);

-- What may never happen, whoever writes.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER key_format_is_set_once BEFORE UPDATE ON log FOR EACH ROW
WHEN (OLD.key_format <> NEW.key_format OR (OLD.key_format IS NOT NULL AND NEW.key_format IS NULL))
EXECUTE FUNCTION refuse('the format of the keys is set once');
CREATE TRIGGER log_moves_by_one BEFORE UPDATE OF revision, hash, latest ON log FOR EACH ROW
WHEN (NEW.revision <> OLD.revision + 1 OR NEW.latest < OLD.latest)
EXECUTE FUNCTION refuse('the head of the log moves by one');
CREATE TRIGGER log_stays BEFORE DELETE ON log FOR EACH ROW
EXECUTE FUNCTION refuse('the head of the log stays');

CREATE TRIGGER audit_is_not_rewritten BEFORE UPDATE OR DELETE ON audit FOR EACH ROW
EXECUTE FUNCTION refuse('the audit trail is not rewritten');
CREATE TRIGGER audit_is_not_cut BEFORE TRUNCATE ON audit
EXECUTE FUNCTION refuse('the audit trail is not cut');

CREATE TRIGGER namespaces_stay BEFORE UPDATE OR DELETE ON namespaces FOR EACH ROW
EXECUTE FUNCTION refuse('a namespace stays with its team');

CREATE TRIGGER keys_revoked_stay_so BEFORE UPDATE ON keys FOR EACH ROW
WHEN (OLD.status = 'revoked')
EXECUTE FUNCTION refuse('a revoked key stays revoked');
CREATE TRIGGER keys_do_not_move BEFORE UPDATE ON keys FOR EACH ROW
WHEN (NEW.created_revision <> OLD.created_revision OR NEW.id <> OLD.id OR NEW.team <> OLD.team
    OR NEW.namespace <> OLD.namespace OR NEW.owner_kind <> OLD.owner_kind
    OR NEW.owner <> OLD.owner OR NEW.revision <= OLD.revision)
EXECUTE FUNCTION refuse('a key stays where and whose it is');

CREATE TRIGGER deleted_keys_stay BEFORE UPDATE OR DELETE ON deleted_keys FOR EACH ROW
EXECUTE FUNCTION refuse('a deleted key stays deleted');

CREATE TRIGGER cutoffs_stay BEFORE DELETE ON cutoffs FOR EACH ROW
EXECUTE FUNCTION refuse('what was cut stays cut');
CREATE TRIGGER cutoffs_move_forward BEFORE UPDATE ON cutoffs FOR EACH ROW
WHEN (NEW.up_to < OLD.up_to OR NEW.revision <= OLD.revision OR NEW.team <> OLD.team
    OR NEW.kind <> OLD.kind OR NEW.name <> OLD.name)
EXECUTE FUNCTION refuse('what was cut stays cut');

CREATE TRIGGER legacy_revoked_stays_so BEFORE UPDATE ON legacy FOR EACH ROW
WHEN (OLD.revocation IS NOT NULL)
EXECUTE FUNCTION refuse('a revoked credential stays revoked');
CREATE TRIGGER legacy_does_not_move BEFORE UPDATE ON legacy FOR EACH ROW
WHEN (NEW.created_revision <> OLD.created_revision OR NEW.id <> OLD.id OR NEW.team <> OLD.team
    OR NEW.namespace <> OLD.namespace OR NEW.revision <= OLD.revision)
EXECUTE FUNCTION refuse('a credential stays where it is');
CREATE TRIGGER legacy_stays BEFORE DELETE ON legacy FOR EACH ROW
EXECUTE FUNCTION refuse('a legacy credential stays');
