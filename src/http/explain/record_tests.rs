//! Which step decided, and what is said of it.

use super::*;
use crate::clock;
use crate::failure::FailureKind;

pub(in crate::http::explain) fn record(outcome: Outcome) -> Record {
    Record {
        outcome,
        request_id: "an-id".into(),
        at: Timestamp::default(),
        started: clock::monotonic(),
        duration: Duration::from_micros(42),
        method: "GET",
        route: "/things",
        status: 200,
        code: None,
        cause: None,
        source: None,
        limited: Some(Limited { class: "search", refused_by: None, at: None }),
        noted: Vec::new(),
    }
}

fn source(tier: Tier, ttl_seconds: i64) -> Source {
    Source { tier, ttl_seconds, stale: ttl_seconds < 0, waited: false, ..Source::MISSED }
}

fn noted(steps: &[(Stage, Verdict, &'static str)]) -> Vec<Step> {
    let at = clock::monotonic();
    let step = |(stage, verdict, detail): &(Stage, Verdict, &'static str)| Step {
        at,
        stage: *stage,
        verdict: *verdict,
        detail: Cow::Borrowed(*detail),
    };
    steps.iter().map(step).collect()
}

fn told(record: Record) -> (Stage, Verdict, String) {
    let explained = record.explain();
    let last = explained.steps.last().unwrap();
    (last.stage, last.verdict, explained.sentence)
}

#[test]
fn a_hit_is_told_from_its_answer() {
    let hit = Record { source: Some(source(Tier::Memory, 40)), ..record(Outcome::Hit) };
    let steps = hit.steps();
    assert_eq!((steps.len(), steps[0].stage, steps[0].at_us), (2, Stage::Limit, 0));
    assert_eq!(steps[1].at_us, 42);
    let (stage, verdict, sentence) = told(hit);
    assert_eq!((stage, verdict), (Stage::Memory, Verdict::Hit));
    assert_eq!(sentence, "Answered from memory, fresh for 40 s more.");
}

#[test]
fn a_stale_answer_says_why() {
    let stale = |held, noted| {
        let source = Source { held, ..source(Tier::Memory, -12) };
        told(Record { source: Some(source), noted, ..record(Outcome::Stale) })
    };
    let open =
        "Answered from memory, 12 s past its fresh time, because the upstream's breaker is open.";
    for (held, noted) in [
        (Some(FailureKind::CircuitOpen), Vec::new()),
        (None, noted(&[(Stage::Breaker, Verdict::Refused, "the upstream's breaker is open")])),
    ] {
        assert_eq!(stale(held, noted), (Stage::Memory, Verdict::Stale, open.to_owned()));
    }
    let (.., renewed) = stale(None, Vec::new());
    assert_eq!(renewed, "Answered from memory, 12 s past its fresh time, while it is renewed.");
}

#[test]
fn each_refusal_names_its_stop() {
    let refused = |code: ErrorCode, cause: &str, limited, noted| {
        let (code, status) = (Some(code), code.status().as_u16());
        let cause = Some(cause.into());
        let (stage, verdict, _) =
            told(Record { code, status, cause, limited, noted, ..record(Outcome::Refused) });
        (stage, verdict)
    };
    let by = |rule| Some(Limited { class: "search", refused_by: Some(rule), at: None });
    for (code, limited, noted, wanted) in [
        (ErrorCode::RateLimited, by(RuleKind::Minute), vec![], (Stage::Limit, Verdict::Refused)),
        (ErrorCode::Blocked, None, vec![], (Stage::Access, Verdict::Refused)),
        (ErrorCode::AbuseThrottled, None, vec![], (Stage::Limit, Verdict::Refused)),
        (ErrorCode::Overloaded, None, vec![], (Stage::Connection, Verdict::Refused)),
        (
            ErrorCode::RateLimited,
            None,
            noted(&[(Stage::Pace, Verdict::Refused, "the client has had its share")]),
            (Stage::Pace, Verdict::Refused),
        ),
        (
            ErrorCode::UpstreamUnavailable,
            None,
            noted(&[(Stage::Flight, Verdict::Joined, "the load of request x")]),
            (Stage::Flight, Verdict::Failed),
        ),
    ] {
        assert_eq!(refused(code, "why", limited, noted), wanted, "{code:?}");
    }
}

#[test]
fn a_refusal_is_told_in_words_and_not_in_codes() {
    let refused = |code: ErrorCode, cause: Option<&str>, limited, noted| {
        let (code, status, cause) =
            (Some(code), code.status().as_u16(), cause.map(std::convert::Into::into));
        told(Record { code, status, cause, limited, noted, ..record(Outcome::Refused) }).2
    };
    let waiting = crate::resilience::RejectReason::Standing.in_words();
    let paced = noted(&[(Stage::Pace, Verdict::Refused, waiting)]);
    for (sentence, told) in [
        (
            refused(ErrorCode::Overloaded, None, None, paced),
            "Refused with 503, because the upstream could not be asked: calls have been waiting for a \
             while, so that few more may wait.",
        ),
        (
            refused(ErrorCode::KeyRequired, None, None, vec![]),
            "Refused with 401, because the client may not do this (This needs an API key, in \
             x-internal-key or Authorization).",
        ),
        (
            refused(
                ErrorCode::AbuseThrottled,
                Some(crate::limits::abuse::Pattern::PageScan.in_words()),
                None,
                vec![],
            ),
            "Refused with 429, because the client is throttled for abuse: too many pages of one search \
             (page_scan).",
        ),
        (
            refused(
                ErrorCode::RateLimited,
                None,
                Some(Limited { class: "search", refused_by: Some(RuleKind::Minute), at: None }),
                vec![],
            ),
            "Refused with 429, because the client's limit is used up (search-minute: the requests of a \
             minute are used up).",
        ),
    ] {
        assert_eq!(sentence, told);
    }
}

#[test]
fn what_another_load_brought_was_joined() {
    let joined = Record {
        source: Some(Source { collapsed: true, ..Source::MISSED }),
        noted: noted(&[
            (Stage::Memory, Verdict::Miss, ""),
            (Stage::Flight, Verdict::Joined, "the load of request x"),
        ]),
        ..record(Outcome::Upstream)
    };
    let (stage, verdict, sentence) = told(joined);
    assert_eq!((stage, verdict), (Stage::Flight, Verdict::Joined));
    assert_eq!(sentence, "Answered by the load of another request.");
}

#[test]
fn each_request_is_kept_under_the_first_outcome_that_is_true() {
    let memory = source(Tier::Memory, 9);
    let of =
        |status, source: Option<&Source>, noted, slow| Outcome::of(status, source, noted, slow);
    assert_eq!(of(200, Some(&memory), false, false), Outcome::Hit);
    assert_eq!(of(200, Some(&source(Tier::Memory, -1)), true, true), Outcome::Stale);
    assert_eq!(of(503, Some(&memory), true, true), Outcome::Failed);
    assert_eq!(of(404, None, false, false), Outcome::Refused);
    assert_eq!(of(200, Some(&memory), false, true), Outcome::Slow);
    assert_eq!(of(200, Some(&memory), true, false), Outcome::Upstream);
    assert_eq!(of(200, None, false, false), Outcome::Own, "the gateway's own");
}
