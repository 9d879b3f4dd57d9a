//! The table against a list of rules that is walked through at every question.

use proptest::prelude::*;

use super::{Bounds, Invalidations, Mode, Rule, Subject};
use crate::cache::entry::Validity;
use crate::cache::key::{Tag, matches as glob_matches};
use crate::clock::Timestamp;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn rule(subject: &str, mode: Mode, millis: i64) -> Rule {
    Rule { subject: subject.parse().unwrap(), mode, at: at(millis) }
}

/// Something stored.
#[derive(Debug, Clone)]
struct Stored {
    key: String,
    tags: Vec<String>,
    at: i64,
}

impl Stored {
    fn new(key: &str, tags: &[&str], at: i64) -> Self {
        Self { key: key.into(), tags: tags.iter().map(|&tag| tag.into()).collect(), at }
    }
}

fn judged(table: &Invalidations, stored: &Stored) -> Validity {
    let tags: Vec<Tag> = stored.tags.iter().map(|tag| Tag::of(tag)).collect();
    table.verdict(&stored.key, &tags, at(stored.at))
}

/// The same by walking through all rules.
fn by_walking(rules: &[Rule], stored: &Stored) -> Validity {
    let hits = |rule: &&Rule| {
        at(stored.at) <= rule.at
            && match &rule.subject {
                Subject::Key(key) => *key == stored.key,
                Subject::Tag(tag) => stored.tags.contains(tag),
                Subject::Pattern(pattern) => glob_matches(pattern, &stored.key),
                Subject::Everything => true,
            }
    };
    let verdict = |rule: &Rule| match rule.mode {
        Mode::Soft => Validity::Soft,
        Mode::Hard => Validity::Hard,
    };
    rules.iter().filter(hits).map(verdict).max().unwrap_or(Validity::Valid)
}

fn any_subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        4 => "s:[ab]:[0-3]".prop_map(Subject::Key),
        4 => "t:[0-5]".prop_map(Subject::Tag),
        3 => prop::sample::select(vec!["s:a:*", "s:?:1", "*2", "s:[b-c]:*"])
            .prop_map(|pattern| Subject::Pattern(pattern.into())),
        1 => Just(Subject::Everything),
    ]
}

/// Times are few, so that equal ones and ones that step back are common.
fn any_rules() -> impl Strategy<Value = Vec<Rule>> {
    let mode = prop::sample::select(vec![Mode::Soft, Mode::Hard]);
    let rule = (any_subject(), mode, 0..30_i64).prop_map(|(subject, mode, millis)| Rule {
        subject,
        mode,
        at: at(millis),
    });
    prop::collection::vec(rule, 0..40)
}

fn any_stored() -> impl Strategy<Value = Vec<Stored>> {
    let stored = ("s:[ab]:[0-3]", prop::collection::vec("t:[0-5]", 0..3), -1..32_i64)
        .prop_map(|(key, tags, at)| Stored { key, tags, at });
    prop::collection::vec(stored, 1..40)
}

fn table_of(rules: &[Rule], bounds: Bounds) -> Invalidations {
    let table = Invalidations::new(bounds);
    rules.iter().for_each(|rule| {
        table.apply(rule);
    });
    table
}

/// Rules about keys, tags and patterns, and until when everything is invalid.
fn counts(table: &Invalidations) -> ([usize; 3], Option<Timestamp>) {
    let rules = table.rules();
    let count = |is_one: fn(&Subject) -> bool| {
        let subjects: std::collections::BTreeSet<_> =
            rules.iter().map(|rule| &rule.subject).filter(|subject| is_one(subject)).collect();
        subjects.len()
    };
    let everything = rules.iter().filter(|rule| rule.subject == Subject::Everything);
    let counts = [
        count(|subject| matches!(subject, Subject::Key(_))),
        count(|subject| matches!(subject, Subject::Tag(_))),
        count(|subject| matches!(subject, Subject::Pattern(_))),
    ];
    (counts, everything.map(|rule| rule.at).max())
}

const TIGHT: Bounds = Bounds { named: 3, patterns: 1 };

