//! The merge against a model, what is owed to whom, and the bounds.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::access::identifier::Identifier;
use crate::access::record::tests::record;
use crate::access::record::{Entry, GONE_FOR};
use crate::access::stamp::Stamp;

const NOW: Timestamp = Timestamp::from_millis(1);

fn book(bounds: Bounds) -> (Book, Snapshot) {
    (Book::new(7, bounds, true), Snapshot::default())
}

/// What a book knows, in an order.
fn known(book: &Book) -> Vec<Record> {
    let mut all: Vec<_> = book.all().cloned().collect();
    all.sort_by_key(|record| record.subject);
    all
}

fn heard(records: &[Vec<Record>]) -> Vec<Record> {
    let (mut book, mut snapshot) = book(Bounds::default());
    for (number, some) in records.iter().enumerate() {
        let from = if number % 2 == 0 { Place::Redis } else { Place::Database };
        book.hear(some.clone(), from, NOW, &mut snapshot);
    }
    known(&book)
}

fn subject(number: u32) -> Subject {
    let network = std::net::Ipv4Addr::from_bits(number).to_string();
    Subject::Entry(ListName::Deny, network.parse::<Identifier>().unwrap())
}

fn entry(expires_at: Option<i64>) -> Option<Body> {
    let expires_at = expires_at.map(Timestamp::from_millis);
    Some(Body::Entry(Entry { reason: String::new(), created_at: NOW, expires_at }))
}

fn owed(book: &Book, place: Place) -> usize {
    book.owed(place, usize::MAX).len()
}

#[test]
fn a_change_is_in_force_at_once_and_owed_until_it_was_told() {
    let (mut book, mut snapshot) = book(Bounds::default());
    let record = book.change(subject(1), entry(None), NOW, &mut snapshot).unwrap();
    assert_eq!(snapshot.sizes().deny, 1);
    assert_eq!((owed(&book, Place::Database), owed(&book, Place::Redis)), (1, 1));
    // It changes again before the store says that it has it.
    let told = book.owed(Place::Database, 10);
    let again = book.change(subject(1), None, NOW, &mut snapshot).unwrap();
    assert!(again.supersedes(&record) && snapshot.sizes().deny == 0);
    book.told(Place::Database, &told);
    assert_eq!(owed(&book, Place::Database), 1, "what was told is out of date");
    book.told(Place::Database, std::slice::from_ref(&again));
    book.hear(vec![again], Place::Redis, NOW, &mut snapshot);
    assert_eq!((owed(&book, Place::Database), owed(&book, Place::Redis)), (0, 0));
    // A store that holds less than is known is owed what it lacks.
    book.hear(vec![record], Place::Redis, NOW, &mut snapshot);
    assert_eq!((owed(&book, Place::Database), owed(&book, Place::Redis)), (0, 1));
    book.owe_all(Place::Database);
    assert_eq!(owed(&book, Place::Database), 1);
}

#[test]
fn a_full_list_refuses_what_is_new_and_nothing_else() {
    let bounds = Bounds { entries: 3, ..Bounds::default() };
    let (mut book, mut snapshot) = book(bounds);
    for number in 0..3 {
        book.change(subject(number), entry(None), NOW, &mut snapshot).unwrap();
    }
    assert_eq!(book.change(subject(9), entry(None), NOW, &mut snapshot), Err(Full(3)));
    assert!(book.change(subject(1), entry(Some(50)), NOW, &mut snapshot).is_ok());
    assert!(book.change(subject(2), None, NOW, &mut snapshot).is_ok());
    assert!(book.change(subject(9), entry(None), NOW, &mut snapshot).is_ok());
    // From others twice as much is taken in, so that two instances that add at once agree.
    let stamp = Stamp::new(NOW, 9, 9);
    let records = (20..30).map(|n| Record { subject: subject(n), stamp, body: entry(None) });
    let heard = book.hear(records.collect(), Place::Redis, NOW, &mut snapshot);
    assert_eq!((heard.new, heard.refused, snapshot.sizes().deny), (3, 7, 6));
}

#[test]
fn what_ends_is_taken_out_and_what_was_prolonged_is_not() {
    let (mut book, mut snapshot) = book(Bounds::default());
    book.change(subject(1), entry(Some(10)), NOW, &mut snapshot).unwrap();
    book.change(subject(2), entry(Some(10)), NOW, &mut snapshot).unwrap();
    book.change(subject(2), entry(Some(20)), NOW, &mut snapshot).unwrap();
    book.change(subject(3), entry(None), NOW, &mut snapshot).unwrap();
    for (millis, left) in [(9, 3), (10, 2), (19, 2), (20, 1), (1_000, 1)] {
        let now = Timestamp::from_millis(millis);
        if book.ends_by(now) {
            book.end(now, &mut snapshot);
        }
        assert_eq!(snapshot.sizes().deny, left, "{millis}");
        assert!(!book.ends_by(now));
    }
}

