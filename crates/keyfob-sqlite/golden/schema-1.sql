PRAGMA application_id = 1265004386;
PRAGMA user_version = 1;
BEGIN;
CREATE TABLE refinery_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));
INSERT INTO refinery_schema_history VALUES (1, 'keys', '2026-11-29T04:45:30.565729046Z', '3510914304479170142');
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL CHECK (revision >= 0),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    key_format TEXT
) STRICT;
INSERT INTO head VALUES (1, 11, X'8F4E8DEF3CFE535BA596867625BD0887988BC70E1135606E912DEB6A1A528C6B', NULL);
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
INSERT INTO audit VALUES (1, 1800000000, 1800000000, 'user', 'admin', NULL, 'key_updated', 'acme', NULL, NULL, NULL, 'key', X'00000000000000000000000000000002', NULL, NULL, X'E348E9FE3953D677AF829BB6A091E4057D0B38DDF5D3ACA4EE973FC3E868C96F');
INSERT INTO audit VALUES (2, 1800000000, 1800000000, 'user', 'admin', NULL, 'key_updated', 'acme', NULL, NULL, NULL, 'key', X'00000000000000000000000000000002', NULL, NULL, X'0BD6245B23929BD7D31700B38AC8699E7EE0E6D2FF49B15CC0C2A6C84E1093E0');
INSERT INTO audit VALUES (3, 1800000000, 1800000000, 'user', 'admin', NULL, 'key_updated', 'acme', NULL, NULL, NULL, 'key', X'00000000000000000000000000000002', NULL, NULL, X'606AE97D067148BE2E7BDB99E536C922143E1454C7C2E29BBC1B2B545749B997');
INSERT INTO audit VALUES (4, 1800000000, 1800000000, 'user', 'admin', NULL, 'key_updated', 'acme', NULL, NULL, NULL, 'key', X'00000000000000000000000000000002', NULL, NULL, X'344B7D3C4ECEC0E3125E5FE6D5EDE1DBB6490F7A4A31767B0F68681672C70A70');
INSERT INTO audit VALUES (5, 1800000000, 1800000000, 'user', 'admin', NULL, 'key_updated', 'acme', NULL, NULL, NULL, 'key', X'00000000000000000000000000000002', NULL, NULL, X'CE5BF48ED5C40260EA85A2A053A38919DEC2560A58B466108067B709AD3B2202');
INSERT INTO audit VALUES (6, 1800000000, 1800000000, 'user', 'admin', NULL, 'key_updated', 'acme', NULL, NULL, NULL, 'key', X'00000000000000000000000000000002', NULL, NULL, X'97668C88CB18BA472B5E6C21616AA927E5C65E76FBD4988710108C91540D27A2');
INSERT INTO audit VALUES (7, 1800000000, 1800000000, 'user', 'admin', NULL, 'key_updated', 'acme', NULL, NULL, NULL, 'key', X'00000000000000000000000000000002', NULL, NULL, X'6A4DBF0A4CD43A48FE3326964ACCB5ABD0C9DAEF406CA890D68C63F95D57A23D');
INSERT INTO audit VALUES (8, 1800000000, 1800000000, 'user', 'admin', NULL, 'key_updated', 'acme', NULL, NULL, NULL, 'key', X'00000000000000000000000000000002', NULL, NULL, X'A8375458695FEA1E3CACE5819275F9661D4744BA14449E602E0E3C4789724A9F');
INSERT INTO audit VALUES (9, 1800000000, 1800000000, 'user', 'admin', NULL, 'key_updated', 'acme', NULL, NULL, NULL, 'key', X'00000000000000000000000000000002', NULL, NULL, X'2F60FC4966DBC1485BCB960EC5F4D42FDFD8B81B2F291EF3ADC3D7FE85B1294F');
INSERT INTO audit VALUES (10, 1800000000, 1800000000, 'user', 'admin', NULL, 'key_updated', 'acme', NULL, NULL, NULL, 'key', X'00000000000000000000000000000002', NULL, NULL, X'201510428B324B1DB4B7B0F32917D6D21857287662226AAF98B4BA117BFBFF70');
INSERT INTO audit VALUES (11, 1800000000, 1800000000, 'user', 'admin', NULL, 'key_updated', 'acme', NULL, NULL, NULL, 'key', X'00000000000000000000000000000002', NULL, NULL, X'8F4E8DEF3CFE535BA596867625BD0887988BC70E1135606E912DEB6A1A528C6B');
CREATE TABLE namespaces (
    created_revision INTEGER PRIMARY KEY REFERENCES audit (revision),
    namespace TEXT NOT NULL UNIQUE,
    team TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (namespace, team)
) STRICT;
INSERT INTO namespaces VALUES (1, 'fn-1', 'acme', 1800000000);
INSERT INTO namespaces VALUES (10, 'fn-2', 'acme', 1800000000);
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
INSERT INTO keys VALUES (1, X'00000000000000000000000000000002', 3, 'acme', 'fn-1', 'user', 'user 1', 'laptop', '{}', '"all"', 'sha256:2222222222222222222222222222222222222222222222222222222222222222', NULL, NULL, NULL, 1800000000, '{"owner":null,"credential":null}', 1800000000, 1800000000, NULL, NULL, 'active', NULL);
CREATE TABLE deleted_keys (
    revision INTEGER PRIMARY KEY REFERENCES audit (revision),
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16)
) STRICT;
INSERT INTO deleted_keys VALUES (11, X'00000000000000000000000000000003');
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
INSERT INTO cutoffs VALUES ('acme', 'service', 'robot', 4, 0, '{"at":1800000000,"by":{"owner":"user:admin","credential":null},"cause":"owner","reason":null}', 5);
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
INSERT INTO legacy VALUES (6, X'07070707070707070707070707070707', 7, 'acme', 'fn-1', 'guest', 'sha256:3333333333333333333333333333333333333333333333333333333333333333', 0, 1800000000, '{"owner":null,"credential":null}', NULL);
CREATE TABLE policies (
    kind TEXT NOT NULL CHECK (kind IN ('keys', 'legacy')),
    namespace TEXT NOT NULL,
    policy TEXT,
    revision INTEGER NOT NULL UNIQUE REFERENCES audit (revision),
    PRIMARY KEY (kind, namespace)
) STRICT;
INSERT INTO policies VALUES ('keys', 'fn-1', '{"min_ttl":3600,"max_ttl":null,"expiry_required":false,"keys_per_owner":null,"unique_names":true,"max_grace_seconds":2592000}', 8);
INSERT INTO policies VALUES ('legacy', '', '"off"', 9);
CREATE TABLE usage (
    kind TEXT NOT NULL CHECK (kind IN ('key', 'legacy')),
    id BLOB NOT NULL CHECK (length(id) = 16),
    last_used INTEGER,
    accepted INTEGER NOT NULL CHECK (accepted >= 0),
    refused INTEGER NOT NULL CHECK (refused >= 0),
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
INSERT INTO usage VALUES ('key', X'00000000000000000000000000000002', 1800000000, 1, 0);
INSERT INTO usage VALUES ('legacy', X'07070707070707070707070707070707', 1800000000, 1, 0);
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
CREATE INDEX namespaces_by_team ON namespaces (team);
CREATE TRIGGER namespaces_stay BEFORE DELETE ON namespaces
BEGIN
    SELECT RAISE(ABORT, 'a namespace stays with its team');
END;
CREATE TRIGGER namespaces_do_not_move BEFORE UPDATE ON namespaces
BEGIN
    SELECT RAISE(ABORT, 'a namespace stays with its team');
END;
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
COMMIT;
