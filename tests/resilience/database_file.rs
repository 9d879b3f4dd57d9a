//! The database file locked, garbled, or never there, under a gateway that goes on.
//!
//! Owns: the rule of promise P7. No request fails while memory or the upstream can answer, what
//! memory holds is not touched, what cannot be written is kept within bounds, and it is said. A
//! broken file is replaced without a restart.

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

/// Zero while there is no table.
fn rows(connection: &mut SqliteConnection) -> i64 {
    let count = diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT count(*) FROM cache_entries");
    count.get_result(connection).unwrap_or(0)
}

/// Overwrites every byte in place: a file that others have mapped must not become shorter. One that is
/// not there was moved aside already, with the one before it.
fn garble(file: &Path) {
    let Ok(mut opened) = fs::File::options().write(true).open(file) else { return };
    let length = usize::try_from(opened.metadata().unwrap().len()).unwrap();
    let garbage: Vec<u8> =
        b"this is no database any more. ".iter().copied().cycle().take(length).collect();
    opened.write_all(&garbage).unwrap();
}

fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = clock::monotonic() + Duration::from_secs(10);
    while !ready() {
        assert!(clock::monotonic() < deadline, "{what}: not in the end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Files that were moved aside.
fn aside(folder: &Path) -> usize {
    let files = fs::read_dir(folder).unwrap().filter_map(Result::ok);
    let name = |file: fs::DirEntry| file.file_name().to_string_lossy().into_owned();
    files.map(name).filter(|name| name.contains(".corrupt-") && !name.ends_with("-wal")).count()
}

#[test]
fn a_locked_file_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.db");
    let mut front = Front::start(folder.path(), None);
    let mut beside = connect(&file);
    front.ask(1);
    until("the first row is stored", || rows(&mut beside) == 1);

    beside.batch_execute("BEGIN EXCLUSIVE").unwrap();
    (0..5).for_each(|_| drop(front.ask_anew()));
    assert_eq!(front.ask(1).tier, "memory");
    // Readers do not wait for a writer: it is readable, but refuses writes.
    front.until_health("database", "degraded");
    beside.batch_execute("ROLLBACK").unwrap();

    until("what was refused is stored after all", || rows(&mut beside) == 6);
    assert!(front.metric(DROPPED) < 0.5);
    front.stop();
}

#[test]
fn an_invalidation_does_not_wait_for_who_holds_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Plan::in_folder(folder.path()).start();
    let mut admin = gateway.admin();
    let search = "/api/products/search?keywords=phone";
    assert_eq!(admin.get(search).unwrap().status, 200);
    let mut beside = connect(&folder.path().join("gateway.db"));
    until("the row is stored", || rows(&mut beside) == 1);

    beside.batch_execute("BEGIN EXCLUSIVE").unwrap();
    // There is something that the writer cannot store: waiting for it took five seconds more.
    assert_eq!(admin.get("/api/categories").unwrap().status, 200);
    let began = clock::monotonic();
    let told = admin.post("/api/cache/clear").unwrap().json()["data"].clone();
    let took = clock::monotonic() - began;
    beside.batch_execute("ROLLBACK").unwrap();
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!((&told["unreached"][0], &told["complete"]), (&"database".into(), &false.into()));
    assert_eq!(told["replayed_later"], true, "{told}");
    assert_eq!(admin.get(search).unwrap().json()["metadata"]["cache_hit"], false);
    gateway.stop();
}

#[test]
fn who_looks_into_the_file_from_outside_takes_nothing_away() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.db");
    // The second one finds a file that is there already.
    Front::start(folder.path(), None).stop();
    let mut front = Front::start(folder.path(), None);
    for stored in 1..5 {
        front.ask_anew();
        // Each look is a connection that ends: the last one of a file takes the log away.
        until("the row is stored", || rows(&mut connect(&file)) == stored);
        assert!(folder.path().join("gateway.db-wal").exists(), "the gateway writes into it");
    }
    front.stop();
}

#[test]
fn a_file_that_turns_to_garbage_is_moved_aside_and_begun_anew_while_requests_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.db");
    let mut front = Front::start(folder.path(), None);
    front.ask(1);
    until("the first row is stored", || rows(&mut connect(&file)) == 1);

    for name in ["gateway.db", "gateway.db-wal", "gateway.db-shm"] {
        garble(&folder.path().join(name));
    }
    until("it is moved aside", || {
        front.ask_anew();
        aside(folder.path()) == 1
    });
    front.until_misses("database", false);
    assert_eq!(front.ask(1).tier, "memory", "memory is not touched");
    front.until_health("database", "healthy");
    until("rows are stored again", || {
        front.ask_anew();
        rows(&mut connect(&file)) >= 1
    });
    assert_eq!(aside(folder.path()), 1, "what was there is kept for a look");
    front.stop();
}

#[test]
fn a_file_that_is_deleted_is_begun_anew_without_traffic() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.db");
    let mut front = Front::start(folder.path(), None);
    front.ask(1);
    until("the first row is stored", || rows(&mut connect(&file)) == 1);
    fs::remove_file(&file).unwrap();
    until("there is a new one", || file.exists());
    front.until_health("database", "healthy");
    front.ask_anew();
    until("rows are stored again", || rows(&mut connect(&file)) >= 1);
    front.stop();
}

#[test]
fn a_file_that_loses_a_table_is_quarantined_without_traffic() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.db");
    let mut front = Front::start(folder.path(), None);
    front.ask(1);
    let mut beside = connect(&file);
    until("the first row is stored", || rows(&mut beside) == 1);
    beside.batch_execute("ALTER TABLE cache_entries RENAME TO elsewhere").unwrap();
    drop(beside);
    until("it is quarantined", || aside(folder.path()) == 1);
    front.until_health("database", "healthy");
    assert_eq!(front.ask(1).tier, "memory");
    front.ask_anew();
    until("rows are stored again", || rows(&mut connect(&file)) >= 1);
    front.stop();
}

#[test]
fn a_place_that_cannot_be_written_at_the_start_is_used_when_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let later = folder.path().join("a-file");
    fs::write(&later, "no folder").unwrap();
    let unwritable = later.join("gateway.db");
    let plan = Plan::in_folder(folder.path())
        .with("DATABASE_URL", format!("sqlite://{}", unwritable.display()));
    let mut front = goes_on_without(&plan, folder.path());
    fs::remove_file(&later).unwrap();
    fs::create_dir(&later).unwrap();
    front.until_health("database", "healthy");
    until("what waited is stored", || rows(&mut connect(&unwritable)) >= 1);
    front.stop();
}

#[test]
fn a_file_that_is_locked_at_the_start_is_used_when_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.db");
    let mut beside = connect(&file);
    beside.batch_execute("CREATE TABLE held (n INTEGER); BEGIN EXCLUSIVE").unwrap();
    let mut front = goes_on_without(&Plan::in_folder(folder.path()), folder.path());
    drop(beside);
    front.until_health("database", "healthy");
    until("what waited is stored", || rows(&mut connect(&file)) >= 1);
    front.stop();
}

/// Answers from memory and upstream, and says that the third tier is missing.
fn goes_on_without(plan: &Plan, folder: &Path) -> Front {
    let mut front = Front::start_as(plan, folder);
    let first = front.ask(1);
    assert_eq!((first.tier.as_str(), first.misses("database")), ("none", true));
    assert_eq!(front.ask(1).tier, "memory");
    (0..10).for_each(|_| drop(front.ask_anew()));
    assert_eq!(front.health_of("database"), "unhealthy");
    front
}
