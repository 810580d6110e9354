PRAGMA application_id = 1265004386;
PRAGMA user_version = 1;
BEGIN;
CREATE TABLE refinery_schema_history(
             version int4 PRIMARY KEY,
             name VARCHAR(255),
             applied_on VARCHAR(255),
             checksum VARCHAR(255));
INSERT INTO refinery_schema_history VALUES (1, 'keys', '2026-11-30T08:20:47.505278695Z', '7642223185091392383');
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL CHECK (revision >= 0),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    key_format TEXT
) STRICT;
INSERT INTO head VALUES (1, 11, X'52E127AD28E4AC318493468FFED68FDB8DDBA1F947B8E65E01389E4DA990A1C6', NULL);
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
INSERT INTO audit VALUES (1, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"key_created","team":"acme","namespace":"fn-1","owner":"user:user 1","credential":"key:00000000000000000000000000000002","reason":null,"request_id":null,"changes":[{"field":"namespace","old":null,"new":"fn-1"},{"field":"name","old":null,"new":"laptop"},{"field":"scopes","old":null,"new":"all"},{"field":"status","old":null,"new":"active"},{"field":"issued_at","old":null,"new":"2027-01-15T08:00:00Z"}],"replaces":null,"record":"a95871a5c97fd2ed43ee1c3644f1c8b2b963b8d0a29de0a8a05a688a56dd66b1"}', X'64359F1309DE16984F3CAB6B1F2C14B76CCE29BFC05A965C7019499DE7AA1E2F');
INSERT INTO audit VALUES (2, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"key_created","team":"acme","namespace":"fn-1","owner":"user:user 2","credential":"key:00000000000000000000000000000003","reason":null,"request_id":null,"changes":[{"field":"name","old":null,"new":"another"},{"field":"scopes","old":null,"new":"all"},{"field":"status","old":null,"new":"active"},{"field":"issued_at","old":null,"new":"2027-01-15T08:00:00Z"}],"replaces":null,"record":"8f87c56f862d7520171421dfc28d7fae7c99866a05e00181d0b9b480d0cb8c26"}', X'DCC05810EFBBDEED7A40B72F5321B50638EA500DE7CA5B67C48AC335579D8C36');
INSERT INTO audit VALUES (3, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"key_updated","team":"acme","namespace":"fn-1","owner":"user:user 1","credential":"key:00000000000000000000000000000002","reason":null,"request_id":null,"replaces":1,"record":"f3677b281f2f6aa5cbbb6f0b32ce4c7bc0774b1c643a2e5026f77a9340e8a37d"}', X'62A3B8126A3E70571C0EC5A15A35F615317079A156135BA9B84BB7360DB252EA');
INSERT INTO audit VALUES (4, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"removed","team":"acme","namespace":null,"owner":"service:robot","credential":null,"reason":null,"request_id":null,"changes":[{"field":"blocked","old":null,"new":true},{"field":"revoked_up_to","old":null,"new":4}],"replaces":null,"record":"477c4c5d2662c841e7177fbbe87200e1b8d7c907f93145dfbb1bf54991c2ba3e"}', X'A9A584D08BD360B5F48F45211C8D307BFC025DB1CD836B4837FED75EDB844AB1');
INSERT INTO audit VALUES (5, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"restored","team":"acme","namespace":null,"owner":"service:robot","credential":null,"reason":null,"request_id":null,"changes":[{"field":"blocked","old":true,"new":false}],"replaces":4,"record":"530014986bf273375975f0472fb1bf42e1d35172732b1bcb51d8b0591840c032"}', X'554C5F9B3343CD249B04AE74A8A140279BB3DF3F24487E388A742D1A0E899F96');
INSERT INTO audit VALUES (6, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"legacy_imported","team":"acme","namespace":"fn-1","owner":null,"credential":"legacy:07070707-0707-0707-0707-070707070707","reason":null,"request_id":null,"changes":[{"field":"subject","old":null,"new":"guest"},{"field":"status","old":null,"new":"active"},{"field":"blocked","old":null,"new":false}],"replaces":null,"record":"a3544d7c670bbe74d360ddccb119bb6e5603d3bb6cb7386d8643be59672125e1"}', X'E95788367041132353C929EFDE53BD38814FD376CFA496C8DDCFC3F1FD7B7446');
INSERT INTO audit VALUES (7, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"legacy_blocked","team":"acme","namespace":"fn-1","owner":null,"credential":"legacy:07070707-0707-0707-0707-070707070707","reason":null,"request_id":null,"replaces":6,"record":"371419cd5ddb40c7482e2210f265503b57e59a67d53aa0171c4ea7200a1b401f"}', X'4808EFF11B36DE3FD2372EB68810EFE456AB8EF1C936ECACCFBD6CFA1E3B26EB');
INSERT INTO audit VALUES (8, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"policy_set","team":"acme","namespace":"fn-1","owner":null,"credential":null,"reason":null,"request_id":null,"changes":[{"field":"min_ttl","old":null,"new":3600},{"field":"expiry_required","old":null,"new":false},{"field":"keys_per_owner","old":null,"new":1000},{"field":"unique_names","old":null,"new":true},{"field":"max_grace","old":null,"new":2592000}],"replaces":null,"record":"785b092b4198e8477ccc13138ba4093a9a11e20bed508a12239c1e8db3d1fe07"}', X'A0777FE7BDB29BCCF969301761BE109EEE71D2C57D5694D6408040DE978E1936');
INSERT INTO audit VALUES (9, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"legacy_policy_set","team":null,"namespace":null,"owner":null,"credential":null,"reason":null,"request_id":null,"changes":[{"field":"accepted","old":null,"new":false}],"replaces":null,"record":"32f2d72233642234d8884a12e276f23664d695b4013f4da3c8b3e23dbd9d43c3"}', X'5F681FC4D7E3C5C2F917228EAD995241E1B643D5F0A886409CE01E822034C404');
INSERT INTO audit VALUES (10, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"namespace_created","team":"acme","namespace":"fn-2","owner":null,"credential":null,"reason":null,"request_id":null,"changes":[{"field":"namespace","old":null,"new":"fn-2"}],"replaces":null,"record":null}', X'7C5BE1E4B181631E1A329D53E0EF0C82B9E663732071E0BC6A18304445F5A9B3');
INSERT INTO audit VALUES (11, 1800000000, '{"at":1800000000,"actor":{"owner":"user:admin","credential":null},"action":"key_deleted","team":"acme","namespace":"fn-1","owner":"user:user 2","credential":"key:00000000000000000000000000000003","reason":null,"request_id":null,"changes":[{"field":"name","old":"another","new":null},{"field":"scopes","old":"all","new":null},{"field":"status","old":"active","new":null},{"field":"issued_at","old":"2027-01-15T08:00:00Z","new":null}],"replaces":2,"record":"54834282ed7210ab6f54d26cc1742816f7bd2c384ce256cbcae88e8929b79e77"}', X'52E127AD28E4AC318493468FFED68FDB8DDBA1F947B8E65E01389E4DA990A1C6');
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
    creator TEXT AS (record ->> '$.created_by.owner'),
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
    id TEXT NOT NULL UNIQUE,
    team TEXT NOT NULL,
    namespace TEXT NOT NULL,
    FOREIGN KEY (namespace, team) REFERENCES namespaces (namespace, team)
) STRICT;
INSERT INTO deleted_keys VALUES (11, 'key:00000000000000000000000000000003', 'acme', 'fn-1');
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
    blocked INTEGER NOT NULL AS (record ->> 'blocked'),
    FOREIGN KEY (namespace, team) REFERENCES namespaces (namespace, team)
) STRICT;
INSERT INTO legacy VALUES (6, '{"id":"07070707-0707-0707-0707-070707070707","tenant":{"team":"acme","namespace":"fn-1"},"subject":"guest","digest":"sha256:3333333333333333333333333333333333333333333333333333333333333333","blocked":false,"imported_at":1800000000,"imported_by":{"owner":null,"credential":null},"revoked":null,"created_revision":6,"revision":7}');
CREATE TABLE policies (
    kind TEXT NOT NULL CHECK (kind IN ('policy', 'legacy_policy')),
    revision INTEGER NOT NULL UNIQUE REFERENCES audit (revision),
    record TEXT NOT NULL,
    team TEXT AS (record ->> '$[0].team'),
    namespace TEXT NOT NULL AS (coalesce(record ->> '$[0].namespace', '')),
    UNIQUE (kind, namespace),
    FOREIGN KEY (namespace, team) REFERENCES namespaces (namespace, team)
) STRICT;
INSERT INTO policies VALUES ('policy', 8, '[{"team":"acme","namespace":"fn-1"},{"min_ttl":3600,"max_ttl":null,"expiry_required":false,"keys_per_owner":1000,"unique_names":true,"max_grace_seconds":2592000}]');
INSERT INTO policies VALUES ('legacy_policy', 9, '[null,"off"]');
CREATE TABLE usage (
    credential TEXT PRIMARY KEY,
    last_used INTEGER,
    accepted INTEGER NOT NULL CHECK (accepted >= 0),
    refused INTEGER NOT NULL CHECK (refused >= 0)
) STRICT, WITHOUT ROWID;
INSERT INTO usage VALUES ('key:00000000000000000000000000000002', 1800000000, 1, 0);
INSERT INTO usage VALUES ('legacy:07070707-0707-0707-0707-070707070707', 1800000000, 1, 0);
CREATE TABLE usage_sources (
    source BLOB PRIMARY KEY CHECK (length(source) = 16),
    sequence INTEGER NOT NULL CHECK (sequence >= 0),
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO usage_sources VALUES (X'07070707070707070707070707070707', 1, 1800000000);
CREATE TABLE usage_days (
    day INTEGER NOT NULL,
    subject TEXT NOT NULL,
    legacy INTEGER NOT NULL CHECK (legacy IN (0, 1)),
    outcome TEXT NOT NULL,
    hours TEXT NOT NULL,
    PRIMARY KEY (day, subject, legacy, outcome)
) STRICT, WITHOUT ROWID;
INSERT INTO usage_days VALUES (20833, 'key:00000000000000000000000000000002', 0, 'accepted', '{"8":1}');
INSERT INTO usage_days VALUES (20833, 'legacy:07070707-0707-0707-0707-070707070707', 1, 'accepted', '{"8":1}');
INSERT INTO usage_days VALUES (20833, 'namespace:fn-1', 0, 'accepted', '{"8":1}');
INSERT INTO usage_days VALUES (20833, 'namespace:fn-1', 1, 'accepted', '{"8":1}');
INSERT INTO usage_days VALUES (20833, 'team:acme', 0, 'accepted', '{"8":1}');
INSERT INTO usage_days VALUES (20833, 'team:acme', 1, 'accepted', '{"8":1}');
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
CREATE INDEX keys_unrevoked ON keys (team, created_revision, namespace, owner, name, id)
WHERE NOT revoked;
CREATE INDEX keys_unrevoked_by_namespace ON keys (namespace, created_revision, owner, name, id)
WHERE NOT revoked;
CREATE INDEX keys_by_expiry ON keys (team, expires_at, created_revision, namespace, owner, revoked)
WHERE expires_at IS NOT NULL;
CREATE INDEX keys_unrevoked_by_name ON keys (namespace, owner, name) WHERE NOT revoked;
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
CREATE INDEX usage_sources_by_time ON usage_sources (at);
COMMIT;
