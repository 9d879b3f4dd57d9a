//! What invalidations do to entries in memory, on disk and on their way.

use std::sync::Arc;
use std::time::Duration;

use super::fixture::{Brings, Fixture, KIND, Source, body_of, down, fresh, key};
use crate::cache::invalidations::log::Follower;
use crate::cache::{Answer, Cleared, Entry, LongestLife, Mode, Rule, Subject, Tag, Tier};
use crate::clock;

fn tagged(body: &str, tags: &[&str]) -> Entry {
    let entry = fresh(body);
    let tags = tags.iter().map(|tag| Tag::of(tag)).collect();
    Entry::new(entry.representation.clone(), entry.times, false, tags)
}

fn subject(text: &str) -> Subject {
    text.parse().unwrap()
}

async fn invalidate(fixture: &Fixture, text: &str, mode: Mode) -> Cleared {
    fixture.client.invalidate(subject(text), mode, "test").await.unwrap()
}

async fn ask(fixture: &Fixture, name: &str, source: &Source) -> Answer {
    fixture.get(name, source).await.unwrap()
}

/// Another instance made a rule; whether it says something new.
fn receives(fixture: &Fixture, rule: Rule) -> bool {
    let tables = fixture.client.tables();
    let (invalidations, metrics) = (tables.invalidations.clone(), tables.metrics.clone());
    Follower { invalidations, metrics, longest: LongestLife::default() }.receive(rule, clock::now())
}

/// Until what happens next is later on a clock of milliseconds.
async fn a_moment() {
    let before = clock::now();
    while clock::now() <= before.plus(Duration::from_millis(1)) {
        tokio::task::yield_now().await;
    }
}

/// Every kind of subject that hits `hit` and spares `spared`.
const NARROW: [&str; 3] = ["key test:search:hit", "tag product:1", "pattern *:h?t"];

fn two_entries() -> Fixture {
    let fixture = Fixture::of_memory();
    fixture.holds("hit", tagged("old", &["product:1", "category:7"]));
    fixture.holds("spared", tagged("old", &["product:2", "category:7"]));
    fixture
}

#[actix::test]
async fn what_is_hit_is_loaded_anew_and_what_is_not_stays() {
    for mode in [Mode::Hard, Mode::Soft] {
        for text in NARROW {
            let (fixture, source) = (two_entries(), Source::open(Brings::Bodies));
            assert_eq!(body_of(&ask(&fixture, "hit", &source).await), "old");
            invalidate(&fixture, text, mode).await;
            let answer = ask(&fixture, "hit", &source).await;
            assert_eq!((answer.tier, answer.stale), (Tier::Upstream, false), "{text}");
            let again = ask(&fixture, "hit", &source).await;
            assert_eq!((again.tier, body_of(&again)), (Tier::Memory, body_of(&answer)), "{text}");
            assert_eq!(body_of(&ask(&fixture, "spared", &source).await), "old", "{text}");
        }
    }
}

#[actix::test]
async fn everything_and_a_shared_tag_hit_both() {
    for text in ["everything", "tag category:7", "pattern test:*"] {
        let (fixture, source) = (two_entries(), Source::open(Brings::Bodies));
        invalidate(&fixture, text, Mode::Soft).await;
        for name in ["hit", "spared"] {
            assert_eq!(ask(&fixture, name, &source).await.tier, Tier::Upstream, "{text}");
        }
    }
}

#[actix::test]
async fn while_the_source_is_down_soft_keeps_the_answer_and_hard_does_not() {
    for text in NARROW.into_iter().chain(["everything"]) {
        let (fixture, source) = (two_entries(), Source::open(down()));
        invalidate(&fixture, text, Mode::Soft).await;
        let answer = ask(&fixture, "hit", &source).await;
        assert_eq!((body_of(&answer), answer.stale), ("old", true), "{text}");
        let (fixture, source) = (two_entries(), Source::open(down()));
        invalidate(&fixture, text, Mode::Hard).await;
        assert!(fixture.get("hit", &source).await.is_err(), "{text}");
    }
}

#[actix::test]
async fn an_empty_result_is_not_kept_for_an_emergency() {
    let fixture = Fixture::of_memory();
    let entry = fresh("[]");
    fixture.holds("hit", Entry::new(entry.representation.clone(), entry.times, true, Vec::new()));
    invalidate(&fixture, "everything", Mode::Soft).await;
    assert!(fixture.get("hit", &Source::open(down())).await.is_err());
}

/// The data may be from before the invalidation.
#[actix::test]
async fn what_was_asked_for_before_it_and_arrives_after_it_is_hit() {
    let (fixture, source) = (Fixture::of_memory(), Source::held(Brings::Bodies));
    let early = async {
        source.until_asked(1).await;
        a_moment().await;
        invalidate(&fixture, "key test:search:hit", Mode::Hard).await;
        source.let_go(10);
    };
    let (answer, ()) = futures_util::future::join(ask(&fixture, "hit", &source), early).await;
    assert_eq!(body_of(&answer), "load 1 place 0");
    fixture.until_loaded().await;
    assert_eq!(body_of(&ask(&fixture, "hit", &source).await), "load 2 place 0");
    assert_eq!(ask(&fixture, "hit", &source).await.tier, Tier::Memory);
}