#[test]
fn what_is_gone_is_remembered_for_a_month_and_up_to_a_number() {
    let bounds = Bounds { gone: 5, ..Bounds::default() };
    let (mut book, mut snapshot) = book(bounds);
    for number in 0..9 {
        book.change(subject(number), entry(None), NOW, &mut snapshot).unwrap();
    }
    for number in 0..8 {
        book.change(subject(number), None, NOW, &mut snapshot).unwrap();
    }
    assert_eq!(book.forget(NOW), 3);
    assert!(book.get(&subject(2)).is_none() && book.get(&subject(3)).is_some());
    let later = NOW.plus(2 * GONE_FOR);
    assert_eq!((book.forget(later), book.all().count()), (5, 1));
    // An old one that somebody still holds is not heard, and Redis is to forget it.
    assert_eq!(book.take_forgotten(100).len(), 5, "beyond the bound they are let lie");
    let old = Record { subject: subject(3), stamp: Stamp::default(), body: None };
    let heard = book.hear(vec![old], Place::Redis, later, &mut snapshot);
    assert_eq!((heard, book.take_forgotten(9).len()), (Heard::default(), 1));
}

#[test]
fn a_stamp_from_another_age_is_not_believed() {
    let (mut book, mut snapshot) = book(Bounds::default());
    let far = Stamp::new(Timestamp::from_millis(200_000_000_000_000), 0, 0);
    let record = Record { subject: subject(1), stamp: far, body: entry(None) };
    let heard = book.hear(vec![record.clone()], Place::Redis, NOW, &mut snapshot);
    assert_eq!((heard.new, heard.refused, book.all().count()), (0, 1, 0));
    // Unless it was our clock that was wrong: whoever holds it is asked again.
    let (soon, then) = (NOW.plus(BELIEVE_EVERY), far.at());
    assert!(!book.may_believe_more(Place::Redis, soon));
    assert!(!book.may_believe_more(Place::Database, then));
    assert!(
        book.may_believe_more(Place::Redis, then) && !book.may_believe_more(Place::Redis, then)
    );
    assert_eq!(book.hear(vec![record], Place::Redis, then, &mut snapshot).new, 1);
}

#[test]
fn a_store_is_asked_again_once_a_minute_at_most() {
    let (mut book, mut snapshot) = book(Bounds::default());
    let record = |seconds| {
        let far = NOW.plus(Duration::from_secs(366 * 24 * 3_600 + seconds));
        Record { subject: subject(1), stamp: Stamp::new(far, 0, 0), body: entry(None) }
    };
    book.hear(vec![record(2), record(1), record(100_000)], Place::Redis, NOW, &mut snapshot);
    let asked = (1..600).filter(|second| {
        let now = NOW.plus(Duration::from_secs(*second));
        let asks = book.may_believe_more(Place::Redis, now);
        if asks {
            book.hear(vec![record(second + 1), record(100_000)], Place::Redis, now, &mut snapshot);
        }
        asks
    });
    assert_eq!(asked.count(), 9);
}

#[test]
fn what_had_ended_is_in_force_again_when_the_clock_was_put_back() {
    let (mut book, mut snapshot) = book(Bounds::default());
    for (number, until) in [(1, 10), (2, 20), (3, 30)] {
        book.change(subject(number), entry(Some(until)), NOW, &mut snapshot).unwrap();
    }
    for (millis, left) in [(25, 1), (15, 2), (9, 3), (10, 2), (1_000, 0), (19, 2), (20, 1)] {
        let now = Timestamp::from_millis(millis);
        assert!(book.ends_by(now), "{millis}");
        book.end(now, &mut snapshot);
        assert_eq!(snapshot.sizes().deny, left, "{millis}");
        assert!(!book.ends_by(now));
    }
    // A change made before anybody has looked at the clock: it is in force, and ends.
    book.end(Timestamp::from_millis(1_000), &mut snapshot);
    book.change(subject(4), entry(Some(15)), Timestamp::from_millis(9), &mut snapshot).unwrap();
    assert_eq!(snapshot.sizes().deny, 4);
    book.end(Timestamp::from_millis(1_000), &mut snapshot);
    assert_eq!(snapshot.sizes().deny, 0);
    // What is forgotten does not come back.
    assert_eq!(book.forget(NOW.plus(2 * GONE_FOR)), 4);
    assert!(!book.ends_by(NOW) && book.ends.is_empty());
}

