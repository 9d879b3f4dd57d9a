//! The sentence for each state.

use super::*;

const MIN: Duration = Duration::from_secs(60);

fn start() -> Timestamp {
    Timestamp::from_millis(1_796_000_000_000)
}

fn wrong(facts: impl IntoIterator<Item = Fact>) -> Facts {
    Facts { wrong: facts.into_iter().collect(), lately: (100, 0), ..Facts::default() }
}

/// What is said after it was so for two minutes, while so much was counted.
fn after(facts: Facts, counted: Counted) -> Summary {
    let mut watch = Watch::default();
    watch.observe(&facts, start());
    watch.observe(&Facts { counted, ..facts }, start().plus(MIN * 2))
}

fn said(facts: Facts, counted: Counted) -> String {
    after(facts, counted).sentence
}

#[test]
fn healthy() {
    let summary = after(wrong([]), Counted { spared: 5, ..Counted::default() });
    assert_eq!(summary.sentence, "Serving. Everything behind it answers.");
    assert_eq!((summary.level, summary.troubles), (Level::Healthy, vec![]));
}

#[test]
fn an_upstream_that_is_down_and_what_it_costs() {
    let facts = Facts { no_upstream: true, ..wrong([Fact::new(Kind::UpstreamDown, "")]) };
    let counted = Counted { spared: 3_410, stale: 1_204, ..Counted::default() };
    let summary = after(facts.clone(), counted);
    assert_eq!(
        summary.sentence,
        "Serving. Upstream down for 2 min: answers come from the cache, 1,204 stale; clients were \
         spared 3,410 errors."
    );
    assert_eq!((summary.level, summary.troubles[0].since), (Level::Degraded, start()));
    let counted = Counted { failed: 17, ..counted };
    assert!(said(facts, counted).ends_with("spared 3,410 errors; 17 requests failed."));
}

#[test]
fn of_several_upstreams_the_one_is_named_and_nothing_claimed_for_the_others() {
    let facts = wrong([Fact::new(Kind::UpstreamDown, "rates")]);
    let counted = Counted { spared: 3_410, stale: 7, ..Counted::default() };
    let wanted = "Serving. Upstream rates down for 2 min: answers come from the cache, 7 stale.";
    assert_eq!(said(facts, counted), wanted);
}

#[test]
fn an_outage_lasts_while_it_is_probed_and_ends_when_all_is_well() {
    let mut watch = Watch::default();
    let down = wrong([Fact::new(Kind::UpstreamDown, "")]);
    let probed = wrong([Fact::new(Kind::UpstreamRecovering, "")]);
    watch.observe(&down, start());
    let text = watch.observe(&probed, start().plus(MIN)).sentence;
    assert_eq!(
        text,
        "Serving. Upstream is tried again after 1 min: answers come from the cache, 0 stale."
    );
    assert_eq!(watch.observe(&down, start().plus(MIN * 3)).troubles[0].since, start());
    assert_eq!(watch.observe(&wrong([]), start().plus(MIN * 4)).level, Level::Healthy);
    let again = start().plus(MIN * 5);
    assert_eq!(watch.observe(&down, again).troubles[0].since, again);
}

#[test]
fn stores_that_are_away() {
    let redis = Fact::new(Kind::RedisAway, "").saying("memory and database answer");
    let both = [Fact::new(Kind::DatabaseAway, "").saying("nothing is stored"), redis];
    assert_eq!(
        said(wrong(both), Counted::default()),
        "Serving. Redis away for 2 min: memory and database answer. Database away for 2 min: nothing \
         is stored."
    );
}

#[test]
fn a_configuration_that_is_refused_comes_first() {
    let fault = Fact::new(Kind::Misconfigured, "").saying("invalid_key: check the key");
    let all =
        [Fact::new(Kind::Pressure, "").saying("memory"), Fact::new(Kind::AccessLists, ""), fault];
    assert_eq!(
        said(wrong(all), Counted::default()),
        "Serving. Upstream refuses our configuration for 2 min (invalid_key: check the key). Under \
         pressure for 2 min (memory): limits are halved. And 1 more."
    );
}

#[test]
fn overload_tells_how_many_were_refused() {
    let counted = Counted { shed: 1_000_000, ..Counted::default() };
    let text = said(wrong([Fact::new(Kind::Overloaded, "")]), counted);
    assert_eq!(text, "Serving. Overloaded for 2 min: 1,000,000 requests refused.");
}

#[test]
fn errors_that_clients_get_come_first_in_the_sentence() {
    let facts = |errors| Facts { lately: (340, errors), ..Facts::default() };
    let some = after(facts(12), Counted::default());
    assert_eq!(some.sentence, "Serving, but 12 of 340 requests just now got an error.");
    assert_eq!(some.level, Level::Degraded);
    let most = after(facts(200), Counted::default());
    assert_eq!(most.sentence, "Failing: 200 of 340 requests just now got an error.");
    assert_eq!(most.level, Level::Failing);
}

#[test]
fn actors_and_times() {
    let text = said(wrong([Fact::new(Kind::ActorDown, "cache")]), Counted::default());
    assert_eq!(text, "Serving. Actor cache down for 2 min: requests go on without it.");
    for (seconds, told) in
        [(0, "0 s"), (59, "59 s"), (3_599, "59 min"), (7_300, "2 h"), (200_000, "2 d")]
    {
        assert_eq!(duration(Duration::from_secs(seconds)), told);
    }
    for (value, told) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
        assert_eq!(number(value), told);
    }
}
