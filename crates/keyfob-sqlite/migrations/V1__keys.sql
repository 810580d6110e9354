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

-- One event for each revision. `latest` is the latest `at` so far: it never falls, so that the
-- first event at or after a time is found without looking at those before it, and the last one
-- before a time too, but for the few that a clock brought late.
CREATE TABLE audit (
    revision INTEGER PRIMARY KEY CHECK (revision > 0),
    at INTEGER NOT NULL,
    latest INTEGER NOT NULL CHECK (latest >= at),
    actor_kind TEXT CHECK (actor_kind IN ('user', 'service')),
    actor TEXT,
    actor_credential TEXT,
    action TEXT NOT NULL,
    team TEXT,
    namespace TEXT,
    owner_kind TEXT CHECK (owner_kind IN ('user', 'service')),
    owner TEXT,
    credential_kind TEXT CHECK (credential_kind IN ('key', 'legacy')),
    credential BLOB CHECK (length(credential) = 16),
    reason TEXT,
    request_id TEXT,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    CHECK ((actor_kind IS NULL) = (actor IS NULL)),
    CHECK ((owner_kind IS NULL) = (owner IS NULL)),
    CHECK ((credential_kind IS NULL) = (credential IS NULL))
) STRICT;

CREATE INDEX audit_by_latest ON audit (latest);
CREATE INDEX audit_late ON audit (at) WHERE at < latest;
CREATE INDEX audit_by_team ON audit (team);
CREATE INDEX audit_by_namespace ON audit (namespace);
CREATE INDEX audit_by_actor ON audit (actor, actor_kind) WHERE actor IS NOT NULL;
CREATE INDEX audit_by_credential ON audit (credential, credential_kind) WHERE credential IS NOT NULL;

CREATE TRIGGER audit_has_no_gap BEFORE INSERT ON audit
WHEN NEW.revision <> (SELECT revision + 1 FROM head)
BEGIN
    SELECT RAISE(ABORT, 'the audit trail has no gap');
END;

CREATE TRIGGER audit_is_not_rewritten BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is not rewritten');
END;

CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit trail is not cut');
END;

-- A namespace belongs to the team that first used it.
CREATE TABLE namespaces (
    created_revision INTEGER PRIMARY KEY REFERENCES audit (revision),
    namespace TEXT NOT NULL UNIQUE,
    team TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (namespace, team)
) STRICT;

CREATE INDEX namespaces_by_team ON namespaces (team);

CREATE TRIGGER namespaces_stay BEFORE DELETE ON namespaces
BEGIN
    SELECT RAISE(ABORT, 'a namespace stays with its team');
END;

CREATE TRIGGER namespaces_do_not_move BEFORE UPDATE ON namespaces
BEGIN
    SELECT RAISE(ABORT, 'a namespace stays with its team');
END;

-- The order of creation is the order of the rows, so every index ends in it.
CREATE TABLE keys (
    created_revision INTEGER PRIMARY KEY REFERENCES audit (revision),
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    revision INTEGER NOT NULL UNIQUE REFERENCES audit (revision) CHECK (revision >= created_revision),
    team TEXT NOT NULL,
    namespace TEXT NOT NULL,
    owner_kind TEXT NOT NULL CHECK (owner_kind IN ('user', 'service')),
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    scopes TEXT NOT NULL,
    digest TEXT NOT NULL,
    previous_digest TEXT,
    previous_issued_at INTEGER,
    previous_until INTEGER,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    issued_at INTEGER NOT NULL,
    not_before INTEGER,
    expires_at INTEGER,
    status TEXT NOT NULL CHECK (status IN ('active', 'disabled', 'revoked')),
    revocation TEXT,
    FOREIGN KEY (namespace, team) REFERENCES namespaces (namespace, team),
    CHECK ((status = 'revoked') = (revocation IS NOT NULL)),
    CHECK ((previous_digest IS NULL) = (previous_issued_at IS NULL)),
    CHECK ((previous_digest IS NULL) = (previous_until IS NULL))
) STRICT;

CREATE INDEX keys_by_team ON keys (team);
CREATE INDEX keys_by_namespace ON keys (namespace);
CREATE INDEX keys_by_owner ON keys (team, owner, owner_kind);
CREATE INDEX keys_by_name ON keys (team, name);
CREATE INDEX keys_unrevoked_by_name ON keys (namespace, name) WHERE status <> 'revoked';
CREATE INDEX keys_unrevoked_by_owner ON keys (namespace, owner, owner_kind)
WHERE status <> 'revoked';

CREATE TRIGGER keys_revoked_stay_so BEFORE UPDATE ON keys
WHEN OLD.status = 'revoked'
BEGIN
    SELECT RAISE(ABORT, 'a revoked key stays revoked');
END;

