-- One log of changes, which every instance on this database follows by number: clients' keys, the
-- lists, invalidations, breakers that an admin moved. Times are milliseconds since the Unix epoch.
--
-- The newest change of a subject replaces the one before and gets a new number, so the table is the
-- current state as well.
CREATE TABLE changes (
    -- Grows, and is never given twice.
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    key TEXT NOT NULL,
    -- JSON; NULL: removed.
    payload TEXT NULL,
    at BIGINT NOT NULL,
    -- The instance that wrote it.
    instance TEXT NOT NULL,
    -- Nobody needs the row after this time; NULL: for ever.
    keep_until BIGINT NULL
);
CREATE UNIQUE INDEX changes_subject ON changes (topic, key);
CREATE INDEX changes_keep_until ON changes (keep_until);

-- What the tables before held. Rows that are not as they should be stay behind.
INSERT INTO changes (topic, key, payload, at, instance, keep_until)
SELECT 'access', 'key:' || id,
    json_object('label', label, 'digest', digest, 'per_minute', per_minute,
        'networks', CASE networks WHEN '' THEN json('[]')
            ELSE json('["' || replace(networks, ',', '","') || '"]') END,
        'created_at', created_at, 'expires_at', expires_at),
    created_at, 'migration', expires_at + 2592000000
FROM api_keys
WHERE gone = 0 AND typeof(id) = 'text' AND typeof(label) = 'text' AND typeof(digest) = 'text'
    AND typeof(networks) = 'text' AND typeof(created_at) = 'integer'
    AND typeof(expires_at) IN ('integer', 'null') AND typeof(per_minute) IN ('integer', 'null')
    AND json_valid('["' || replace(networks, ',', '","') || '"]');

INSERT INTO changes (topic, key, payload, at, instance, keep_until)
SELECT 'access', list || ':' || identifier,
    json_object('reason', reason, 'created_at', created_at, 'expires_at', expires_at),
    created_at, 'migration', expires_at
FROM access_list
WHERE gone = 0 AND typeof(list) = 'text' AND typeof(identifier) = 'text'
    AND typeof(reason) = 'text' AND typeof(created_at) = 'integer'
    AND typeof(expires_at) IN ('integer', 'null');

-- Nothing that was stored three months ago is usable any more.
INSERT INTO changes (topic, key, payload, at, instance, keep_until)
SELECT 'invalidation', 'soft ' || subject, '{}', soft_at, 'migration', soft_at + 7776000000
FROM invalidations
WHERE typeof(subject) = 'text' AND typeof(soft_at) = 'integer' AND soft_at > 0;

INSERT INTO changes (topic, key, payload, at, instance, keep_until)
SELECT 'invalidation', 'hard ' || subject, '{}', hard_at, 'migration', hard_at + 7776000000
FROM invalidations
WHERE typeof(subject) = 'text' AND typeof(hard_at) = 'integer' AND hard_at > 0;

DROP TABLE access_marks;
DROP TABLE access_list;
DROP TABLE api_keys;
DROP TABLE invalidations;
