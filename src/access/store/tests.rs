//! Rows written, read by others, torn, lost, and a file that is another one.

use std::net::Ipv4Addr;
use std::path::Path;

use diesel::connection::SimpleConnection;

use super::*;
use crate::access::identifier::Identifier;
use crate::access::record::{Entry, GONE_FOR, ListName, StoredKey};
use crate::access::{Bounds, Verdict, Wanted};
use crate::config;
use crate::limits::KeyId;

struct Process {
    store: Store,
    access: Access,
    position: Position,
}

impl Process {
    fn at(path: &Path) -> Self {
        let (store, _) = Store::open(path, 2, clock::monotonic(), clock::now());
        let settings = config::Access { admin_key: None, internal_key: None, require_key: false };
        let access = Access::new(&settings, fastrand::u32(..), Bounds::default(), false);
        Self { store, access, position: Position::default() }
    }

    fn exchange(&mut self) -> Exchanged {
        exchange(&self.store, &self.access, &mut self.position).unwrap()
    }

    fn sql(&self, text: &str) {
        self.store.lend().unwrap().batch_execute(text).unwrap();
    }

    fn deny(&self, number: u32) {
        let now = clock::now();
        let entry = Entry { reason: "o'clock; --".into(), created_at: now, expires_at: None };
        self.access.put(ListName::Deny, who(number), entry, now).unwrap();
    }

    fn denies(&self, number: u32) -> bool {
        self.access.judge(Ipv4Addr::from_bits(number).into(), None) != Verdict::Unlisted
    }

    fn key(&self) -> (KeyId, StoredKey) {
        let wanted = Wanted {
            label: "shop".into(),
            per_minute: std::num::NonZeroU32::new(5),
            networks: ["10.0.0.0/8", "::1"]
                .map(|text| crate::access::identifier::network(text).unwrap())
                .to_vec(),
            expires_at: Some(clock::now().plus(GONE_FOR)),
        };
        let made = self.access.make_key(wanted, clock::now()).unwrap();
        (made.id, made.key)
    }
}

fn who(number: u32) -> Identifier {
    Ipv4Addr::from_bits(number).to_string().parse().unwrap()
}

fn deed(number: u32) -> Deed {
    Deed {
        at: clock::now(),
        actor: "admin:1".into(),
        address: "::1".into(),
        action: "keys.create".into(),
        subject: number.to_string(),
        details: "label: \"x\"".into(),
        outcome: "done".into(),
        request_id: "r".into(),
    }
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut first = Process::at(&path);
    let key = first.key();
    let revoked = first.key();
    first.deny(1);
    first.deny(2);
    first.exchange();
    assert!(first.access.revoke_key(revoked.0, clock::now()));
    assert!(first.access.take_out(ListName::Deny, who(2), clock::now()));
    first.exchange();
    assert_eq!(first.access.counts().owed_database, 0);
    drop(first);
    let mut second = Process::at(&path);
    assert_eq!(second.exchange().new, 4);
    assert_eq!(second.access.key_page(None, usize::MAX), [key]);
    assert!(second.denies(1) && !second.denies(2));
    assert_eq!(second.access.counts().owed_database, 0, "nothing is written that is there");
    assert_eq!(second.exchange(), Exchanged::default());
}

#[test]
fn two_processes_on_one_file_hear_of_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let (mut a, mut b) = (Process::at(&path), Process::at(&path));
    a.deny(1);
    a.exchange();
    assert_eq!(b.exchange().new, 1);
    assert!(b.denies(1));
    // Both change it; the later one counts, whoever writes first.
    a.deny(1);
    assert!(b.access.take_out(ListName::Deny, who(1), clock::now().plus(GONE_FOR / 30)));
    b.exchange();
    a.exchange();
    b.exchange();
    assert!(!a.denies(1) && !b.denies(1));
}

#[test]
fn a_row_that_cannot_be_read_is_out_of_force_and_counted_and_the_others_stay() {
    for spoilt in [
        "stamp = 'x'",
        "stamp = zeroblob(35)",
        "stamp = ''",
        "gone = 2",
        "gone = 'x'",
        "identifier = 'nobody'",
        "identifier = x'ff'",
        "reason = x'ff'",
        "list = 'other'",
        "expires_at = 'soon'",
        "created_at = x'00'",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let mut first = Process::at(&path);
        first.deny(1);
        first.deny(2);
        first.exchange();
        first.sql(&format!("UPDATE access_list SET {spoilt} WHERE identifier = '0.0.0.1'"));
        let mut second = Process::at(&path);
        let exchanged = second.exchange();
        let dropped = exchanged.dropped;
        assert_eq!((exchanged.new, second.denies(2)), (2 - dropped, true), "{spoilt}");
        assert!(!second.denies(1), "{spoilt}");
        // Once; and whoever is put there again stays.
        second.deny(1);
        second.exchange();
        let mut third = Process::at(&path);
        let exchanged = third.exchange();
        assert_eq!(
            (exchanged.dropped, third.denies(1), third.denies(2)),
            (0, true, true),
            "{spoilt}"
        );
    }
}

