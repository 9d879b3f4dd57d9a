-- What was asked and how often, so that the most wanted can be loaded again and the least wanted
-- leave first; what has been invalidated; and what parts of the service keep over a restart.
-- Times are milliseconds since the Unix epoch.

-- Rows of the first envelope cannot be read any more: all of them would be misses.
DELETE FROM cache_entries;

-- What was asked (JSON), if the entry can be loaded again from it.
ALTER TABLE cache_entries ADD COLUMN question TEXT NULL;
-- Uses, halved at each midnight (UTC) since `used_at`.
ALTER TABLE cache_entries ADD COLUMN uses BIGINT NOT NULL DEFAULT 0;
ALTER TABLE cache_entries ADD COLUMN used_at BIGINT NOT NULL DEFAULT 0;
-- What the row takes in the file, about.
ALTER TABLE cache_entries ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;

-- Both cover what cleaning and warming look at, so that neither walks through the entries.
CREATE INDEX cache_entries_uses ON cache_entries (uses, used_at, bytes);
CREATE INDEX cache_entries_asked ON cache_entries (uses, used_at) WHERE question IS NOT NULL;

-- A subject is a key, a tag or a pattern; what was stored at or before the time is stale or dead.
CREATE TABLE invalidations (
    subject TEXT NOT NULL PRIMARY KEY,
    soft_at BIGINT NOT NULL,
    hard_at BIGINT NOT NULL
);

-- One value (JSON) a name.
CREATE TABLE kept_state (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    at BIGINT NOT NULL
);
