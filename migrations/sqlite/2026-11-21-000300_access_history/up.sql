-- Each time that keys or lists are changed, a mark that is never drawn twice. Whoever reads on from
-- what it has seen looks whether the last mark it saw is still there: in a file that was put back to
-- what it was (from a backup) it is not, whatever the numbers of its changes. The oldest leave.
CREATE TABLE access_marks (
    -- Grows, also over deletions.
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    mark TEXT NOT NULL
);
-- What the file was called before; a mark says it as well.
DELETE FROM kept_state WHERE name = 'access_file';