proptest! {
    /// Commutative, associative and idempotent: whatever the order, the bundles and the repetitions,
    /// what is known in the end is the latest of each subject.
    #[test]
    fn what_is_heard_in_any_order_and_any_number_of_times_is_the_same(
        records in prop::collection::vec(record(), 0..30),
        order in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut model: HashMap<Subject, Record> = HashMap::new();
        for record in &records {
            let known = model.get(&record.subject);
            if known.is_none_or(|known| record.supersedes(known)) {
                model.insert(record.subject, record.clone());
            }
        }
        let mut model: Vec<_> = model.into_values().collect();
        model.sort_by_key(|record| record.subject);
        let mut turned = records.clone();
        if !turned.is_empty() {
            turned.rotate_left(order.index(records.len()));
            turned.reverse();
        }
        let (one, other) = turned.split_at(cut.index(turned.len() + 1));
        let bundles = [one.to_vec(), other.to_vec(), one.to_vec()];
        prop_assert_eq!(heard(std::slice::from_ref(&records)), model.clone());
        prop_assert_eq!(heard(&bundles), model);
        prop_assert_eq!(heard(&[records.clone(), turned]), heard(&[records]));
    }

    /// What requests read is what the book says, and what is owed is what a store lacks.
    #[test]
    fn the_snapshot_follows_the_book_and_debts_are_what_stores_lack(
        records in prop::collection::vec((record(), any::<bool>()), 0..40),
    ) {
        let (mut book, mut snapshot) = book(Bounds::default());
        let mut stores: [HashMap<Subject, Record>; 2] = Default::default();
        for (record, in_redis) in records {
            let place = if in_redis { Place::Redis } else { Place::Database };
            let held = &mut stores[usize::from(in_redis)];
            if held.get(&record.subject).is_none_or(|held| record.supersedes(held)) {
                held.insert(record.subject, record.clone());
                book.hear(vec![record], place, NOW, &mut snapshot);
            }
        }
        let alive: Vec<_> = book.all().filter(|record| record.is_alive(NOW)).collect();
        let of_list = |list| alive.iter()
            .filter(|record| matches!(record.subject, Subject::Entry(on, _) if on == list)).count();
        let sizes = Sizes {
            keys: alive.iter().filter(|record| matches!(record.subject, Subject::Key(_))).count(),
            allow: of_list(ListName::Allow),
            deny: of_list(ListName::Deny),
        };
        prop_assert_eq!(snapshot.sizes(), sizes);
        for (place, held) in [Place::Database, Place::Redis].into_iter().zip(&stores) {
            for record in book.all() {
                let lacks = held.get(&record.subject) != Some(record);
                prop_assert_eq!(book.owes(place, &record.subject), lacks);
            }
        }
    }

    /// Page after page, a list is what is alive on it, in its order.
    #[test]
    fn pages_of_a_list_are_the_list(
        records in prop::collection::vec(record(), 0..30),
        size in 1..4_usize,
    ) {
        let (mut book, mut snapshot) = book(Bounds::default());
        book.hear(records, Place::Redis, NOW, &mut snapshot);
        for list in [ListName::Allow, ListName::Deny] {
            let alive = book.all().filter(|record| record.is_alive(NOW));
            let expected: Vec<Identifier> = alive
                .filter_map(|record| match record.subject {
                    Subject::Entry(on, who) if on == list => Some(who),
                    Subject::Entry(..) | Subject::Key(_) => None,
                })
                .collect();
            let mut seen = Vec::new();
            loop {
                let after = seen.last().copied();
                let page: Vec<_> = book.entries(list, after, NOW).take(size).map(|one| one.0).collect();
                if page.is_empty() {
                    break;
                }
                seen.extend(page);
            }
            prop_assert_eq!(seen, expected);
        }
    }

    /// Who changes what he knows always wins, however far ahead the clock of whoever wrote it was.
    #[test]
    fn a_change_beats_all_that_was_heard(records in prop::collection::vec(record(), 1..20)) {
        let (mut book, mut snapshot) = book(Bounds::default());
        book.hear(records.clone(), Place::Redis, NOW, &mut snapshot);
        let subject = records[0].subject;
        let gone = book.change(subject, None, Timestamp::default(), &mut snapshot).unwrap();
        book.hear(records, Place::Database, NOW, &mut snapshot);
        prop_assert_eq!(book.get(&subject), Some(&gone));
    }
}
