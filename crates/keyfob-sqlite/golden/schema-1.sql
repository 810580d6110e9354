PRAGMA application_id = 1265004386;
PRAGMA user_version = 1;
BEGIN;
CREATE TABLE refinery_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));
INSERT INTO refinery_schema_history VALUES (1, 'keys', '2026-11-29T05:00:16.050950712Z', '9835416538581894753');
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL CHECK (revision >= 0),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    key_format TEXT
) STRICT;
INSERT INTO head VALUES (1, 11, X'8F4E8DEF3CFE535BA596867625BD0887988BC70E1135606E912DEB6A1A528C6B', NULL);
CREATE TABLE audit (
    revision INTEGER PRIMARY KEY CHECK (revision > 0),
    latest INTEGER NOT NULL CHECK (latest >= at),
    entry TEXT NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    at INTEGER NOT NULL AS (entry ->> 'at'),
    actor TEXT AS (entry ->> '$.actor.owner'),
    team TEXT AS (entry ->> 'team'),
    namespace TEXT AS (entry ->> 'namespace'),
    credential TEXT AS (entry ->> 'credential')
) STRICT;
INSERT INTO audit VALUES (1, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"key_updated","team":"acme","namespace":null,"owner":null,"credential":"key:00000000000000000000000000000002","reason":null,"request_id":null}', X'E348E9FE3953D677AF829BB6A091E4057D0B38DDF5D3ACA4EE973FC3E868C96F');
INSERT INTO audit VALUES (2, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"key_updated","team":"acme","namespace":null,"owner":null,"credential":"key:00000000000000000000000000000002","reason":null,"request_id":null}', X'0BD6245B23929BD7D31700B38AC8699E7EE0E6D2FF49B15CC0C2A6C84E1093E0');
INSERT INTO audit VALUES (3, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"key_updated","team":"acme","namespace":null,"owner":null,"credential":"key:00000000000000000000000000000002","reason":null,"request_id":null}', X'606AE97D067148BE2E7BDB99E536C922143E1454C7C2E29BBC1B2B545749B997');
INSERT INTO audit VALUES (4, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"key_updated","team":"acme","namespace":null,"owner":null,"credential":"key:00000000000000000000000000000002","reason":null,"request_id":null}', X'344B7D3C4ECEC0E3125E5FE6D5EDE1DBB6490F7A4A31767B0F68681672C70A70');
INSERT INTO audit VALUES (5, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"key_updated","team":"acme","namespace":null,"owner":null,"credential":"key:00000000000000000000000000000002","reason":null,"request_id":null}', X'CE5BF48ED5C40260EA85A2A053A38919DEC2560A58B466108067B709AD3B2202');
INSERT INTO audit VALUES (6, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"key_updated","team":"acme","namespace":null,"owner":null,"credential":"key:00000000000000000000000000000002","reason":null,"request_id":null}', X'97668C88CB18BA472B5E6C21616AA927E5C65E76FBD4988710108C91540D27A2');
INSERT INTO audit VALUES (7, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"key_updated","team":"acme","namespace":null,"owner":null,"credential":"key:00000000000000000000000000000002","reason":null,"request_id":null}', X'6A4DBF0A4CD43A48FE3326964ACCB5ABD0C9DAEF406CA890D68C63F95D57A23D');
INSERT INTO audit VALUES (8, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"key_updated","team":"acme","namespace":null,"owner":null,"credential":"key:00000000000000000000000000000002","reason":null,"request_id":null}', X'A8375458695FEA1E3CACE5819275F9661D4744BA14449E602E0E3C4789724A9F');
INSERT INTO audit VALUES (9, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"key_updated","team":"acme","namespace":null,"owner":null,"credential":"key:00000000000000000000000000000002","reason":null,"request_id":null}', X'2F60FC4966DBC1485BCB960EC5F4D42FDFD8B81B2F291EF3ADC3D7FE85B1294F');
INSERT INTO audit VALUES (10, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"key_updated","team":"acme","namespace":null,"owner":null,"credential":"key:00000000000000000000000000000002","reason":null,"request_id":null}', X'201510428B324B1DB4B7B0F32917D6D21857287662226AAF98B4BA117BFBFF70');
INSERT INTO audit VALUES (11, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"key_updated","team":"acme","namespace":null,"owner":null,"credential":"key:00000000000000000000000000000002","reason":null,"request_id":null}', X'8F4E8DEF3CFE535BA596867625BD0887988BC70E1135606E912DEB6A1A528C6B');
CREATE TABLE namespaces (
    created_revision INTEGER PRIMARY KEY REFERENCES audit (revision),
    record TEXT NOT NULL CHECK (record ->> 'created_revision' = created_revision),
    namespace TEXT NOT NULL UNIQUE AS (record ->> '$.tenant.namespace'),
    team TEXT NOT NULL AS (record ->> '$.tenant.team'),
    UNIQUE (namespace, team)
) STRICT;
INSERT INTO namespaces VALUES (1, '{"tenant":{"team":"acme","namespace":"fn-1"},"created_at":1800000000,"removed":false,"created_revision":1}');
INSERT INTO namespaces VALUES (10, '{"tenant":{"team":"acme","namespace":"fn-2"},"created_at":1800000000,"removed":false,"created_revision":10}');
CREATE TABLE keys (
    created_revision INTEGER PRIMARY KEY REFERENCES audit (revision),
    record TEXT NOT NULL CHECK (record ->> 'created_revision' = created_revision),
    id TEXT NOT NULL UNIQUE AS ('key:' || (record ->> 'id')),
    revision INTEGER NOT NULL UNIQUE REFERENCES audit (revision)
        CHECK (revision >= created_revision) AS (record ->> 'revision'),
    team TEXT NOT NULL AS (record ->> '$.tenant.team'),
    namespace TEXT NOT NULL AS (record ->> '$.tenant.namespace'),
    owner TEXT NOT NULL AS (record ->> 'owner'),
    name TEXT NOT NULL AS (record ->> 'name'),
    expires_at INTEGER AS (record ->> 'expires_at'),
    revoked INTEGER NOT NULL AS (record ->> '$.status.revoked' IS NOT NULL),
    FOREIGN KEY (namespace, team) REFERENCES namespaces (namespace, team)
) STRICT;
INSERT INTO keys VALUES (1, '{"id":"00000000000000000000000000000002","tenant":{"team":"acme","namespace":"fn-1"},"owner":"user:user 1","name":"laptop","labels":{},"scopes":"all","digest":"sha256:2222222222222222222222222222222222222222222222222222222222222222","previous":null,"created_at":1800000000,"created_by":{"owner":null,"credential":null},"updated_at":1800000000,"issued_at":1800000000,"not_before":null,"expires_at":null,"status":"active","created_revision":1,"revision":3}');
CREATE TABLE key_labels (
    team TEXT NOT NULL,
    label TEXT NOT NULL,
    value TEXT NOT NULL,
    created_revision INTEGER NOT NULL REFERENCES keys (created_revision) ON DELETE CASCADE,
    PRIMARY KEY (team, label, value, created_revision)
) STRICT, WITHOUT ROWID;
CREATE TABLE deleted_keys (
    revision INTEGER PRIMARY KEY REFERENCES audit (revision),
    id TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO deleted_keys VALUES (11, 'key:00000000000000000000000000000003');
CREATE TABLE cutoffs (
    record TEXT NOT NULL,
    target TEXT NOT NULL UNIQUE AS (record -> 'target'),
    up_to INTEGER NOT NULL CHECK (up_to > 0) AS (record ->> 'up_to'),
    revision INTEGER NOT NULL UNIQUE REFERENCES audit (revision) CHECK (revision >= up_to)
        AS (record ->> 'revision')
) STRICT;
INSERT INTO cutoffs VALUES ('{"target":{"owner":["acme","service:robot"]},"up_to":4,"blocked":false,"revocation":{"at":1800000000,"by":{"owner":"user:admin","credential":null},"cause":"owner","reason":null},"revision":5}');
CREATE TABLE legacy (
    created_revision INTEGER PRIMARY KEY REFERENCES audit (revision),
    record TEXT NOT NULL CHECK (record ->> 'created_revision' = created_revision),
    id TEXT NOT NULL UNIQUE AS ('legacy:' || (record ->> 'id')),
    revision INTEGER NOT NULL UNIQUE REFERENCES audit (revision)
        CHECK (revision >= created_revision) AS (record ->> 'revision'),
    team TEXT NOT NULL AS (record ->> '$.tenant.team'),
    namespace TEXT NOT NULL AS (record ->> '$.tenant.namespace'),
    revoked INTEGER NOT NULL AS (record ->> 'revoked' IS NOT NULL),
    FOREIGN KEY (namespace, team) REFERENCES namespaces (namespace, team)
) STRICT;
INSERT INTO legacy VALUES (6, '{"id":"07070707-0707-0707-0707-070707070707","tenant":{"team":"acme","namespace":"fn-1"},"subject":"guest","digest":"sha256:3333333333333333333333333333333333333333333333333333333333333333","blocked":false,"imported_at":1800000000,"imported_by":{"owner":null,"credential":null},"revoked":null,"created_revision":6,"revision":7}');
CREATE TABLE policies (
    kind TEXT NOT NULL CHECK (kind IN ('policy', 'legacy_policy')),
    revision INTEGER NOT NULL UNIQUE REFERENCES audit (revision),
    record TEXT NOT NULL,
    namespace TEXT NOT NULL AS (coalesce(record ->> 0, '')),
    UNIQUE (kind, namespace)
) STRICT;
INSERT INTO policies VALUES ('policy', 8, '["fn-1",{"min_ttl":3600,"max_ttl":null,"expiry_required":false,"keys_per_owner":null,"unique_names":true,"max_grace_seconds":2592000}]');
INSERT INTO policies VALUES ('legacy_policy', 9, '[null,"off"]');
CREATE TABLE usage (
    credential TEXT PRIMARY KEY,
    last_used INTEGER,
    accepted INTEGER NOT NULL CHECK (accepted >= 0),
    refused INTEGER NOT NULL CHECK (refused >= 0)
) STRICT, WITHOUT ROWID;
INSERT INTO usage VALUES ('key:00000000000000000000000000000002', 1800000000, 1, 0);
INSERT INTO usage VALUES ('legacy:07070707-0707-0707-0707-070707070707', 1800000000, 1, 0);
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
CREATE INDEX namespaces_by_team ON namespaces (team);
CREATE TRIGGER namespaces_stay BEFORE DELETE ON namespaces
BEGIN
    SELECT RAISE(ABORT, 'a namespace stays with its team');
END;
CREATE TRIGGER namespaces_do_not_change BEFORE UPDATE ON namespaces
BEGIN
    SELECT RAISE(ABORT, 'a namespace stays with its team');
END;
CREATE INDEX keys_by_team ON keys (team);
CREATE INDEX keys_by_namespace ON keys (namespace);
CREATE INDEX keys_by_owner ON keys (team, owner);
CREATE INDEX keys_by_name ON keys (team, name);
CREATE INDEX keys_unrevoked_by_name ON keys (namespace, name) WHERE NOT revoked;
CREATE INDEX keys_unrevoked_by_owner ON keys (namespace, owner) WHERE NOT revoked;
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
CREATE TRIGGER cutoffs_stay BEFORE DELETE ON cutoffs
BEGIN
    SELECT RAISE(ABORT, 'what was revoked stays revoked');
END;
CREATE TRIGGER cutoffs_move_forward AFTER UPDATE ON cutoffs
WHEN NEW.up_to < OLD.up_to OR NEW.revision <= OLD.revision OR NEW.target <> OLD.target
BEGIN
    SELECT RAISE(ABORT, 'what was revoked stays revoked');
END;
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
COMMIT;
