//! Files as they are found at the start, and those that cannot be opened yet.

use std::fs;
use std::time::Duration;

use super::{Bench, NOW, beside, words};
use crate::clock;
use crate::database::{DatabaseSettings, Event, Store};
use diesel::connection::SimpleConnection;

#[test]
fn nothing_is_done_while_all_is_well() {
    let mut bench = Bench::new();
    bench.store_rows(10);
    assert_eq!((0..5).map(|_| bench.look().len()).sum::<usize>(), 0);
    assert_eq!(bench.count(), Ok(10));
}

#[test]
fn several_stores_open_a_new_file_together() {
    // Several at a time, so that the threads of a pool are held up at bad moments.
    let folder = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let path = folder.path().join(format!("{round}.db"));
        let openers = [(); 4].map(|()| {
            let path = path.clone();
            std::thread::spawn(move || {
                let mut at = clock::monotonic();
                let (store, mut events) = Store::open(DatabaseSettings::at(&path), at, NOW);
                // Another one may be at it: what counts is that it comes right by itself.
                for _ in 0..20 {
                    if store.is_open() {
                        break;
                    }
                    at += Duration::from_secs(10);
                    events = store.look_after(at, NOW);
                }
                assert!(store.lend().is_ok(), "{}", words(&events));
                assert!(!words(&events).contains("quarantined"));
            })
        });
        openers.into_iter().for_each(|opener| opener.join().unwrap());
    }
}

#[test]
fn garbage_at_the_start_is_quarantined() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    fs::write(&path, "not a database at all, sorry. ".repeat(300)).unwrap();
    let (store, events) = Store::open(DatabaseSettings::at(&path), clock::monotonic(), NOW);
    let [Event::Quarantined(aside), Event::Opened] = &events[..] else { panic!("{events:?}") };
    assert!(fs::read_to_string(aside).unwrap().starts_with("not a database"));
    assert!(store.lend().is_ok());
}

#[test]
fn what_could_not_be_opened_is_opened_when_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("later").join("x.db");
    let mut at = clock::monotonic();
    let (store, events) = Store::open(DatabaseSettings::at(&path), at, NOW);
    assert!(matches!(&events[..], [Event::Lost(_)]), "{events:?}");
    assert!(store.lend().is_err() && store.absence().is_some());
    assert_eq!(store.look_after(at, NOW), [], "not at once again");
    at += Duration::from_secs(1);
    assert_eq!(store.look_after(at, NOW), [], "nothing new to say");
    fs::create_dir(folder.path().join("later")).unwrap();
    at += Duration::from_secs(5);
    assert_eq!(store.look_after(at, NOW), [Event::Opened]);
    assert!(store.lend().is_ok() && store.absence().is_none());
}

#[test]
fn a_lock_is_no_reason_to_give_the_file_up() {
    let mut bench = Bench::new();
    bench.store_rows(10);
    let mut other = beside(&bench.path());
    other.batch_execute("BEGIN EXCLUSIVE").unwrap();
    assert!(bench.run("DELETE FROM cache_entries").unwrap_err().contains("locked"));
    assert_eq!((bench.count(), bench.look()), (Ok(10), Vec::new()));
}

/// What a kill or a torn copy leaves: any length of the file, any length of its log.
#[test]
fn any_cut_of_file_and_log_is_used_or_quarantined() {
    let bench = Bench::new();
    bench.store_rows(30);
    bench.run("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    bench.run("DELETE FROM cache_entries WHERE stored_at = 1").unwrap();
    bench.store_rows(40);
    let main = fs::read(bench.path()).unwrap();
    let log = fs::read(bench.folder.path().join("x.db-wal")).unwrap();
    let cuts = |bytes: &[u8]| -> Vec<usize> {
        (0..=9).map(|n| bytes.len() * n / 9).chain([1, 24, 100, 4_096, 4_097, 9_000]).collect()
    };
    let whole_main = cuts(&log).into_iter().map(|cut| (main.len(), cut));
    let whole_log = cuts(&main).into_iter().map(|cut| (cut, log.len()));
    let no_log = cuts(&main).into_iter().map(|cut| (cut, 0));
    for (main_cut, log_cut) in whole_main.chain(whole_log).chain(no_log) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        fs::write(&path, &main[..main_cut.min(main.len())]).unwrap();
        fs::write(folder.path().join("x.db-wal"), &log[..log_cut.min(log.len())]).unwrap();
        let at = clock::monotonic();
        let (store, events) = Store::open(DatabaseSettings::at(&path), at, NOW);
        let mut cut = Bench { folder, store, at };
        let which = format!("cut at {main_cut} and {log_cut}: {}", words(&events));
        assert!(cut.store.is_open(), "{which}");
        let found = cut.count();
        assert!(matches!(found, Ok(0 | 30 | 40) | Err(_)), "{which}: {found:?} rows");
        // It may look whole until somebody meets what is missing.
        let healed = (0..3).any(|_| {
            let gone = cut.run("DELETE FROM cache_entries");
            cut.look();
            gone.is_ok()
        });
        assert!(healed, "{which}");
        cut.store_rows(2);
        assert_eq!(cut.count(), Ok(2), "{which}");
    }
}
