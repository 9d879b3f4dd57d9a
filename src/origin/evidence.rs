//! Whose fault a failure is: the upstream's, one method's, or one question's.
//!
//! Owns: what the last calls with one credential say about its methods and questions. One question that
//! the upstream cannot answer, however often it is asked, says nothing about the others; nor does a
//! method that fails while others work. Several different questions that fail say that it is everybody.
//! Plain functions of state, event and time; `health` keeps it. When the upstream is down, all methods
//! fail, none is alone, and every question counts once.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// Different questions that are "several".
const SEVERAL: usize = 3;
/// A question that failed counts once in so long; and so long the success of another method shows that a
/// failing one is alone.
const LATELY: Duration = Duration::from_secs(30);
/// Failed questions that are remembered.
const REMEMBERED: usize = 256;
/// So long a probe waits for a method that worked, before any other may make it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was asked: the method, and a fingerprint of the whole question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) operation: &'static str,
    pub(super) question: u64,
}

impl Asked {
    pub(super) fn new(operation: &'static str, question: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        question.hash(&mut hasher);
        Self { operation, question: hasher.finish() }
    }
}

#[derive(Debug, Default)]
struct Method {
    /// It was answered at least once.
    worked: bool,
    /// Since its last success.
    failing: bool,
    /// When another method was last answered while this one failed.
    other_worked: Option<Instant>,
}

/// Different questions since the last success.
#[derive(Debug, Default)]
struct Different {
    questions: Vec<u64>,
    operations: Vec<&'static str>,
}

impl Different {
    fn note(&mut self, asked: Asked) {
        if self.questions.len() < SEVERAL && !self.questions.contains(&asked.question) {
            self.questions.push(asked.question);
        }
        if self.operations.len() < SEVERAL && !self.operations.contains(&asked.operation) {
            self.operations.push(asked.operation);
        }
    }

    fn are_several(&self) -> bool {
        self.questions.len() >= SEVERAL
    }
}

#[derive(Debug, Default)]
pub(super) struct Evidence {
    methods: BTreeMap<&'static str, Method>,
    /// Questions that failed lately, the last one at the end.
    failed: VecDeque<(u64, Instant)>,
    /// Questions that were refused because of the credential.
    refused: Different,
    /// Questions that were refused, nobody knows why.
    unknown: Different,
    /// Since when a probe waits for a method that worked.
    probe_due: Option<Instant>,
}

impl Evidence {
    /// A call was answered.
    pub(super) fn succeeded(&mut self, operation: &'static str, now: Instant) {
        for method in self.methods.values_mut().filter(|method| method.failing) {
            method.other_worked = Some(now);
        }
        let worked = Method { worked: true, failing: false, other_worked: None };
        self.methods.insert(operation, worked);
        (self.refused, self.unknown) = (Different::default(), Different::default());
        self.probe_due = None;
    }

