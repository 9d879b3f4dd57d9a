//! Two instances on one file: what one writes the other follows, over outages, losses and damage.

use std::path::{Path, PathBuf};

use diesel::connection::SimpleConnection;
use tempfile::TempDir;

use super::*;
use crate::clock;
use crate::database::DatabaseSettings;

/// A topic that keeps what it receives.
#[derive(Default)]
struct Notes(Mutex<BTreeMap<String, String>>);

impl Notes {
    fn all(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().clone().into_iter().collect()
    }
}

impl Topic for Notes {
    fn name(&self) -> &'static str {
        "notes"
    }

    fn apply(&self, changes: &[Change], whole: bool) -> usize {
        let mut notes = self.0.lock().unwrap();
        if whole {
            notes.clear();
        }
        let mut unreadable = 0;
        for change in changes {
            match &change.payload {
                Some(payload) if payload == "bad" => unreadable += 1,
                Some(payload) => drop(notes.insert(change.key.clone(), payload.clone())),
                None => drop(notes.remove(&change.key)),
            }
        }
        unreadable
    }

    fn state(&self) -> Vec<Draft> {
        self.all().into_iter().map(|(key, payload)| note(&key, &payload)).collect()
    }
}

fn note(key: &str, payload: &str) -> Draft {
    let (key, payload) = (key.to_owned(), Some(payload.to_owned()));
    Draft { topic: "notes", key, payload, at: clock::now(), keep_until: None }
}

struct Instance {
    notes: Arc<Notes>,
    changes: Changes,
    store: Store,
}

impl Instance {
    fn at(path: &Path) -> Self {
        let (store, _) = Store::open(DatabaseSettings::at(path), clock::monotonic(), clock::now());
        let notes = Arc::new(Notes::default());
        let topic: Arc<dyn Topic> = Arc::<Notes>::clone(&notes);
        let changes =
            Changes::new(store.clone(), vec![topic], Logger::root(slog::Discard, slog::o!()));
        Self { notes, changes, store }
    }

    /// What it knows after it has read on.
    async fn knows(&self) -> Vec<(String, String)> {
        self.changes.catch_up().await.unwrap();
        self.notes.all()
    }