CREATE TRIGGER keys_do_not_move BEFORE UPDATE ON keys
WHEN NEW.created_revision <> OLD.created_revision OR NEW.id <> OLD.id OR NEW.team <> OLD.team
    OR NEW.namespace <> OLD.namespace OR NEW.owner_kind <> OLD.owner_kind
    OR NEW.owner <> OLD.owner OR NEW.revision <= OLD.revision
BEGIN
    SELECT RAISE(ABORT, 'a key stays where and whose it is');
END;

-- The identifiers of deleted keys stay taken.
CREATE TABLE deleted_keys (
    revision INTEGER PRIMARY KEY REFERENCES audit (revision),
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16)
) STRICT;

CREATE TRIGGER deleted_keys_stay BEFORE DELETE ON deleted_keys
BEGIN
    SELECT RAISE(ABORT, 'a deleted key stays deleted');
END;

CREATE TRIGGER deleted_keys_do_not_change BEFORE UPDATE ON deleted_keys
BEGIN
    SELECT RAISE(ABORT, 'a deleted key stays deleted');
END;

CREATE TRIGGER deleted_keys_do_not_return BEFORE INSERT ON keys
WHEN EXISTS (SELECT 1 FROM deleted_keys WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'a deleted key stays deleted');
END;

CREATE TRIGGER keys_leave_a_mark AFTER DELETE ON keys
WHEN NOT EXISTS (SELECT 1 FROM deleted_keys WHERE id = OLD.id)
BEGIN
    SELECT RAISE(ABORT, 'a deleted key leaves a mark');
END;

-- `name` is that of the namespace, the user or the service; empty for the team itself.
CREATE TABLE cutoffs (
    team TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('team', 'namespace', 'user', 'service')),
    name TEXT NOT NULL,
    up_to INTEGER NOT NULL CHECK (up_to > 0),
    blocked INTEGER NOT NULL CHECK (blocked IN (0, 1)),
    revocation TEXT NOT NULL,
    revision INTEGER NOT NULL UNIQUE REFERENCES audit (revision) CHECK (revision >= up_to),
    PRIMARY KEY (team, kind, name),
    CHECK ((kind = 'team') = (name = ''))
) STRICT;

CREATE TRIGGER cutoffs_stay BEFORE DELETE ON cutoffs
BEGIN
    SELECT RAISE(ABORT, 'what was cut stays cut');
END;

CREATE TRIGGER cutoffs_move_forward BEFORE UPDATE ON cutoffs
WHEN NEW.up_to < OLD.up_to OR NEW.revision <= OLD.revision OR NEW.team <> OLD.team
    OR NEW.kind <> OLD.kind OR NEW.name <> OLD.name
BEGIN
    SELECT RAISE(ABORT, 'what was cut stays cut');
END;

CREATE TABLE legacy (
    created_revision INTEGER PRIMARY KEY REFERENCES audit (revision),
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    revision INTEGER NOT NULL UNIQUE REFERENCES audit (revision) CHECK (revision >= created_revision),
    team TEXT NOT NULL,
    namespace TEXT NOT NULL,
    subject TEXT NOT NULL,
    digest TEXT NOT NULL,
    blocked INTEGER NOT NULL CHECK (blocked IN (0, 1)),
    imported_at INTEGER NOT NULL,
    imported_by TEXT NOT NULL,
    revocation TEXT,
    FOREIGN KEY (namespace, team) REFERENCES namespaces (namespace, team)
) STRICT;

CREATE INDEX legacy_by_team ON legacy (team);
CREATE INDEX legacy_by_namespace ON legacy (namespace);

CREATE TRIGGER legacy_revoked_stays_so BEFORE UPDATE ON legacy
WHEN OLD.revocation IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'a revoked credential stays revoked');
END;

CREATE TRIGGER legacy_does_not_move BEFORE UPDATE ON legacy
WHEN NEW.created_revision <> OLD.created_revision OR NEW.id <> OLD.id OR NEW.team <> OLD.team
    OR NEW.namespace <> OLD.namespace OR NEW.revision <= OLD.revision
BEGIN
    SELECT RAISE(ABORT, 'a credential stays where it is');
END;

CREATE TRIGGER legacy_stays BEFORE DELETE ON legacy
BEGIN
    SELECT RAISE(ABORT, 'a legacy credential stays');
END;

-- `namespace` is empty for the default; `policy` is none where it was taken back.
CREATE TABLE policies (
    kind TEXT NOT NULL CHECK (kind IN ('keys', 'legacy')),
    namespace TEXT NOT NULL,
    policy TEXT,
    revision INTEGER NOT NULL UNIQUE REFERENCES audit (revision),
    PRIMARY KEY (kind, namespace)
) STRICT;

CREATE TABLE usage (
    kind TEXT NOT NULL CHECK (kind IN ('key', 'legacy')),
    id BLOB NOT NULL CHECK (length(id) = 16),
    last_used INTEGER,
    accepted INTEGER NOT NULL CHECK (accepted >= 0),
    refused INTEGER NOT NULL CHECK (refused >= 0),
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