    /// A call failed; whether that counts against the upstream.
    pub(super) fn failed(&mut self, asked: Asked, now: Instant) -> bool {
        self.fails(asked.operation);
        while self.failed.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) > LATELY)
        {
            self.failed.pop_front();
        }
        let is_repeated = self.failed.iter().any(|(question, _)| *question == asked.question);
        if !is_repeated {
            if self.failed.len() >= REMEMBERED {
                self.failed.pop_front();
            }
            self.failed.push_back((asked.question, now));
        }
        !is_repeated && !self.is_alone(asked.operation, now)
    }

    /// The breaker opened: what failed before has counted, and may count again.
    pub(super) fn forget_failed(&mut self) {
        self.failed.clear();
    }

    /// A question was refused because of the credential; whether that is true of every method. While
    /// nothing was ever answered, it is; else when several questions to different methods were.
    pub(super) fn refused(&mut self, asked: Asked) -> bool {
        let is_proven = self.is_proven();
        self.fails(asked.operation);
        self.refused.note(asked);
        !is_proven || self.refused.are_several() && self.refused.operations.len() > 1
    }

    /// Whether a method may be tried although another was refused because of the credential: nothing
    /// was ever answered, so the fault may be that method's alone.
    pub(super) fn is_untried(&self, operation: &'static str) -> bool {
        let refused = &self.refused.operations;
        !self.is_proven() && refused.len() < 2 && !refused.contains(&operation)
    }

    /// A question was refused, nobody knows why; whether several were.
    pub(super) fn refused_unknown(&mut self, asked: Asked) -> bool {
        self.unknown.note(asked);
        self.unknown.are_several()
    }

    /// Whether a method may find out if the upstream is well again; if not yet, how long it waits for
    /// one that worked to do so.
    pub(super) fn may_probe(
        &mut self,
        operation: &'static str,
        now: Instant,
    ) -> Result<(), Duration> {
        let worked = self.methods.get(operation).is_some_and(|method| method.worked);
        if !self.is_proven() || worked && !self.is_alone(operation, now) {
            return Ok(());
        }
        let waited = now.saturating_duration_since(*self.probe_due.get_or_insert(now));
        match PATIENCE.saturating_sub(waited) {
            Duration::ZERO => Ok(()),
            wait => Err(wait),
        }
    }

    fn is_proven(&self) -> bool {
        self.methods.values().any(|method| method.worked)
    }

    fn fails(&mut self, operation: &'static str) {
        self.methods.entry(operation).or_default().failing = true;
        self.probe_due = None;
    }

    /// Whether a method fails while another works.
    fn is_alone(&self, operation: &str, now: Instant) -> bool {
        let other = self.methods.get(operation).and_then(|method| method.other_worked);
        other.is_some_and(|at| now.saturating_duration_since(at) <= LATELY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);

    const fn asked(operation: &'static str, question: u64) -> Asked {
        Asked { operation, question }
    }

    #[test]
    fn one_question_counts_once_and_different_ones_each() {
        let (mut evidence, now) = (Evidence::default(), clock::monotonic());
        assert!(evidence.failed(asked("search", 1), now));
        assert!(!evidence.failed(asked("search", 1), now + SECOND));
        assert!(evidence.failed(asked("search", 2), now + SECOND));
        // A success between says nothing about the question.
        evidence.succeeded("search", now + 2 * SECOND);
        assert!(!evidence.failed(asked("search", 1), now + 3 * SECOND));
        assert!(evidence.failed(asked("search", 1), now + 31 * SECOND));
        evidence.forget_failed();
        assert!(evidence.failed(asked("search", 1), now + 31 * SECOND));
    }

    #[test]
    fn a_method_that_fails_while_others_work_counts_against_nobody() {
        let (mut evidence, now) = (Evidence::default(), clock::monotonic());
        assert!(evidence.failed(asked("links", 1), now), "it may be everybody");
        evidence.succeeded("search", now);
        assert!(!evidence.failed(asked("links", 2), now + SECOND));
        assert!(evidence.failed(asked("search", 3), now + SECOND), "others count");
        // Nothing was answered for a while: it may be everybody again.
        assert!(evidence.failed(asked("links", 4), now + 31 * SECOND));
        evidence.succeeded("links", now + 32 * SECOND);
        assert!(evidence.failed(asked("links", 5), now + 33 * SECOND));
    }

    #[test]
    fn probes_go_to_a_method_that_worked() {
        let (mut evidence, now) = (Evidence::default(), clock::monotonic());
        assert_eq!(evidence.may_probe("links", now), Ok(()), "nothing ever worked");
        evidence.failed(asked("links", 1), now);
        evidence.succeeded("search", now);
        assert_eq!(evidence.may_probe("search", now), Ok(()));
        assert_eq!(evidence.may_probe("links", now), Err(PATIENCE));
        assert_eq!(evidence.may_probe("categories", now + SECOND), Err(PATIENCE - SECOND));
        assert_eq!(evidence.may_probe("links", now + PATIENCE), Ok(()), "nobody else came");
        evidence.failed(asked("links", 2), now + PATIENCE);
        assert_eq!(evidence.may_probe("links", now + PATIENCE), Err(PATIENCE));
    }

    #[test]
    fn a_refusal_is_of_the_credential_when_nothing_or_nothing_any_more_is_answered() {
        let (mut evidence, now) = (Evidence::default(), clock::monotonic());
        assert!(evidence.refused(asked("links", 1)));
        assert!(evidence.is_untried("search") && !evidence.is_untried("links"));
        evidence.succeeded("search", now);
        for question in 1..10 {
            assert!(
                !evidence.refused(asked("links", question)),
                "one method says nothing of others"
            );
        }
        assert!(evidence.refused(asked("search", 10)), "several, of two methods");
        evidence.succeeded("search", now);
        assert!(!evidence.refused(asked("search", 11)));
        assert!(!evidence.refused(asked("links", 12)));
        assert!(!evidence.refused(asked("links", 12)), "the same again");
        assert!(evidence.refused(asked("details", 13)));
        assert!(!evidence.is_untried("categories"), "it was accepted before");
    }

    #[test]
    fn several_different_refusals_without_a_success_are_worth_a_word() {
        let (mut evidence, now) = (Evidence::default(), clock::monotonic());
        for question in [1, 1, 2, 2] {
            assert!(!evidence.refused_unknown(asked("search", question)));
        }
        assert!(evidence.refused_unknown(asked("search", 3)));
        evidence.succeeded("search", now);
        assert!(!evidence.refused_unknown(asked("search", 4)));
    }
}
