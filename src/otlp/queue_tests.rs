//! Tests of the file beside it.

use super::*;
use crate::clock;
use crate::otlp::span::SpanKind;
use crate::trace::Trace;

fn spans(number: usize) -> Vec<Span> {
    let trace = Trace::alone(|| 1);
    let span = Span {
        trace: trace.id,
        id: trace.span,
        parent: None,
        state: None,
        kind: SpanKind::Server,
        name: "a".into(),
        started: 0,
        ended: 0,
        attributes: Vec::new(),
        events: Vec::new(),
        failed: false,
    };
    vec![span; number]
}

fn sent(next: &NextExport) -> usize {
    match next {
        NextExport::Send(spans) => spans.len(),
        NextExport::Wait(_) | NextExport::Over => 0,
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_batch_is_sent_when_it_is_full_or_has_waited() {
    let (mut queue, now) = (SpanQueue::default(), clock::monotonic());
    assert_eq!(queue.next(now), NextExport::Wait(None));
    assert_eq!(queue.put(spans(3), true, now), Ok(true), "the sender learns of the first");
    assert_eq!(queue.put(spans(1), true, now + seconds(1)), Ok(false));
    assert_eq!(queue.next(now + seconds(4)), NextExport::Wait(Some(now + LINGER)));
    assert_eq!(sent(&queue.next(now + LINGER)), 4);
    let taken = ExportOutcome::Taken { rejected: 0 };
    let all = SpansDone { exported: 4, dropped: None };
    assert_eq!(queue.ended(taken, now, 0.0), all);
    assert_eq!(queue.next(now + LINGER), NextExport::Wait(None));

    assert_eq!(queue.put(spans(511), true, now), Ok(true));
    assert_eq!(queue.put(spans(20), true, now), Ok(true), "and of a full batch");
    assert_eq!(sent(&queue.next(now)), BATCH);
    queue.ended(taken, now, 0.0);
    assert_eq!(
        queue.next(now),
        NextExport::Wait(Some(now + LINGER)),
        "the rest waits its own time"
    );
}

#[test]
fn the_room_is_counted_in_spans_and_a_request_is_not_cut() {
    let (mut queue, now) = (SpanQueue::default(), clock::monotonic());
    queue.put(spans(MOST_WANTED - 1), false, now).unwrap();
    assert_eq!(queue.put(spans(2), false, now), Err(2), "what only callers want has half of it");
    assert_eq!(queue.put(spans(1), false, now), Ok(false));
    queue.put(spans(MOST_WANTED - 1), true, now).unwrap();
    assert_eq!(queue.put(spans(2), true, now), Err(2));
    assert_eq!(sent(&queue.next(now)), BATCH);
    assert!(!queue.has_room(2, true), "what is under way takes its room");
    queue.ended(ExportOutcome::Taken { rejected: 0 }, now, 0.0);
    assert!(queue.has_room(BATCH, true));
}

#[test]
fn a_batch_is_tried_again_with_pauses_and_then_dropped() {
    let (mut queue, mut now) = (SpanQueue::default(), clock::monotonic());
    queue.put(spans(1), true, now).unwrap();
    now += LINGER;
    for (told, pause) in
        [(None, seconds(1)), (Some(seconds(7)), seconds(7)), (Some(seconds(3_600)), LONGEST_TOLD)]
    {
        assert_eq!(sent(&queue.next(now)), 1);
        assert_eq!(queue.ended(ExportOutcome::Later(told), now, 1.0), SpansDone::default());
        assert_eq!(queue.next(now), NextExport::Wait(Some(now + pause)));
        queue.put(spans(600), true, now).unwrap();
        assert_eq!(
            queue.next(now),
            NextExport::Wait(Some(now + pause)),
            "the others wait behind it"
        );
        now += pause;
    }
    assert_eq!(sent(&queue.next(now)), 1);
    let dropped = SpansDone { exported: 0, dropped: Some((SpanDrop::Unavailable, 1)) };
    assert_eq!(queue.ended(ExportOutcome::Later(Some(seconds(1))), now, 1.0), dropped);
    assert_eq!(sent(&queue.next(now)), BATCH, "the next has attempts of its own");
}

#[test]
fn what_is_refused_is_not_sent_again() {
    let (mut queue, now) = (SpanQueue::default(), clock::monotonic());
    for (sent, exported, dropped) in [
        (ExportOutcome::Rejected, 0, Some((SpanDrop::Rejected, 5))),
        (ExportOutcome::Taken { rejected: 2 }, 3, Some((SpanDrop::Rejected, 2))),
        (ExportOutcome::Taken { rejected: 99 }, 0, Some((SpanDrop::Rejected, 5))),
    ] {
        queue.put(spans(5), true, now).unwrap();
        queue.next(now + LINGER);
        assert_eq!(queue.ended(sent, now, 0.0), SpansDone { exported, dropped }, "{sent:?}");
        assert_eq!(queue.next(now + LINGER), NextExport::Wait(None));
    }
}

#[test]
fn a_batch_whose_sender_dies_costs_an_attempt_and_is_not_for_ever() {
    let (mut queue, mut now) = (SpanQueue::default(), clock::monotonic());
    assert_eq!(queue.lost(now, 0.0), SpansDone::default());
    queue.put(spans(1), true, now).unwrap();
    let mut done = SpansDone::default();
    for _ in 0..ATTEMPTS {
        now += LINGER;
        assert_eq!((sent(&queue.next(now)), done), (1, SpansDone::default()));
        done = queue.lost(now, 0.0);
    }
    assert_eq!(done.dropped, Some((SpanDrop::Unavailable, 1)));
    // One that waits for its next attempt lost nothing.
    queue.put(spans(1), true, now).unwrap();
    now += LINGER;
    queue.next(now);
    queue.ended(ExportOutcome::Later(None), now, 0.0);
    let waits = queue.next(now);
    assert_eq!((queue.lost(now, 0.0), queue.next(now)), (SpansDone::default(), waits));
}

#[test]
fn at_the_end_what_is_left_is_sent_once_and_the_rest_is_dropped() {
    let (mut queue, now) = (SpanQueue::default(), clock::monotonic());
    queue.put(spans(600), true, now).unwrap();
    queue.next(now);
    queue.ended(ExportOutcome::Later(Some(seconds(30))), now, 0.0);
    queue.close(now + seconds(1));
    assert_eq!(queue.put(spans(1), true, now), Err(1));
    assert_eq!(sent(&queue.next(now)), BATCH, "at once, whatever it was told");
    let done = queue.ended(ExportOutcome::Later(None), now, 0.0);
    assert_eq!(done.dropped, Some((SpanDrop::Unavailable, BATCH)));
    assert_eq!(sent(&queue.next(now)), 600 - BATCH);
    assert_eq!(queue.next(now + seconds(1)), NextExport::Over, "its time is over");
    assert_eq!(queue.give_up().dropped, Some((SpanDrop::Stopped, 600 - BATCH)));
    assert_eq!((queue.next(now), queue.give_up()), (NextExport::Over, SpansDone::default()));
}
