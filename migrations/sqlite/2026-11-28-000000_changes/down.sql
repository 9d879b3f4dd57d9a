CREATE TABLE invalidations (
    subject TEXT NOT NULL PRIMARY KEY,
    soft_at BIGINT NOT NULL,
    hard_at BIGINT NOT NULL
);
CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    label TEXT NOT NULL,
    digest TEXT NOT NULL,
    per_minute BIGINT NULL,
    networks TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NULL,
    gone INTEGER NOT NULL,
    stamp TEXT NOT NULL,
    change BIGINT NOT NULL
);
CREATE INDEX api_keys_change ON api_keys (change);
CREATE TABLE access_list (
    list TEXT NOT NULL,
    identifier TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NULL,
    gone INTEGER NOT NULL,
    stamp TEXT NOT NULL,
    change BIGINT NOT NULL,
    PRIMARY KEY (list, identifier)
);
CREATE INDEX access_list_change ON access_list (change);
CREATE TABLE access_marks (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    mark TEXT NOT NULL
);

-- A removal is a row that is gone: without it an instance that shares Redis may bring its subject back.
INSERT INTO api_keys
SELECT substr(key, 5), coalesce(json_extract(payload, '$.label'), ''),
    coalesce(json_extract(payload, '$.digest'), ''), json_extract(payload, '$.per_minute'),
    coalesce((SELECT group_concat(value, ',') FROM json_each(payload, '$.networks')), ''),
    coalesce(json_extract(payload, '$.created_at'), at), json_extract(payload, '$.expires_at'),
    payload IS NULL, printf('%015d%020d', at, 0), id
FROM changes
WHERE topic = 'access' AND key LIKE 'key:%' AND (payload IS NULL OR json_valid(payload));

INSERT INTO access_list
SELECT substr(key, 1, instr(key, ':') - 1), substr(key, instr(key, ':') + 1),
    coalesce(json_extract(payload, '$.reason'), ''),
    coalesce(json_extract(payload, '$.created_at'), at), json_extract(payload, '$.expires_at'),
    payload IS NULL, printf('%015d%020d', at, 0), id
FROM changes
WHERE topic = 'access' AND (key LIKE 'allow:%' OR key LIKE 'deny:%')
    AND (payload IS NULL OR json_valid(payload));

INSERT INTO invalidations
SELECT substr(key, 6), max(CASE substr(key, 1, 4) WHEN 'soft' THEN at ELSE 0 END),
    max(CASE substr(key, 1, 4) WHEN 'hard' THEN at ELSE 0 END)
FROM changes
WHERE topic = 'invalidation'
GROUP BY substr(key, 6);

DROP TABLE changes;
