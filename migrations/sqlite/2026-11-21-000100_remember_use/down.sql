DROP TABLE kept_state;
DROP TABLE invalidations;
DROP INDEX cache_entries_asked;
DROP INDEX cache_entries_uses;
ALTER TABLE cache_entries DROP COLUMN bytes;
ALTER TABLE cache_entries DROP COLUMN used_at;
ALTER TABLE cache_entries DROP COLUMN uses;
ALTER TABLE cache_entries DROP COLUMN question;
