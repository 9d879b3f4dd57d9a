DROP TABLE changes;
DROP TABLE audit_log;
DROP TABLE kept_state;
DROP TABLE cache_entries;
