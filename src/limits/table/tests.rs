//! The table from outside: exact across threads, bounded, whole after a panic.

use std::net::Ipv4Addr;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::super::policy::tests::default_limits;
use super::super::principal::KeyId;
use super::*;

fn table(entries: usize) -> (Table, Instant) {
    let now = crate::clock::monotonic();
    let settings = TableSettings { entries, ..TableSettings::default() };
    (Table::new(settings, Policies::new(&default_limits()), now), now)
}

fn address(number: u32) -> Principal {
    Principal::of_address(Ipv4Addr::from_bits(number).into(), 64)
}

const KEY: Principal = Principal::Key(KeyId::INTERNAL);

#[test]
fn fifty_clients_on_many_threads_get_exactly_the_limit() {
    let (table, now) = table(1_000);
    let admitted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                for _ in 0..200 {
                    if table.admit(Class::Search, address(1), 1, now).is_admitted() {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 100);
    let status = table.status();
    assert_eq!(status.classes.search.refused_minute, 50 * 200 - 100);
    assert_eq!(status.classes.search.entries, 1);
}

#[test]
fn classes_and_principals_do_not_share_limits() {
    let (table, now) = table(1_000);
    for _ in 0..10 {
        assert!(table.admit(Class::General, address(1), 1, now).is_admitted());
    }
    assert!(!table.admit(Class::General, address(1), 1, now).is_admitted());
    assert!(table.admit(Class::Search, address(1), 1, now).is_admitted());
    assert!(table.admit(Class::General, address(2), 1, now).is_admitted());
    for _ in 0..1_000 {
        assert!(table.admit(Class::General, KEY, 1, now).is_admitted());
    }
    assert!(!table.admit(Class::General, KEY, 1, now).is_admitted());
    assert!(table.admit(Class::Search, KEY, 1, now).is_admitted());
}

#[test]
fn an_exempt_request_leaves_no_trace() {
    let (table, now) = table(1_000);
    let before = table.status();
    for _ in 0..1_000 {
        let admission = table.admit(Class::Exempt, address(1), 1, now);
        assert_eq!(admission, Admission::unlimited(Class::Exempt));
    }
    assert_eq!(table.status(), before);
}

#[test]
fn a_million_addresses_take_no_more_room_than_the_bound() {
    let (table, now) = table(2_000);
    let old = address(0);
    assert!(table.admit(Class::General, old, 1, now).is_admitted());
    let mut shared = 0;
    for number in 1..1_000_000 {
        let admission = table.admit(Class::General, address(number), 1, now);
        shared += u64::from(admission.shared);
    }
    let status = table.status();
    assert!(status.capacity <= 2_000);
    assert!(status.classes.general.entries <= status.capacity);
    assert_eq!(status.classes.general.overflowed, shared);
    assert!(shared > 900_000);
    let known = table.admit(Class::General, old, 1, now);
    assert!(known.is_admitted() && !known.shared, "old service goes on");
    let keyed = table.admit(Class::General, KEY, 1, now);
    assert!(keyed.is_admitted() && !keyed.shared, "so does that of keys");
}

#[test]
fn strangers_in_a_full_table_share_a_bounded_account() {
    let (table, now) = table(1);
    assert!(!table.admit(Class::General, address(0), 1, now).shared);
    let strangers = (1..10_000).map(|number| table.admit(Class::General, address(number), 1, now));
    let admitted = strangers.filter(Admission::is_admitted).count();
    assert_eq!(admitted, 10 * 64, "the burst of 64 clients");
    let refused = table.admit(Class::General, address(5), 1, now);
    assert!(refused.shared && !refused.is_admitted());
    let search = table.admit(Class::Search, address(5), 1, now);
    assert!(search.is_admitted(), "each class has its own");
}

#[test]
fn idle_accounts_leave_and_busy_ones_stay() {
    let (table, now) = table(640);
    let strangers = (0..100_000).map(|number| table.admit(Class::General, address(number), 1, now));
    assert!(strangers.filter(|admission| admission.shared).count() >= 100_000 - 640);
    let later = now + Duration::from_secs(61);
    let fresh = (200_000..200_100)
        .map(|number| table.admit(Class::General, address(number), 1, later))
        .filter(|admission| !admission.shared)
        .count();
    assert_eq!(fresh, 100, "all of them found room");
    assert!(table.status().evicted > 0);
}

#[test]
fn an_evicted_account_had_nothing_to_lose() {
    let (table, now) = table(1);
    for _ in 0..10 {
        assert!(table.admit(Class::General, address(0), 1, now).is_admitted());
    }
    let almost = now + Duration::from_secs(60) - Duration::from_nanos(1);
    assert!(table.admit(Class::General, address(1), 1, almost).shared, "still counted");
    let after = now + Duration::from_secs(60);
    assert!(!table.admit(Class::General, address(1), 1, after).shared);
}

#[test]
fn a_poisoned_lock_is_taken_over() {
    let (table, now) = table(1);
    for _ in 0..10 {
        assert!(table.admit(Class::General, address(0), 1, now).is_admitted());
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let _held = table.shards[0].lock().unwrap();
            let _also = table.overflow.general.lock().unwrap();
            panic!("on purpose");
        });
        assert!(thread.join().is_err());
    });
    assert!(table.shards[0].is_poisoned());
    assert!(!table.admit(Class::General, address(0), 1, now).is_admitted(), "nothing was reset");
    assert!(table.admit(Class::General, address(1), 1, now).is_admitted());
    assert_eq!(table.status().classes.general.entries, 1);
}

#[test]
fn tables_of_every_size_work() {
    for entries in [0, 1, 63, 64, 127, 128, 5_000, 1_000_000] {
        let (table, now) = table(entries);
        assert!(table.status().capacity <= entries.max(1));
        assert!(table.admit(Class::General, address(1), 1, now).is_admitted());
    }
}

#[test]
fn the_status_can_be_shown() {
    let (table, now) = table(64);
    assert!(table.admit(Class::Search, address(1), 1, now).is_admitted());
    let shown = serde_json::to_value(table.status()).unwrap();
    assert_eq!(shown["classes"]["search"]["entries"], 1);
    assert_eq!(shown["classes"]["general"]["refused_burst"], 0);
}