proptest! {
    #[test]
    fn it_says_what_walking_through_all_rules_says(rules in any_rules(), all in any_stored()) {
        let table = table_of(&rules, Bounds::default());
        for stored in &all {
            prop_assert_eq!(judged(&table, stored), by_walking(&rules, stored), "{:?}", stored);
        }
    }

    #[test]
    fn a_rule_that_says_nothing_new_changes_nothing(rules in any_rules(), all in any_stored()) {
        let table = Invalidations::default();
        for rule in &rules {
            let before: Vec<_> = all.iter().map(|stored| judged(&table, stored)).collect();
            let version = table.version();
            let new = table.apply(rule);
            prop_assert_eq!(table.version(), version + u64::from(new));
            prop_assert!(!table.apply(rule), "the same again is never new");
            for (stored, before) in all.iter().zip(before) {
                let now = judged(&table, stored);
                prop_assert!(now >= before, "never valid again");
                prop_assert!(new || now == before);
            }
        }
    }

    /// Beyond the bounds too much may be invalid, but nothing too little, nothing harder than the
    /// hardest rule, and nothing that is newer than all rules.
    #[test]
    fn what_is_folded_is_not_forgotten(rules in any_rules(), all in any_stored()) {
        let table = table_of(&rules, TIGHT);
        let ([keys, tags, patterns], _) = counts(&table);
        prop_assert!(keys + tags <= 3 && patterns <= 1);
        let newest = |mode: Option<Mode>| {
            let of_mode = rules.iter().filter(|rule| mode.is_none_or(|mode| mode == rule.mode));
            of_mode.map(|rule| rule.at).max()
        };
        for stored in &all {
            let verdict = judged(&table, stored);
            prop_assert!(verdict >= by_walking(&rules, stored), "{:?}", stored);
            let valid = newest(None) < Some(at(stored.at));
            prop_assert!(!valid || verdict == Validity::Valid);
            let not_hard = newest(Some(Mode::Hard)) < Some(at(stored.at));
            prop_assert!(!not_hard || verdict <= Validity::Soft);
        }
    }

    #[test]
    fn its_rules_make_the_same_table(rules in any_rules(), all in any_stored(), tight: bool) {
        let table = table_of(&rules, if tight { TIGHT } else { Bounds::default() });
        let told = table.rules();
        prop_assert!(told.is_sorted_by_key(|rule| rule.at));
        let copy = table_of(&told, Bounds::default());
        let lines: Vec<Rule> = told.iter().map(|r| Rule::read(&r.text(), r.at).unwrap()).collect();
        prop_assert_eq!(&lines, &told);
        for stored in &all {
            prop_assert_eq!(judged(&copy, stored), judged(&table, stored));
        }
    }

    #[test]
    fn the_order_of_arrival_does_not_matter(rules in any_rules(), all in any_stored()) {
        let forth = table_of(&rules, Bounds::default());
        let back: Vec<_> = rules.iter().rev().cloned().collect();
        let back = table_of(&back, Bounds::default());
        for stored in &all {
            prop_assert_eq!(judged(&forth, stored), judged(&back, stored));
        }
        prop_assert_eq!(forth.rules(), back.rules());
    }

    #[test]
    fn forgetting_changes_nothing_for_what_is_younger(
        rules in any_rules(), all in any_stored(), time in 0..32_i64,
    ) {
        let table = table_of(&rules, Bounds::default());
        table.forget_before(at(time));
        prop_assert!(table.rules().iter().all(|rule| rule.at >= at(time)));
        for stored in all.iter().filter(|stored| stored.at >= time) {
            prop_assert_eq!(judged(&table, stored), by_walking(&rules, stored));
        }
    }
}

#[test]
fn an_empty_table_has_no_version_and_no_verdicts() {
    let table = Invalidations::default();
    assert_eq!((table.version(), table.rules().len()), (0, 0));
    let stored = Stored::new("s:a:1", &["t:1"], i64::MIN);
    assert_eq!(judged(&table, &stored), Validity::Valid);
}

#[test]
fn the_time_itself_is_hit_and_the_next_millisecond_is_not() {
    for subject in ["key s:a:1", "tag t:1", "pattern s:*", "everything"] {
        let table = table_of(&[rule(subject, Mode::Hard, 10)], Bounds::default());
        for (stored_at, expected) in
            [(9, Validity::Hard), (10, Validity::Hard), (11, Validity::Valid)]
        {
            let stored = Stored::new("s:a:1", &["t:1"], stored_at);
            assert_eq!(judged(&table, &stored), expected, "{subject} at {stored_at}");
        }
    }
}

