//! The database file locked, garbled, or never there, under a gateway that goes on.
//!
//! Owns: the rule of promise P7. No request fails while memory or the upstream can answer, what
//! memory holds is not touched, what cannot be written is dropped with a count, and it is said.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use breakwater::clock;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::front::Front;
use crate::support::gateway::Plan;

const DROPPED: &str = "cache_writes_dropped_total{tier=\"database\"}";

fn connect(file: &Path) -> SqliteConnection {
    let mut connection = SqliteConnection::establish(&file.to_string_lossy()).unwrap();
    connection.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    connection
}

fn rows(connection: &mut SqliteConnection) -> i64 {
    let count = diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT count(*) FROM cache_entries");
    count.get_result(connection).unwrap()
}

/// Overwrites every byte in place: a file that others have mapped must not become shorter.
fn garble(file: &Path) {
    let length = usize::try_from(fs::metadata(file).unwrap().len()).unwrap();
    let garbage: Vec<u8> =
        b"this is no database any more. ".iter().copied().cycle().take(length).collect();
    fs::File::options().write(true).open(file).unwrap().write_all(&garbage).unwrap();
}

fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = clock::monotonic() + Duration::from_secs(10);
    while !ready() {
        assert!(clock::monotonic() < deadline, "{what}: not in the end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_locked_file_costs_nothing_but_its_writes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.db");
    let mut front = Front::start(folder.path(), None);
    let mut beside = connect(&file);
    front.ask(1);
    until("the first row is stored", || rows(&mut beside) == 1);

    beside.batch_execute("BEGIN EXCLUSIVE").unwrap();
    (0..5).for_each(|_| drop(front.ask_anew()));
    assert_eq!(front.ask(1).tier, "memory");
    until("the writer gives up with a count", || front.metric(DROPPED) > 0.5);
    // Readers do not wait for a writer: what is there is still found.
    assert!(!front.ask_anew().misses("database"));
    beside.batch_execute("ROLLBACK").unwrap();

    let stored = rows(&mut beside);
    front.ask_anew();
    until("rows are stored again", || rows(&mut beside) > stored);
    front.stop();
}

#[test]
fn a_file_that_turns_to_garbage_is_left_alone_and_begun_anew_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.db");
    let mut front = Front::start(folder.path(), None);
    front.ask(1);
    until("the first row is stored", || rows(&mut connect(&file)) == 1);

    for name in ["gateway.db", "gateway.db-wal", "gateway.db-shm"] {
        garble(&folder.path().join(name));
    }
    front.until_misses("database", true);
    (0..20).for_each(|_| drop(front.ask_anew()));
    assert_eq!(front.ask(1).tier, "memory", "memory is not touched");
    assert_eq!(front.health_of("database"), "unhealthy");
    front.stop();

    let mut next = Front::start(folder.path(), None);
    assert!(!next.ask(1).misses("database"));
    assert_eq!(next.health_of("database"), "healthy");
    until("rows are stored again", || rows(&mut connect(&file)) >= 1);
    let aside = fs::read_dir(folder.path()).unwrap().filter_map(Result::ok);
    let kept = aside.filter(|file| file.file_name().to_string_lossy().contains(".corrupt-"));
    assert_eq!(kept.count(), 1, "what was there is kept for a look");
    next.stop();
}

#[test]
fn a_table_that_vanishes_is_noticed_without_traffic_and_healed_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.db");
    let mut front = Front::start(folder.path(), None);
    front.ask(1);
    let mut beside = connect(&file);
    beside.batch_execute("ALTER TABLE cache_entries RENAME TO elsewhere").unwrap();
    front.until_health("database", "unhealthy");
    assert!(front.ask(1).misses("database"));
    assert!(front.ask_anew().misses("database"));
    beside.batch_execute("ALTER TABLE elsewhere RENAME TO cache_entries").unwrap();
    front.until_health("database", "healthy");
    assert!(!front.ask_anew().misses("database"));
    front.stop();
}

#[test]
fn a_place_that_cannot_be_written_at_the_start_is_no_reason_not_to_serve() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a-file"), "no folder").unwrap();
    let unwritable = folder.path().join("a-file").join("gateway.db");
    let plan = Plan::in_folder(folder.path())
        .with("DATABASE_URL", format!("sqlite://{}", unwritable.display()));
    goes_on_without(&plan, folder.path());
}

#[test]
fn a_file_that_is_locked_at_the_start_is_no_reason_not_to_serve() {
    let folder = tempfile::tempdir().unwrap();
    let mut beside = connect(&folder.path().join("gateway.db"));
    beside.batch_execute("CREATE TABLE held (n INTEGER); BEGIN EXCLUSIVE").unwrap();
    goes_on_without(&Plan::in_folder(folder.path()), folder.path());
}

/// Answers from memory and upstream, and says that the third tier is missing.
fn goes_on_without(plan: &Plan, folder: &Path) {
    let mut front = Front::start_as(plan, folder);
    let first = front.ask(1);
    assert_eq!((first.tier.as_str(), first.misses("database")), ("none", true));
    assert_eq!(front.ask(1).tier, "memory");
    (0..10).for_each(|_| drop(front.ask_anew()));
    assert_eq!(front.health_of("database"), "unhealthy");
    front.stop();
}