#[test]
fn a_key_of_which_a_part_is_spoilt_is_unknown() {
    for spoilt in [
        "digest = ''",
        "digest = x'00'",
        "networks = '10.0.0.0/8,x'",
        "networks = x'ff'",
        "per_minute = 0",
        "per_minute = -1",
        "label = x'ff'",
        "expires_at = 'x'",
        "id = 'internal'",
        "id = x'ff'",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let mut first = Process::at(&path);
        first.key();
        first.exchange();
        first.sql(&format!("UPDATE api_keys SET {spoilt}"));
        let mut second = Process::at(&path);
        assert_eq!(
            (second.exchange().dropped, second.access.key_page(None, usize::MAX).len()),
            (1, 0),
            "{spoilt}"
        );
    }
}

#[test]
fn a_file_that_was_begun_anew_is_told_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut process = Process::at(&path);
    (0..1_200).for_each(|number| process.deny(number));
    while process.exchange().more {}
    // As if another process had begun one with as many changes.
    process.sql("DELETE FROM access_list; UPDATE access_marks SET mark = 'another'");
    while process.exchange().more {}
    let mut other = Process::at(&path);
    assert_eq!(other.exchange().new, 1_200);
}

#[test]
fn a_file_that_was_put_back_to_what_it_was_is_told_what_it_lost() {
    // Whether by then others have changed less than was lost, as much, or more.
    for meanwhile in [0, 1, 4, 9] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let (mut a, mut b) = (Process::at(&path), Process::at(&path));
        let (revoked, _) = a.key();
        a.deny(1);
        a.exchange();
        b.exchange();
        let backup = folder.path().join("backup.db");
        a.sql(&format!("VACUUM INTO '{}'", backup.display()));
        assert!(a.access.revoke_key(revoked, clock::now()));
        (10..13).for_each(|number| a.deny(number));
        a.exchange();
        b.exchange();
        // In its place, as `.restore` does it.
        let tables = ["access_list", "api_keys", "access_marks"].map(|table| {
            format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM backup.{table};")
        });
        let attach = format!("ATTACH '{}' AS backup;", backup.display());
        a.sql(&format!("{attach} BEGIN; {} COMMIT; DETACH backup", tables.concat()));
        let mut stranger = Process::at(&path);
        stranger.exchange();
        assert_eq!(stranger.access.key_page(None, usize::MAX).len(), 1, "nobody has told it yet");
        for number in 0..meanwhile {
            stranger.deny(100 + number);
            stranger.exchange();
        }
        b.deny(99);
        for process in [&mut b, &mut a, &mut stranger] {
            process.exchange();
        }
        b.exchange();
        let mut fresh = Process::at(&path);
        fresh.exchange();
        for process in [&a, &b, &stranger, &fresh] {
            let denies = [1, 10, 12, 99].map(|number| process.denies(number));
            assert_eq!(
                (denies, process.access.key_page(None, usize::MAX)),
                ([true; 4], vec![]),
                "{meanwhile}"
            );
            assert_eq!(process.denies(100), meanwhile > 0);
        }
        for process in [&mut b, &mut a, &mut stranger, &mut fresh] {
            process.exchange();
            assert_eq!(process.exchange(), Exchanged::default());
        }
    }
}

#[test]
fn what_was_not_read_to_the_end_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let (mut a, mut b) = (Process::at(&path), Process::at(&path));
    let (revoked, _) = a.key();
    a.exchange();
    b.exchange();
    assert!(a.access.revoke_key(revoked, clock::now()));
    a.exchange();
    // What comes after the keys cannot be read.
    a.sql("ALTER TABLE access_list RENAME COLUMN reason TO elsewhere");
    assert!(exchange(&b.store, &b.access, &mut b.position).is_err());
    a.sql("ALTER TABLE access_list RENAME COLUMN elsewhere TO reason");
    b.exchange();
    assert!(b.access.key_page(None, usize::MAX).is_empty(), "the revocation was heard");
}