#[test]
fn hard_wins_whichever_came_first() {
    for (soft, hard) in [(10, 20), (20, 10), (10, 10)] {
        let rules = [rule("tag t:1", Mode::Soft, soft), rule("key s:a:1", Mode::Hard, hard)];
        let table = table_of(&rules, Bounds::default());
        assert_eq!(judged(&table, &Stored::new("s:a:1", &["t:1"], 5)), Validity::Hard);
    }
}

#[test]
fn a_soft_rule_does_not_soften_a_hard_one() {
    let table = Invalidations::default();
    assert!(table.apply(&rule("tag t:1", Mode::Hard, 10)));
    assert!(!table.apply(&rule("tag t:1", Mode::Soft, 10)));
    assert!(table.apply(&rule("tag t:1", Mode::Soft, 20)));
    let verdict = |stored_at| judged(&table, &Stored::new("k", &["t:1"], stored_at));
    assert_eq!([10, 20, 21].map(verdict), [Validity::Hard, Validity::Soft, Validity::Valid]);
    assert_eq!(counts(&table).0, [0, 1, 0]);
}

#[test]
fn a_clock_that_steps_back_makes_nothing_valid_again() {
    let table = Invalidations::default();
    assert!(table.apply(&rule("tag t:1", Mode::Hard, 1_000)));
    assert!(!table.apply(&rule("tag t:1", Mode::Hard, 400)));
    assert_eq!(judged(&table, &Stored::new("k", &["t:1"], 900)), Validity::Hard);
}

#[test]
fn many_tags_at_one_instant_become_one_time() {
    let table = Invalidations::new(Bounds { named: 100, ..Bounds::default() });
    for number in 0..=100 {
        assert!(table.apply(&rule(&format!("tag t:{number}"), Mode::Soft, 7)));
    }
    assert_eq!(counts(&table), ([0, 0, 0], Some(at(7))));
    assert_eq!(judged(&table, &Stored::new("k", &[], 7)), Validity::Soft);
    assert_eq!(judged(&table, &Stored::new("k", &["t:5"], 8)), Validity::Valid);
}

#[test]
fn the_oldest_go_first_and_a_few_at_once() {
    let table = Invalidations::new(Bounds { named: 160, ..Bounds::default() });
    for number in 0..=160 {
        table.apply(&rule(&format!("tag t:{number}"), Mode::Soft, number));
    }
    assert_eq!(counts(&table), ([0, 150, 0], Some(at(10))));
}

#[test]
fn everything_makes_older_rules_needless() {
    let rules = [
        rule("tag t:1", Mode::Soft, 10),
        rule("tag t:2", Mode::Hard, 10),
        rule("key k", Mode::Hard, 30),
    ];
    let table = table_of(&rules, Bounds::default());
    assert!(table.apply(&rule("everything", Mode::Soft, 20)));
    assert_eq!(counts(&table).0, [1, 1, 0]);
    assert!(!table.apply(&rule("tag t:3", Mode::Soft, 20)));
    assert!(table.apply(&rule("tag t:3", Mode::Hard, 20)));
}

#[test]
fn until_the_log_is_read_what_is_older_than_the_start_is_soft_at_least() {
    let table = Invalidations::default();
    table.await_log(at(10));
    let version = table.version();
    table.apply(&rule("tag t:1", Mode::Hard, 5));
    let verdict = |stored_at| judged(&table, &Stored::new("k", &["t:1"], stored_at));
    assert_eq!([5, 10, 11].map(verdict), [Validity::Hard, Validity::Soft, Validity::Valid]);
    assert!(!table.is_known());
    table.all_known();
    assert!(table.is_known() && table.version() > version + 1, "verdicts are reached anew");
    assert_eq!([5, 10, 11].map(verdict), [Validity::Hard, Validity::Valid, Validity::Valid]);
}

#[test]
fn all_clones_are_one_table_for_all_threads() {
    let table = Invalidations::default();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let table = table.clone();
            scope.spawn(move || {
                for number in 0..200 {
                    let tag = format!("t:{thread}:{number}");
                    assert!(table.apply(&rule(&format!("tag {tag}"), Mode::Soft, number)));
                    let version = table.version();
                    let stored = Stored { key: "k".into(), tags: vec![tag], at: number };
                    assert_eq!(judged(&table, &stored), Validity::Soft);
                    assert!(table.version() >= version);
                }
            });
        }
    });
    assert_eq!((table.version(), counts(&table).0[1]), (800, 800));
}
