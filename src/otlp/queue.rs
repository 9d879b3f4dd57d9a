//! The spans that wait, and what becomes of them: a machine without I/O.
//!
//! Owns: when a batch is sent, when again, and what is dropped. A batch is full, or its oldest span has waited
//! long enough. One batch is under way at a time; while the collector is away the others wait behind it and
//! what comes then finds no room. Time and chance are arguments.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::span::Span;
use crate::resilience::backoff::Backoff;

/// Spans that wait, the batch under way among them.
pub(super) const MOST: usize = 2_048;
/// Of these, those that only their callers want: they drive out no failure.
const MOST_WANTED: usize = MOST / 2;
const BATCH: usize = 512;
/// Longest wait for a batch to become full.
const LINGER: Duration = Duration::from_secs(5);
/// How often a batch is sent at most.
const ATTEMPTS: u32 = 4;
const PAUSES: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(5) };
/// So long a collector may ask to wait (`Retry-After`).
const LONGEST_TOLD: Duration = Duration::from_secs(60);

/// Why spans were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanDrop {
    /// Too many wait.
    QueueFull,
    /// The collector does not take them.
    Rejected,
    /// No answer, or one that says "later", to the last attempt.
    Unavailable,
    /// The process stopped.
    Stopped,
}

impl SpanDrop {
    pub const ALL: [Self; 4] = [Self::QueueFull, Self::Rejected, Self::Unavailable, Self::Stopped];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::Stopped => "stopped",
        }
    }
}

/// What the collector made of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExportOutcome {
    /// All but so many were taken.
    Taken {
        rejected: usize,
    },
    Rejected,
    /// It may take it later, after this time if it told one.
    Later(Option<Duration>),
}

/// What became of spans for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SpansDone {
    pub(super) exported: usize,
    pub(super) dropped: Option<(SpanDrop, usize)>,
}

impl SpansDone {
    const fn dropped(reason: SpanDrop, spans: usize) -> Self {
        Self { exported: 0, dropped: Some((reason, spans)) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NextExport {
    Send(Arc<[Span]>),
    /// Nothing is to be done until then, or until something changes.
    Wait(Option<Instant>),
    /// It is closed, and nothing is left or its time is over.
    Over,
}

#[derive(Debug)]
struct InHand {
    spans: Arc<[Span]>,
    attempts: u32,
    /// When it is sent again; `None`: it is under way.
    again: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct SpanQueue {
    /// Each with the time at which it came.
    waiting: VecDeque<(Instant, Span)>,
    batch: Option<InHand>,
    /// When what is left is dropped.
    closing: Option<Instant>,
}

impl SpanQueue {
    fn len(&self) -> usize {
        let batch = self.batch.as_ref().map_or(0, |batch| batch.spans.len());
        self.waiting.len().saturating_add(batch)
    }

    /// Whether there is room for so many spans: of a request that is `kept`, or one whose caller alone
    /// wants them.
    pub(super) fn has_room(&self, spans: usize, kept: bool) -> bool {
        let most = if kept { MOST } else { MOST_WANTED };
        self.closing.is_none() && self.len().saturating_add(spans) <= most
    }

    /// Adds the spans of a request, all or none; whether whoever sends has to look again. The error is
    /// how many were dropped.
    pub(super) fn put(
        &mut self,
        spans: Vec<Span>,
        kept: bool,
        now: Instant,
    ) -> Result<bool, usize> {
        if !self.has_room(spans.len(), kept) {
            return Err(spans.len());
        }
        let before = self.waiting.len();
        self.waiting.extend(spans.into_iter().map(|span| (now, span)));
        Ok(before == 0 || before < BATCH && self.waiting.len() >= BATCH)
    }

    pub(super) fn next(&mut self, now: Instant) -> NextExport {
        if self.closing.is_some_and(|until| now >= until) {
            return NextExport::Over;
        }
        let is_closing = self.closing.is_some();
        if let Some(batch) = &mut self.batch {
            if let Some(again) = batch.again.filter(|again| !is_closing && *again > now) {
                return NextExport::Wait(Some(again));
            }
            batch.attempts = batch.attempts.saturating_add(1);
            batch.again = None;
            return NextExport::Send(Arc::clone(&batch.spans));
        }
        let due = self.waiting.front().map(|(came, _)| *came + LINGER);
        let is_due = self.waiting.len() >= BATCH || due.is_some_and(|due| due <= now);
        match due {
            None if is_closing => NextExport::Over,
            Some(_) if is_due || is_closing => NextExport::Send(self.take()),
            due => NextExport::Wait(due),
        }
    }

    fn take(&mut self) -> Arc<[Span]> {
        let most = self.waiting.len().min(BATCH);
        let spans: Arc<[Span]> = self.waiting.drain(..most).map(|(_, span)| span).collect();
        self.batch = Some(InHand { spans: Arc::clone(&spans), attempts: 1, again: None });
        spans
    }

    /// The batch under way was sent.
    pub(super) fn ended(&mut self, sent: ExportOutcome, now: Instant, chance: f64) -> SpansDone {
        let Some(mut batch) = self.batch.take() else { return SpansDone::default() };
        let spans = batch.spans.len();
        match sent {
            ExportOutcome::Taken { rejected } => {
                let rejected = rejected.min(spans);
                let dropped = (rejected > 0).then_some((SpanDrop::Rejected, rejected));
                SpansDone { exported: spans.saturating_sub(rejected), dropped }
            }
            ExportOutcome::Rejected => SpansDone::dropped(SpanDrop::Rejected, spans),
            ExportOutcome::Later(_) if batch.attempts >= ATTEMPTS || self.closing.is_some() => {
                SpansDone::dropped(SpanDrop::Unavailable, spans)
            }
            ExportOutcome::Later(told) => {
                let pause = told.map(|told| told.min(LONGEST_TOLD));
                let pause = pause.unwrap_or_else(|| PAUSES.jittered(batch.attempts, chance));
                batch.again = Some(now + pause);
                self.batch = Some(batch);
                SpansDone::default()
            }
        }
    }

    /// Whoever sent the batch under way died.
    pub(super) fn lost(&mut self, now: Instant, chance: f64) -> SpansDone {
        match &self.batch {
            Some(batch) if batch.again.is_none() => {
                self.ended(ExportOutcome::Later(None), now, chance)
            }
            Some(_) | None => SpansDone::default(),
        }
    }

    /// Nothing is added any more; what is left is sent until then, once.
    pub(super) fn close(&mut self, until: Instant) {
        self.closing.get_or_insert(until);
    }

    /// Drops what is left.
    pub(super) fn give_up(&mut self) -> SpansDone {
        let left = self.len();
        (self.waiting, self.batch) = (VecDeque::new(), None);
        if left == 0 { SpansDone::default() } else { SpansDone::dropped(SpanDrop::Stopped, left) }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
