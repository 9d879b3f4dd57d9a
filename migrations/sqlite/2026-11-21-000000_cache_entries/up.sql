-- The third cache tier: one row per cache key. `entry` is the checksummed envelope that every
-- tier stores; the times are copied out of it (milliseconds since the Unix epoch) for cleaning.
CREATE TABLE cache_entries (
    key TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    entry BLOB NOT NULL,
    stored_at BIGINT NOT NULL,
    stale_until BIGINT NOT NULL
);

CREATE INDEX cache_entries_stale_until ON cache_entries (stale_until);
