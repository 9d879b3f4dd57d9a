//! What a store remembers between two checks of its file, and what follows from it.
//!
//! Owns: how often to try, when to check, whether to believe an error, as plain decisions of state and
//! time; names and identities of the file and of what belongs to it (the write-ahead log and its index),
//! and the quarantine of a broken one. Never opens the files: to close a file drops all locks this process
//! has on it, SQLite's too.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{DatabaseError, Harm};
use crate::clock::Timestamp;
use crate::resilience::backoff::Backoff;

/// Between two attempts to open.
const WAITS: Backoff =
    Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(5) };
/// So long without trouble, and the waits begin anew.
const QUIET: Duration = Duration::from_secs(30);
/// Between two looks from outside.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A file that was read without a fault and is called broken again within this time is.
const TRUSTED_FOR: Duration = Duration::from_secs(60);
/// Statements that began before an opening have ended.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// Files quarantined within the time: more would only fill the disk.
const MOST_QUARANTINED: usize = 5;
const QUARANTINED_WITHIN: Duration = Duration::from_secs(600);

#[derive(Default)]
pub(super) struct Care {
    pub(super) files: Option<Identities>,
    pub(super) suspect: bool,
    /// When the file was last read from end to end without a fault.
    pub(super) read_through_at: Option<Instant>,
    tried_at: Option<Instant>,
    /// Attempts to open, without such a time between them.
    attempts: u32,
    looked_at: Option<Instant>,
    pub(super) quarantined_at: VecDeque<Instant>,
    /// The last reason given for its absence.
    pub(super) reported: Option<String>,
    /// The process stops: it is not opened again.
    pub(super) closed: bool,
}

impl Care {
    pub(super) fn is_to_look(&mut self, at: Instant) -> bool {
        let due =
            self.looked_at.is_none_or(|before| at.saturating_duration_since(before) >= LOOK_EVERY);
        if due {
            self.looked_at = Some(at);
        }
        due
    }

    pub(super) fn is_settling(&self, at: Instant) -> bool {
        self.tried_at.is_some_and(|tried| at.saturating_duration_since(tried) < SETTLED_AFTER)
    }

    pub(super) fn may_try(&self, at: Instant) -> bool {
        self.tried_at
            .is_none_or(|tried| at.saturating_duration_since(tried) >= WAITS.wait(self.attempts))
    }

    pub(super) fn tried(&mut self, at: Instant) {
        let quiet =
            self.tried_at.is_none_or(|before| at.saturating_duration_since(before) >= QUIET);
        self.attempts = if quiet { 1 } else { self.attempts.saturating_add(1) };
        self.tried_at = Some(at);
    }

    /// A file that breaks although it could be read is not read again.
    pub(super) fn distrust(&self, at: Instant) -> Option<DatabaseError> {
        let read = self.read_through_at.filter(|_| self.suspect)?;
        (at.saturating_duration_since(read) < TRUSTED_FOR).then(|| {
            DatabaseError::new("called broken again soon after it was read").of(Harm::File)
        })
    }

    /// Whether one more file may be quarantined.
    pub(super) fn may_quarantine(&mut self, at: Instant) -> Result<(), &'static str> {
        self.quarantined_at.retain(|then| at.saturating_duration_since(*then) < QUARANTINED_WITHIN);
        if self.quarantined_at.len() < MOST_QUARANTINED {
            Ok(())
        } else {
            Err("quarantined too often")
        }
    }
}

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
    use std::fs;

    use super::*;

    #[test]
    fn attempts_become_rare_and_often_again_after_quiet() {
        let start = crate::clock::monotonic();
        let mut care = Care::default();
        let mut at = start;
        let mut waits = Vec::new();
        for _ in 0..7 {
            assert!(care.may_try(at));
            care.tried(at);
            let wait = WAITS.wait(care.attempts);
            waits.push(wait.as_millis());
            assert!(!care.may_try(at + wait - Duration::from_millis(1)));
            at += wait;
        }
        assert_eq!(waits, [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        care.tried(at + QUIET);
        assert_eq!(care.attempts, 1);
    }

    #[test]
    fn a_file_called_broken_twice_within_a_minute_is() {
        let at = crate::clock::monotonic();
        let mut care = Care { suspect: true, read_through_at: Some(at), ..Care::default() };
        assert_eq!(care.distrust(at + TRUSTED_FOR / 2).unwrap().harm(), Harm::File);
        assert!(care.distrust(at + TRUSTED_FOR).is_none());
        care.suspect = false;
        assert!(care.distrust(at).is_none());
    }

    #[test]
    fn not_more_than_a_few_files_are_kept_within_ten_minutes() {
        let at = crate::clock::monotonic();
        let mut care = Care { quarantined_at: [at; MOST_QUARANTINED].into(), ..Care::default() };
        assert!(care.may_quarantine(at).is_err());
        assert!(care.may_quarantine(at + QUARANTINED_WITHIN).is_ok());
    }

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
