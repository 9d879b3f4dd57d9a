//! What became of a day.
//!
//! Owns: each question's answer, the calls that the upstream saw, the breaker's moves, and how
//! they are counted.

use std::ops::Range;
use std::time::Duration;

use breakwater::origin::state::OriginStatus;
use breakwater::resilience::breaker::State;

/// What a question was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Products.
    Ok,
    /// There are none, which is an answer.
    Empty,
    /// The upstream failed.
    Unavailable,
    /// The upstream said to wait.
    Throttled,
    /// Not asked: the breaker is open.
    CircuitOpen,
    /// Not asked: more questions than the pace allows.
    Overloaded,
    /// No answer in time.
    Deadline,
    /// The upstream does not accept us.
    Rejected,
}

impl Answer {
    /// Every kind, with its name.
    pub(crate) const ALL: [(Self, &'static str); 8] = [
        (Self::Ok, "ok"),
        (Self::Empty, "empty"),
        (Self::Unavailable, "unavailable"),
        (Self::Throttled, "throttled"),
        (Self::CircuitOpen, "circuit open"),
        (Self::Overloaded, "overloaded"),
        (Self::Deadline, "deadline"),
        (Self::Rejected, "rejected"),
    ];

    /// Whether the question was answered.
    pub(crate) const fn is_good(self) -> bool {
        matches!(self, Self::Ok | Self::Empty)
    }
}

/// A question and what became of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    /// When it came.
    pub(crate) asked: Duration,
    /// When it was answered.
    pub(crate) answered: Duration,
    /// Calls made for it.
    pub(crate) calls: u32,
    /// The answer.
    pub(crate) answer: Answer,
}

/// A change of a breaker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Move {
    /// When.
    pub(crate) at: Duration,
    /// The state before.
    pub(crate) from: State,
    /// The state after.
    pub(crate) to: State,
}

/// What became of a day.
#[derive(Debug)]
pub(crate) struct Record {
    /// Who asked.
    pub(crate) client: &'static str,
    /// All questions, in the order of their answers.
    pub(crate) questions: Vec<Question>,
    /// When the upstream received calls.
    pub(crate) calls: Vec<Duration>,
    /// What the breakers did, if there are any.
    pub(crate) moves: Vec<Move>,
    /// The accounts at the end of the day, if the client knows of such things.
    pub(crate) status: Option<OriginStatus>,
}

impl Record {
    /// Calls that were not the first for their question.
    pub(crate) fn retries(&self) -> u64 {
        self.questions.iter().map(|question| u64::from(question.calls.saturating_sub(1))).sum()
    }

    /// Calls within a time.
    pub(crate) fn calls_in(&self, time: &Range<Duration>) -> usize {
        self.calls.iter().filter(|at| time.contains(*at)).count()
    }

    /// Questions that came within a time.
    pub(crate) fn asked_in(&self, time: &Range<Duration>) -> impl Iterator<Item = &Question> {
        self.questions.iter().filter(|question| time.contains(&question.asked))
    }

    /// The same that were answered.
    pub(crate) fn good_in(&self, time: &Range<Duration>) -> usize {
        self.asked_in(time).filter(|question| question.answer.is_good()).count()
    }

    /// Questions answered so.
    pub(crate) fn answered(&self, answer: Answer) -> usize {
        self.questions.iter().filter(|question| question.answer == answer).count()
    }

    /// The most calls in any stretch of time so long.
    pub(crate) fn most_in_any(&self, stretch: Duration) -> usize {
        let (mut first, mut most) = (0, 0);
        for (last, at) in self.calls.iter().enumerate() {
            while *at - self.calls[first] >= stretch {
                first += 1;
            }
            most = most.max(last + 1 - first);
        }
        most
    }

    /// How long after a moment the first good answer came.
    pub(crate) fn first_good_after(&self, moment: Duration) -> Option<Duration> {
        let good = self.questions.iter().filter(|question| question.answer.is_good());
        good.filter(|q| q.answered >= moment).map(|q| q.answered - moment).min()
    }
}