#[actix::test]
async fn rows_are_hit_where_they_lie() {
    for (text, rows) in [("tag product:1", 1), ("key test:search:hit", 1), ("everything", 2)] {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Fixture::over(&folder.path().join("cache.db"));
        let source = Source::open(Brings::Bodies);
        fixture.stores("hit", Arc::new(tagged("old", &["product:1"]))).await;
        fixture.stores("spared", Arc::new(tagged("old", &["product:2"]))).await;
        fixture.client.tables().database.writer.flush().await;
        let cleared = invalidate(&fixture, text, Mode::Hard).await;
        assert_eq!((cleared.memory, cleared.database), (0, rows), "{text}");
        assert_eq!(ask(&fixture, "hit", &source).await.tier, Tier::Upstream, "{text}");
        let spared = ask(&fixture, "spared", &source).await.tier;
        assert_eq!(spared == Tier::Database, text != "everything", "{text}");
    }
}

#[actix::test]
async fn a_soft_row_is_served_when_the_source_is_down() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::over(&folder.path().join("cache.db"));
    fixture.stores("hit", Arc::new(tagged("old", &["product:1"]))).await;
    fixture.client.tables().database.writer.flush().await;
    invalidate(&fixture, "tag product:1", Mode::Soft).await;
    let answer = ask(&fixture, "hit", &Source::open(down())).await;
    assert_eq!((body_of(&answer), answer.tier, answer.stale), ("old", Tier::Database, true));
}

#[actix::test]
async fn invalidations_are_counted_by_reason() {
    let fixture = two_entries();
    let count = |reason: &str| {
        let line = format!("cache_invalidations_total{{cache_type=\"all\",reason=\"{reason}\"}}");
        fixture.metric(&line)
    };
    invalidate(&fixture, "tag product:1", Mode::Hard).await;
    assert_eq!(count("test"), 1, "one at least");
    assert_eq!(invalidate(&fixture, "everything", Mode::Hard).await.memory, 2);
    assert_eq!(count("test"), 3);
    let rule = Rule { subject: subject("tag t:1"), mode: Mode::Soft, at: clock::now() };
    let rule = Rule { at: rule.at.plus(Duration::from_secs(1)), ..rule };
    assert!(receives(&fixture, rule.clone()));
    assert!(!receives(&fixture, rule), "received twice");
    assert_eq!(count("remote_tag"), 1);
}

#[actix::test]
async fn a_rule_from_another_process_is_held_against_memory() {
    let (fixture, source) = (two_entries(), Source::open(Brings::Bodies));
    let old = clock::now().minus(Duration::from_secs(60));
    let rule = Rule { subject: Subject::Everything, mode: Mode::Hard, at: old };
    assert!(receives(&fixture, rule.clone()));
    assert_eq!(body_of(&ask(&fixture, "hit", &source).await), "old", "stored later");
    assert!(receives(&fixture, Rule { at: clock::now(), ..rule }));
    assert_eq!(ask(&fixture, "hit", &source).await.tier, Tier::Upstream);
}

#[actix::test]
async fn a_clock_that_is_ahead_does_not_keep_the_cache_empty() {
    let fixture = Fixture::of_memory();
    let end = clock::now().plus(Duration::from_secs(1_000_000));
    let rule = Rule { subject: Subject::Everything, mode: Mode::Hard, at: end };
    receives(&fixture, rule);
    let later = clock::now().plus(Duration::from_secs(11));
    let tables = fixture.client.tables();
    let entry = fresh(KIND);
    let times = crate::cache::Times { stored_at: later, ..entry.times };
    let entry = Entry::new(entry.representation.clone(), times, false, Vec::new());
    assert!(tables.judge(&key("hit"), &entry, clock::now()).is_fresh());
}

/// A rule that another's clock, or this one before it was set back, has put into the future.
#[actix::test]
async fn a_rule_that_lies_ahead_does_not_hit_what_is_loaded_after_it_was_received() {
    let (fixture, source) = (two_entries(), Source::open(Brings::Bodies));
    let ahead = clock::now().plus(Duration::from_secs(5));
    let rule = Rule { subject: Subject::Everything, mode: Mode::Hard, at: ahead };
    assert!(receives(&fixture, rule));
    assert_eq!(ask(&fixture, "hit", &source).await.tier, Tier::Upstream);
    assert_eq!(ask(&fixture, "hit", &source).await.tier, Tier::Memory);
    assert_eq!(source.asked().len(), 1);
}

/// Callers that followed the load before it may have that answer; a caller that comes after it may not.
#[actix::test]
async fn a_caller_after_an_invalidation_does_not_get_the_answer_to_an_earlier_question() {
    let (fixture, source) = (Fixture::of_memory(), Source::held(Brings::Bodies));
    let late = async {
        source.until_asked(1).await;
        a_moment().await;
        invalidate(&fixture, "key test:search:hit", Mode::Hard).await;
        a_moment().await;
        let completed = async {
            while fixture.client.tables().memory.get(&key("hit")).is_none() {
                source.let_go(1);
                tokio::task::yield_now().await;
            }
            source.let_go(10);
        };
        futures_util::future::join(ask(&fixture, "hit", &source), completed).await.0
    };
    let (early, late) = futures_util::future::join(ask(&fixture, "hit", &source), late).await;
    assert_eq!((body_of(&early), body_of(&late)), ("load 1 place 0", "load 2 place 0"));
}

/// At the soft time-out a stale answer is announced to all callers; not after it is invalidated.
#[actix::test]
async fn what_was_announced_before_an_invalidation_is_not_given_after_it() {
    let fixture = Fixture::with_soft_time_out(Duration::from_millis(5));
    fixture.holds("hit", super::fixture::for_emergencies("old"));
    let source = Source::held(Brings::Bodies);
    assert_eq!(body_of(&ask(&fixture, "hit", &source).await), "old");
    invalidate(&fixture, "key test:search:hit", Mode::Hard).await;
    a_moment().await;
    source.let_go(10);
    let answer = ask(&fixture, "hit", &source).await;
    assert_ne!(body_of(&answer), "old");
}
