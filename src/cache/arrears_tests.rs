//! The arrears against their bounds and against what happens meanwhile.

use super::*;
use proptest::prelude::*;

fn key(number: usize) -> CacheKey {
    CacheKey::new(format!("k{number}"))
}

fn body(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

const LATER: Timestamp = Timestamp::from_millis(1_000);

fn miss(arrears: &Arrears, number: usize, text: &str) -> u64 {
    arrears.missed(&key(number), body(text), LATER)
}

/// An invalidation of that time, hard if the time is even.
fn rule(at: i64) -> Rule {
    let mode = if at % 2 == 0 { Mode::Hard } else { Mode::Soft };
    Rule { subject: Subject::Tag(format!("t:{at}")), mode, at: Timestamp::from_millis(at) }
}

fn everything(mode: Mode, at: i64) -> String {
    let at = Timestamp::from_millis(at);
    Rule { subject: Subject::Everything, mode, at }.to_string()
}

fn told(arrears: &Arrears) -> Vec<String> {
    arrears.records(usize::MAX).into_iter().map(|(_, text)| text).collect()
}

fn keys(missed: &[Missed]) -> Vec<String> {
    missed.iter().map(|missed| missed.key.to_string()).collect()
}

fn all(arrears: &Arrears) -> Vec<Missed> {
    arrears.newest(usize::MAX, usize::MAX)
}

#[test]
fn the_newest_entry_of_a_key_counts_and_comes_first() {
    let arrears = Arrears::new();
    for (number, text) in [(1, "old"), (2, "two"), (1, "new")] {
        assert_eq!(miss(&arrears, number, text), 0);
    }
    assert_eq!(arrears.len(), 2);
    let newest = all(&arrears);
    assert_eq!(keys(&newest), ["k1", "k2"]);
    assert_eq!(newest[0].encoded, "new");
    assert_eq!(keys(&arrears.newest(1, usize::MAX)), ["k1"]);
}

#[test]
fn the_oldest_leave_first_and_are_counted() {
    let arrears = Arrears::bounded(2, 1_000, 2);
    assert_eq!((0..5).map(|number| miss(&arrears, number, "x")).sum::<u64>(), 3);
    assert_eq!(keys(&all(&arrears)), ["k4", "k3"]);
    assert_eq!(arrears.dropped(), 3);
}

#[test]
fn the_oldest_invalidations_become_one_of_everything() {
    let arrears = Arrears::bounded(0, 0, 32);
    assert_eq!((1..=32).map(|at| arrears.missed_record(&rule(at))).sum::<usize>(), 0);
    assert_eq!(arrears.missed_record(&rule(33)), 3);
    let records = told(&arrears);
    let folded = [everything(Mode::Hard, 2), everything(Mode::Soft, 3)];
    assert_eq!(records[..3], [folded[0].clone(), folded[1].clone(), rule(4).to_string()]);
    assert_eq!(records.len(), 32);
    assert_eq!(arrears.missed_record(&rule(34)), 3);
    let records = told(&arrears);
    // A soft one that a later hard one covers is not told.
    assert_eq!(records[..2], [everything(Mode::Hard, 4), rule(5).to_string()]);
    assert_eq!(records.last(), Some(&rule(34).to_string()));
}

#[test]
fn what_was_folded_while_it_was_told_is_told_until_all_of_it_was() {
    let arrears = Arrears::bounded(0, 0, 4);
    (1..=4).for_each(|at| assert_eq!(arrears.missed_record(&rule(at)), 0));
    let (two, all) = (arrears.records(2), arrears.records(4));
    assert_eq!(arrears.missed_record(&rule(5)), 3);
    arrears.settle_records(two[1].0);
    assert!(told(&arrears).contains(&everything(Mode::Soft, 3)), "the third was not told");
    arrears.settle_records(all[2].0);
    assert_eq!(told(&arrears), [rule(4).to_string(), rule(5).to_string()]);
}

#[test]
fn bytes_are_bounded_too() {
    let arrears = Arrears::bounded(100, 20, 0);
    assert_eq!(miss(&arrears, 1, "12345678"), 0);
    assert_eq!(miss(&arrears, 2, "12345678"), 0);
    assert_eq!(miss(&arrears, 3, "12345678"), 1);
    assert_eq!(keys(&all(&arrears)), ["k3", "k2"]);
    // Larger than all the room: it leaves at once, and what was there before it.
    assert_eq!(miss(&arrears, 4, &"x".repeat(30)), 3);
    assert!(arrears.is_empty());
}

#[test]
fn a_batch_is_bounded_by_bytes_but_never_empty() {
    let arrears = Arrears::new();
    (0..3).for_each(|number| assert_eq!(miss(&arrears, number, "12345678"), 0));
    assert_eq!(arrears.newest(9, 20).len(), 2);
    assert_eq!(arrears.newest(9, 1).len(), 1);
    assert!(arrears.newest(0, 100).is_empty());
}

#[test]
fn what_is_being_brought_stays_until_it_is_settled() {
    let arrears = Arrears::new();
    miss(&arrears, 1, "a");
    let batch = all(&arrears);
    assert_eq!(arrears.len(), 1, "a replay that is dropped loses nothing");
    assert!(arrears.settle(&batch).is_empty());
    assert!(arrears.is_empty());
}

#[test]
fn what_was_forgotten_while_it_was_brought_is_told() {
    let arrears = Arrears::new();
    (1..=3).for_each(|number| assert_eq!(miss(&arrears, number, "old"), 0));
    let batch = all(&arrears);
    arrears.forget(&key(1));
    miss(&arrears, 2, "new");
    assert_eq!(arrears.settle(&batch), [key(1)]);
    assert_eq!(all(&arrears)[0].encoded, "new");
    assert_eq!(arrears.len(), 1, "the newer one is still to be brought");
}

#[test]
fn forgetting_by_a_rule_spares_the_others_and_the_records() {
    let arrears = Arrears::new();
    (0..4).for_each(|number| assert_eq!(miss(&arrears, number, "x"), 0));
    arrears.missed_record(&rule(1));
    assert_eq!(arrears.forget_matching(|key| key.as_str() != "k2"), 3);
    assert_eq!(keys(&all(&arrears)), ["k2"]);
    assert_eq!(arrears.len(), 2);
}

#[test]
fn records_are_settled_up_to_the_last_one_told() {
    let arrears = Arrears::new();
    (1..3).for_each(|at| assert_eq!(arrears.missed_record(&rule(at)), 0));
    let batch = arrears.records(9);
    arrears.missed_record(&rule(3));
    arrears.settle_records(batch[1].0);
    assert_eq!(told(&arrears), [rule(3).to_string()]);
    assert_eq!(arrears.len(), 1);
}

proptest! {
    #[test]
    fn bounds_hold_and_the_sums_agree(steps in prop::collection::vec((0..8_usize, 0..40_usize, 0..3_u8), 0..200)) {
        let arrears = Arrears::bounded(5, 100, 3);
        for (number, length, what) in steps {
            match what {
                0 => arrears.forget(&key(number)),
                1 => drop(arrears.missed_record(&rule(i64::try_from(length).unwrap()))),
                _ => drop(miss(&arrears, number, &"x".repeat(length))),
            }
            let kept = arrears.lock();
            prop_assert!(kept.entries.len() <= 5 && kept.bytes <= 100 && kept.records.len() <= 3);
            prop_assert_eq!(kept.bytes, kept.entries.values().map(Missed::weight).sum::<usize>());
            prop_assert_eq!(kept.entries.len(), kept.order.len());
            prop_assert_eq!(arrears.len(), kept.entries.len() + kept.records.len());
        }
    }
}
