//! Which file is open, and the quarantine of a broken one.
//!
//! Owns: names and identities of the file and of what belongs to it (the write-ahead log and its
//! index). Never opens them: to close a file drops all locks this process has on it, SQLite's too.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::clock::Timestamp;

const LOG: &str = "-wal";
const INDEX: &str = "-shm";

/// Device and inode.
type Identity = (u64, u64);

/// Which files are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identities {
    main: Identity,
    log: Option<Identity>,
    index: Option<Identity>,
}

impl Identities {
    /// Those at `path` now; none when the file is gone.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let log = identity(&named(path, LOG));
        let index = identity(&named(path, INDEX));
        identity(path).map(|main| Self { main, log, index })
    }

    /// Whether the file is still the same one.
    pub(super) fn is_still(&self, found: Option<&Self>) -> bool {
        found.is_some_and(|found| found.main == self.main)
    }
}

fn identity(path: &Path) -> Option<Identity> {
    std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

fn named(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn free_name(path: &Path, now: Timestamp) -> PathBuf {
    let first = named(path, &format!(".corrupt-{}", now.as_millis()));
    let more = (1..100).map(|n| named(path, &format!(".corrupt-{}-{n}", now.as_millis())));
    // Nothing that was quarantined before is overwritten.
    let is_free = |name: &PathBuf| !name.exists() && !named(name, LOG).exists();
    std::iter::once(first.clone()).chain(more).find(is_free).unwrap_or(first)
}

/// Moves the file and its log to names that say what they are.
///
/// # Errors
/// The folder cannot be written.
pub(super) fn quarantine(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let aside = free_name(path, now);
    // First the file: from then on no connection that is still open touches what is beside it.
    std::fs::rename(path, &aside)?;
    keep_log(path, &aside)?;
    drop_index(path)?;
    Ok(aside)
}

/// After the file was replaced or deleted: quarantines what belonged to the old one. A log would
/// be replayed into whatever file is there now.
///
/// # Errors
/// The folder cannot be written.
pub(super) fn part_from(path: &Path, old: Identities, now: Timestamp) -> io::Result<()> {
    let mine = |suffix, old: Option<Identity>| {
        let found = identity(&named(path, suffix));
        found.is_some() && (found == old || identity(path).is_none())
    };
    if mine(LOG, old.log) {
        keep_log(path, &free_name(path, now))?;
    }
    if mine(INDEX, old.index) { drop_index(path) } else { Ok(()) }
}

fn keep_log(path: &Path, aside: &Path) -> io::Result<()> {
    if_there(std::fs::rename(named(path, LOG), named(aside, LOG)))
}

/// Made anew from the log whenever it is needed.
fn drop_index(path: &Path) -> io::Result<()> {
    if_there(std::fs::remove_file(named(path, INDEX)))
}

fn if_there(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const NOW: Timestamp = Timestamp::from_millis(7);

    #[test]
    fn the_file_and_its_log_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        for (name, body) in [("x.db", "a"), ("x.db-wal", "b"), ("x.db-shm", "c")] {
            fs::write(folder.path().join(name), body).unwrap();
        }
        let aside = quarantine(&path, NOW).unwrap();
        assert_eq!(fs::read_to_string(&aside).unwrap(), "a");
        assert_eq!(fs::read_to_string(named(&aside, LOG)).unwrap(), "b");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        fs::write(&path, "again").unwrap();
        assert_ne!(quarantine(&path, NOW).unwrap(), aside, "nothing is overwritten");
    }

    #[test]
    fn a_log_that_came_with_the_new_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        fs::write(&path, "old").unwrap();
        fs::write(named(&path, LOG), "old").unwrap();
        let old = Identities::at(&path).unwrap();
        for name in ["new", "new-wal"] {
            fs::write(folder.path().join(name), "new").unwrap();
        }
        fs::rename(folder.path().join("new"), &path).unwrap();
        fs::rename(folder.path().join("new-wal"), named(&path, LOG)).unwrap();
        assert!(!old.is_still(Identities::at(&path).as_ref()));
        part_from(&path, old, NOW).unwrap();
        assert!(named(&path, LOG).exists());
        part_from(&path, Identities::at(&path).unwrap(), NOW).unwrap();
        assert!(!named(&path, LOG).exists());
    }
}