#[test]
fn a_row_that_could_not_be_put_out_of_force_is_come_upon_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut a = Process::at(&path);
    a.deny(1);
    a.exchange();
    a.sql("UPDATE access_list SET gone = 2");
    let (mut b, mut lock) = (Process::at(&path), a.store.lend().unwrap());
    lock.batch_execute("BEGIN IMMEDIATE").unwrap();
    assert!(exchange(&b.store, &b.access, &mut b.position).is_err());
    lock.batch_execute("COMMIT").unwrap();
    assert_eq!((b.exchange().dropped, b.exchange().dropped), (1, 0));
}

#[test]
fn rows_that_were_ahead_of_the_clock_are_read_once_it_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let (mut a, mut b) = (Process::at(&path), Process::at(&path));
    a.deny(1);
    a.exchange();
    // B began in 1970, and has read all of it.
    let mut connection = b.store.lend().unwrap();
    let Reading { found, at, .. } = read(&mut connection, &b.position).unwrap();
    b.position = at;
    let heard = b.access.hear(found.records, Place::Database, Timestamp::default());
    assert_eq!((heard.refused, b.denies(1)), (1, false));
    drop(connection);
    b.exchange();
    assert!(b.denies(1));
}

#[test]
fn what_is_confirmed_is_on_the_disk() {
    #[derive(QueryableByName)]
    struct Level {
        #[diesel(sql_type = diesel::sql_types::Integer)]
        synchronous: i32,
    }
    let folder = tempfile::tempdir().unwrap();
    let process = Process::at(&folder.path().join("a.db"));
    let mut connection = process.store.lend().unwrap();
    let level = |connection: &mut Connection| {
        diesel::sql_query("PRAGMA synchronous").get_result(connection).map(|l: Level| l.synchronous)
    };
    assert_eq!(level(&mut connection), Ok(1));
    assert_eq!(durably(&mut connection, level), Ok(2));
    assert_eq!(level(&mut connection), Ok(1));
    let failed: QueryResult<()> =
        durably(&mut connection, |_| Err(diesel::result::Error::NotFound));
    assert!(failed.is_err());
    assert_eq!(level(&mut connection), Ok(1));
}

#[test]
fn deeds_are_stored_in_their_order_and_listed_from_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::at(&folder.path().join("a.db"));
    (0..7).for_each(|number| process.access.note(deed(number)));
    process.exchange();
    let subjects = |stored: &[Stored]| -> Vec<String> {
        stored.iter().map(|one| one.deed.subject.clone()).collect()
    };
    let page = deeds_before(&process.store, None, 3).unwrap();
    assert_eq!(subjects(&page), ["6", "5", "4"]);
    let page = deeds_before(&process.store, Some(page[2].id), 10).unwrap();
    assert_eq!(subjects(&page), ["3", "2", "1", "0"]);
    // The oldest leave when there are too many.
    process.sql("UPDATE sqlite_sequence SET seq = 100005 WHERE name = 'audit_log'");
    process.access.note(deed(7));
    process.exchange();
    assert_eq!(subjects(&deeds_before(&process.store, None, 10).unwrap()), ["7", "6"]);
}

#[test]
fn a_database_that_is_locked_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let (mut process, locker) = (Process::at(&path), Process::at(&path));
    process.exchange();
    let mut lock = locker.store.lend().unwrap();
    lock.batch_execute("BEGIN IMMEDIATE").unwrap();
    process.deny(1);
    process.access.note(deed(1));
    assert!(exchange(&process.store, &process.access, &mut process.position).is_err());
    assert!(process.denies(1));
    let counts = process.access.counts();
    assert_eq!((counts.owed_database, counts.deeds_waiting), (1, 1));
    lock.batch_execute("COMMIT").unwrap();
    process.exchange();
    let counts = process.access.counts();
    assert_eq!((counts.owed_database, counts.deeds_waiting), (0, 0));
    assert_eq!(deeds_before(&process.store, None, 10).unwrap().len(), 1);
}

#[test]
fn rows_about_what_was_removed_long_ago_are_dropped_and_the_count_of_changes_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::at(&folder.path().join("a.db"));
    for number in 0..3 {
        process.deny(number);
        process.exchange();
        process.access.take_out(ListName::Deny, who(number), clock::now());
        process.exchange();
    }
    assert_eq!(forget(&process.store, clock::now()).unwrap(), 0);
    assert_eq!(forget(&process.store, clock::now().plus(2 * GONE_FOR)).unwrap(), 2);
    process.deny(9);
    process.exchange();
    process.exchange();
    assert_eq!(process.position.entries, 7);
}
