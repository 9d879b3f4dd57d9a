-- What exactly was done: the reason and end of an entry, the label, limit, networks and end of a key.
ALTER TABLE audit_log ADD COLUMN details TEXT NOT NULL DEFAULT '';