    async fn reopened(&self, before: u64) {
        // A store that was opened a moment ago does not look again at once.
        let until = clock::monotonic() + Duration::from_secs(10);
        while self.store.openings() == before {
            drop(self.store.look_after(clock::monotonic(), clock::now()));
            assert!(clock::monotonic() < until, "it is opened again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    (folder, path)
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(key, payload)| ((*key).to_owned(), (*payload).to_owned())).collect()
}

fn execute(path: &Path, statement: &str) {
    use diesel::Connection as _;
    let mut connection = diesel::SqliteConnection::establish(&path.to_string_lossy()).unwrap();
    connection.batch_execute(statement).unwrap();
}

#[tokio::test]
async fn a_change_is_in_force_here_at_once_and_there_when_it_is_read() {
    let (_folder, path) = file();
    let (a, b) = (Instance::at(&path), Instance::at(&path));
    assert!(!a.changes.was_read());
    a.changes.commit(note("x", "1")).await.unwrap();
    assert_eq!(a.notes.all(), pairs(&[("x", "1")]));
    assert!(a.changes.was_read());
    assert_eq!(b.knows().await, pairs(&[("x", "1")]));
    b.changes.commit(note("x", "2")).await.unwrap();
    b.changes.commit(note("y", "3")).await.unwrap();
    assert_eq!(a.knows().await, pairs(&[("x", "2"), ("y", "3")]));
    a.changes.commit(Draft::removal("notes", "x".to_owned(), clock::now())).await.unwrap();
    assert_eq!(b.knows().await, pairs(&[("y", "3")]));
    // One that comes later finds the state, and no history.
    assert_eq!(Instance::at(&path).knows().await, pairs(&[("y", "3")]));
}

#[tokio::test]
async fn a_commit_always_wins_and_an_announcement_only_against_what_is_older() {
    let (_folder, path) = file();
    let a = Instance::at(&path);
    let ahead = clock::now().plus(Duration::from_secs(60));
    a.changes.commit(Draft { at: ahead, ..note("x", "ahead") }).await.unwrap();
    assert_eq!(a.changes.announce(note("x", "late")).await, Delivery::Written);
    assert_eq!(a.knows().await, pairs(&[("x", "ahead")]));
    a.changes.commit(note("x", "2")).await.unwrap();
    assert_eq!(a.knows().await, pairs(&[("x", "2")]));
}

#[tokio::test]
async fn while_the_database_is_locked_a_commit_fails_and_an_announcement_waits() {
    let (_folder, path) = file();
    let (a, b) = (Instance::at(&path), Instance::at(&path));
    a.changes.commit(note("x", "1")).await.unwrap();
    let mut lock = b.store.lend().unwrap();
    lock.batch_execute("BEGIN IMMEDIATE").unwrap();
    let refused = a.changes.commit(note("x", "2")).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(a.knows().await, pairs(&[("x", "1")]), "nothing was changed");
    assert_eq!(a.changes.announce(note("y", "1")).await, Delivery::Pending);
    assert_eq!(a.changes.announce(note("y", "2")).await, Delivery::Pending);
    assert_eq!(a.notes.all(), pairs(&[("x", "1"), ("y", "2")]), "in force here");
    assert_eq!(a.changes.counts().pending, 1);
    assert_eq!(b.knows().await, pairs(&[("x", "1")]));
    lock.batch_execute("COMMIT").unwrap();
    a.changes.write_pending().await.unwrap();
    assert_eq!(a.changes.counts().pending, 0);
    assert_eq!(b.knows().await, pairs(&[("x", "1"), ("y", "2")]));
}

#[tokio::test]
async fn rows_that_cannot_be_read_are_counted_and_hold_nothing_up() {
    let (_folder, path) = file();
    let a = Instance::at(&path);
    a.changes.commit(note("x", "1")).await.unwrap();
    execute(
        &path,
        "INSERT INTO changes (topic, key, payload, at, instance) VALUES \
         ('notes', 'b', 'bad', 0, ''), ('notes', x'ff', '1', 'text', ''), \
         ('notes', 'c', x'ff', 0, ''), ('unknown', 'd', '1', 0, '')",
    );
    a.changes.commit(note("y", "1")).await.unwrap();
    assert_eq!(a.notes.all(), pairs(&[("x", "1"), ("y", "1")]));
    assert_eq!(a.changes.counts().unreadable, 3);
}

#[tokio::test]
async fn a_log_that_was_lost_gets_what_an_instance_knows() {
    let (_folder, path) = file();
    let (a, b) = (Instance::at(&path), Instance::at(&path));
    a.changes.commit(note("x", "1")).await.unwrap();
    a.changes.commit(note("gone", "1")).await.unwrap();
    b.knows().await;
    a.changes.commit(Draft::removal("notes", "gone".to_owned(), clock::now())).await.unwrap();
    let before = (a.store.openings(), b.store.openings());
    std::fs::remove_file(&path).unwrap();
    a.reopened(before.0).await;
    assert_eq!(a.knows().await, pairs(&[("x", "1")]));
    b.reopened(before.1).await;
    b.changes.commit(note("y", "1")).await.unwrap();
    for instance in [&a, &b, &Instance::at(&path)] {
        let known = instance.knows().await;
        assert!(known.ends_with(&pairs(&[("x", "1"), ("y", "1")])), "{known:?}");
    }
}

#[tokio::test]
async fn a_log_that_is_put_back_from_a_backup_counts_as_it_is() {
    let (folder, path) = file();
    let a = Instance::at(&path);
    a.changes.commit(note("x", "1")).await.unwrap();
    let backup = folder.path().join("backup.db");
    execute(&path, &format!("VACUUM INTO '{}'", backup.display()));
    a.changes.commit(note("x", "2")).await.unwrap();
    a.changes.commit(note("y", "2")).await.unwrap();
    let before = a.store.openings();
    std::fs::rename(&backup, &path).unwrap();
    a.reopened(before).await;
    assert_eq!(a.knows().await, pairs(&[("x", "1")]));
}

#[tokio::test]
async fn what_nobody_needs_any_more_is_swept_and_no_number_is_given_twice() {
    let (_folder, path) = file();
    let (a, b) = (Instance::at(&path), Instance::at(&path));
    a.changes.commit(note("x", "1")).await.unwrap();
    b.knows().await;
    let old = clock::now().minus(REMOVAL_KEPT).minus(Duration::from_secs(1));
    a.changes.commit(Draft::removal("notes", "old".to_owned(), old)).await.unwrap();
    let mut connection = a.store.lend().unwrap();
    assert_eq!(table::sweep(&mut connection, clock::now()).unwrap(), 1);
    drop(connection);
    a.changes.commit(note("y", "1")).await.unwrap();
    assert_eq!(b.knows().await, pairs(&[("x", "1"), ("y", "1")]));
}
