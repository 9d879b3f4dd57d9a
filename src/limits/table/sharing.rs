//! The table on an instance that shares its limits with others.
//!
//! Owns: finding the account of a question that goes out, of its answer, or of the decision without
//! one; the accounts themselves decide. Refuses what they refuse. Without sharing everything is
//! decided at once, by the accounts alone.

use std::num::NonZeroU32;
use std::time::Instant;

use super::Table;
use crate::limits::actor::Admit;
use crate::limits::admission::Admission;
use crate::limits::quota::{Rules, Verdict};
use crate::limits::shared::ledger::{Asked, Ledger, Part};
use crate::limits::shared::{Answer, Question, Sharing, SharingStatus};
use crate::resilience::tick::Tick;
use crate::resilience::window;

/// What the accounts say to a request.
#[derive(Debug)]
pub enum Consultation {
    /// It is decided.
    Decided(Admission),
    /// Redis has to be asked; then [`Table::settle`].
    Ask(Question),
}

impl Table {
    /// The same table on one of so many instances that keep the limits together.
    #[must_use]
    pub fn shared_among(mut self, instances: NonZeroU32) -> Self {
        self.sharing = Some(Sharing::among(instances));
        self
    }

    /// Whether others are asked before a decision.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.sharing.is_some()
    }

    /// How the limits are shared; `None` when they are not.
    #[must_use]
    pub fn sharing(&self, now: Instant) -> Option<SharingStatus> {
        let now = Tick::between(self.origin, now);
        self.sharing.as_ref().map(|sharing| sharing.status(now))
    }

    /// Decides if that can be done without asking Redis.
    #[must_use]
    pub fn consult(&self, request: Admit, now: Instant) -> Consultation {
        let rules = self.rules_of(request);
        let Some(sharing) = self.sharing.as_ref().filter(|_| !rules.is_empty()) else {
            return Consultation::Decided(self.decide(request, now));
        };
        let now = Tick::between(self.origin, now);
        let part = sharing.part(now);
        let consult = |ledger: &mut Ledger, rules: Rules| {
            let told = ledger.consult(part, rules, now, request.cost);
            // Until an answer is there the account must not go.
            let busy = told.as_ref().map_or(window::LENGTH, Verdict::idle_after);
            ((told, rules), busy)
        };
        match self.with_ledger(request, rules, now, consult) {
            Some(((Ok(verdict), _), overflow)) => {
                Consultation::Decided(self.told(request, Some((verdict, overflow))))
            }
            Some(((Err(carried), rules), overflow)) => {
                sharing.count_question();
                Consultation::Ask(Question { request, rules, overflow, carried, sent: now })
            }
            None => Consultation::Decided(Admission::unlimited(request.class)),
        }
    }

    /// Takes in the answer, or decides without. `losses` is how often Redis has been found to have
    /// lost its memory so far.
    #[must_use]
    pub fn settle(
        &self,
        question: Question,
        answer: Option<&Answer>,
        losses: u64,
        now: Instant,
    ) -> Admission {
        let Question { request, rules, carried, sent, .. } = question;
        let Some(sharing) = &self.sharing else {
            return Admission::unlimited(request.class);
        };
        let now = Tick::between(self.origin, now);
        sharing.hear_of_losses(losses, now);
        let part = sharing.part(now);
        let asked = Asked { rules, sent, cost: request.cost, carried };
        let settle = |ledger: &mut Ledger, _: Rules| {
            let verdict = match answer {
                Some(answer) => ledger.settle(part, asked, answer, now),
                None => ledger.unanswered(part, asked, now),
            };
            (verdict, verdict.idle_after())
        };
        let decided = self.told(request, self.with_ledger(request, rules, now, settle));
        let admission = Admission { asked: true, ..decided };
        if answer.is_some() {
            return admission;
        }
        sharing.count_alone();
        Admission { alone: true, ..admission }
    }

    /// Decides at once, by this instance's share where limits are shared.
    #[must_use]
    pub fn alone(&self, request: Admit, now: Instant) -> Admission {
        let rules = self.rules_of(request);
        let Some(sharing) = self.sharing.as_ref().filter(|_| !rules.is_empty()) else {
            return self.decide(request, now);
        };
        let now = Tick::between(self.origin, now);
        let part: Part = sharing.part(now);
        let decide = |ledger: &mut Ledger, rules: Rules| {
            let verdict = ledger.alone(part, rules, now, request.cost);
            (verdict, verdict.idle_after())
        };
        sharing.count_alone();
        let decided = self.with_ledger(request, rules, now, decide);
        Admission { alone: true, ..self.told(request, decided) }
    }
}
