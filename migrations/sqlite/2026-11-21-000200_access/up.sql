-- Who may come in, and what admins did. Times are milliseconds since the Unix epoch.
--
-- A row says what is known of its subject since `stamp` (35 digits, later ones are greater); one that
-- is `gone` says that the subject was removed then, and stays for as long as somebody may still hold
-- an older version. `change` grows with every change within its table, so that each process that
-- shares the file can read on from what it has seen.

CREATE TABLE api_keys (
    -- Twelve hexadecimal digits.
    id TEXT NOT NULL PRIMARY KEY,
    label TEXT NOT NULL,
    -- SHA-256 of the key, in hexadecimal digits. The key itself is nowhere.
    digest TEXT NOT NULL,
    per_minute BIGINT NULL,
    -- Addresses and networks with commas between; empty: anywhere.
    networks TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NULL,
    gone INTEGER NOT NULL,
    stamp TEXT NOT NULL,
    change BIGINT NOT NULL
);
CREATE INDEX api_keys_change ON api_keys (change);

CREATE TABLE access_list (
    -- `allow` or `deny`.
    list TEXT NOT NULL,
    -- An address, a network, or the id of a key.
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

-- What admins did; never a secret.
CREATE TABLE audit_log (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    outcome TEXT NOT NULL,
    request_id TEXT NOT NULL
);
