//! One client's account on an instance that shares its limits with others.
//!
//! Owns: what this instance has admitted itself (a [`Quota`] over its share of the rules), and what
//! it knows of the shared account: a refusal that still holds, permits granted on top, admissions
//! that the others have not been told of. Refuses: what a refusal it was told of still covers, and
//! without Redis what goes beyond its share. Knows no lock, no clock and no Redis.
//!
//! # The bound
//!
//! `L` is a limit, `N` the number of instances, `S = ceil(L/N)` a share. While Redis answers, every
//! admission is counted there first: never more than `L` in any minute. An instance that cannot ask
//! admits only while its own admissions of the last minute, counted here whoever decided over them,
//! are within `S`. So in a minute in which Redis is lost, comes back, or both, however often:
//! an instance whose last admission was its own decision has at most `S` in that minute; the others
//! have together at most `L`, because Redis counted all of theirs. Unless all were cut off, which
//! makes `N·S` at most, that is `L + (N-1)·S`, less than `(2 - 1/N)·L + N`. When Redis is asked again
//! for a client it is first told what was admitted without it; while that is on its way, another answer
//! may come from before it, so both have to agree, Redis and the share. A Redis that has lost its memory
//! is noticed (see [`super::Sharing`]): for a minute both have to agree, too, and the same reasoning
//! holds. Who empties Redis by hand forgives what was used.

use std::num::NonZeroU32;
use std::time::Duration;

use super::lease::{Lease, Wants};
use super::question::Answer;
use super::untold::Untold;
use crate::limits::admission::{Decision, Standing};
use crate::limits::quota::{Quota, Rules, Verdict};
use crate::resilience::tick::Tick;

/// Charges kept that are to be given back; what is more stays charged until it is a minute old.
const CHARGES: usize = 128;

/// What a question takes along from the ledger.
#[derive(Debug, Default)]
pub(in crate::limits) struct Carried {
    /// Permits wanted on top.
    pub(super) wanted: u32,
    /// What was charged and not used: the stamp it was counted under, and how many.
    pub(super) returned: Vec<(u64, u32)>,
    /// What was admitted without asking.
    pub(super) told: Vec<(Tick, u32)>,
    /// Asked in doubt: whatever Redis says, the share has to agree.
    doubt: bool,
}

/// A question as the account that asked it knows it.
#[derive(Debug)]
pub(in crate::limits) struct Asked {
    pub(in crate::limits) rules: Rules,
    pub(in crate::limits) sent: Tick,
    pub(in crate::limits) cost: u32,
    pub(in crate::limits) carried: Box<Carried>,
}

/// What is known of the shared account.
#[derive(Debug, Default)]
struct Note {
    refusal: Option<Refusal>,
    lease: Option<Lease>,
    wants: Wants,
    untold: Untold,
    /// Charged by Redis and refused here: the stamp, and how many.
    charged: Vec<(u64, u32)>,
}

/// A refusal that holds for whatever weighs as much.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    rules: Rules,
    cost: u32,
    told: Verdict,
    at: Tick,
    until: Tick,
}

/// How an instance takes part in the sharing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limits) struct Part {
    /// Instances in all.
    pub(in crate::limits) instances: NonZeroU32,
    /// Redis may have forgotten: the share has to agree, too.
    pub(in crate::limits) doubt: bool,
}

/// One client's account.
#[derive(Debug, Default)]
pub(in crate::limits) struct Ledger {
    pub(in crate::limits) quota: Quota,
    note: Option<Box<Note>>,
}

impl Ledger {
    /// Decides without Redis if that can be done; `Err` is what the question has to take along.
    pub(in crate::limits) fn consult(
        &mut self,
        part: Part,
        rules: Rules,
        now: Tick,
        cost: u32,
    ) -> Result<Verdict, Box<Carried>> {
        let share = rules.share(part.instances);
        let note = self.note.get_or_insert_default();
        if let Some(refused) = note.refusal_of(rules, now, cost) {
            return Ok(refused);
        }
        // This one may be answered before Redis has heard what another takes along.
        let doubt = part.doubt || note.untold.is_under_way(now, rules.memory());
        if doubt {
            // Charged when Redis agrees, too.
            if let Some(refused) = self.quota.refusal(share, now, cost) {
                return Ok(refused);
            }
        } else if note.untold.is_empty()
            && let Some(lease) = &mut note.lease
            && let Some(verdict) = lease.take(rules, now, cost)
        {
            self.quota.note(share, now, cost);
            return Ok(verdict);
        }
        Err(Box::new(note.carry(rules, now, doubt)))
    }

    /// Takes in what Redis answered to a question sent at `sent`.
    pub(in crate::limits) fn settle(
        &mut self,
        part: Part,
        asked: Asked,
        answer: &Answer,
        now: Tick,
    ) -> Verdict {
        let Asked { rules, sent, cost, carried } = asked;
        let share = rules.share(part.instances);
        let told = answer.verdict(rules);
        let note = self.note.get_or_insert_default();
        note.wants.answered(carried.wanted);
        note.untold.heard(&carried.told);
        if answer.extra > 0 {
            note.lease = Some(Lease::new(rules, answer, told, (sent, now)));
        }
        if let Decision::Refused { retry_after, .. } = told.decision {
            let until = now.plus(retry_after);
            note.refusal = Some(Refusal { rules, cost, told, at: now, until });
            return told;
        }
        // While it was asked Redis may have been found to have forgotten, or others been admitted that
        // it does not know of.
        if !(carried.doubt || part.doubt) && note.untold.is_empty() {
            self.quota.note(share, now, cost);
            return told;
        }
        let own = self.quota.admit(share, now, cost);
        if own.decision != Decision::Admitted {
            note.give_back(rules, answer, cost);
        }
        tighter(own, told)
    }

    /// Decides by this instance's share, after the question remained without an answer.
    pub(in crate::limits) fn unanswered(&mut self, part: Part, asked: Asked, now: Tick) -> Verdict {
        let Asked { rules, cost, carried, .. } = asked;
        let note = self.note.get_or_insert_default();
        note.wants.answered(carried.wanted);
        // Redis may have heard of it all the same; it then hears twice, which admits less. What was
        // given back is not given twice, which would admit more.
        note.untold.put_back(carried.told, now, rules.memory());
        self.alone(part, rules, now, cost)
    }

    /// Decides by this instance's share.
    pub(in crate::limits) fn alone(
        &mut self,
        part: Part,
        rules: Rules,
        now: Tick,
        cost: u32,
    ) -> Verdict {
        let verdict = self.quota.admit(rules.share(part.instances), now, cost);
        if verdict.decision == Decision::Admitted {
            let note = self.note.get_or_insert_default();
            note.untold.add(now, cost, rules.memory());
        }
        verdict
    }
}

impl Note {
    fn refusal_of(&mut self, rules: Rules, now: Tick, cost: u32) -> Option<Verdict> {
        let refusal = self.refusal?;
        if refusal.until <= now {
            self.refusal = None;
            return None;
        }
        let covers = refusal.rules == rules && cost >= refusal.cost;
        covers.then(|| aged(refusal.told, now.since(refusal.at)))
    }

    fn carry(&mut self, rules: Rules, now: Tick, doubt: bool) -> Carried {
        let ended = self.lease.take_if(|lease| !lease.is_live(now));
        let wanted = match &self.lease {
            None if !doubt => self.wants.next(rules, ended.as_ref(), now),
            None | Some(_) => 0,
        };
        let mut returned = std::mem::take(&mut self.charged);
        returned.extend(ended.iter().filter_map(Lease::unused));
        Carried { wanted, returned, told: self.untold.take(now, rules.memory()), doubt }
    }

    /// Takes note of what Redis has charged for a request that was refused all the same. The bucket
    /// is not given back: by then others may have used what dripped in.
    fn give_back(&mut self, rules: Rules, answer: &Answer, cost: u32) {
        if let Some(window) = rules.window
            && self.charged.len() < CHARGES
        {
            self.charged.push((answer.stamp, cost.min(window.limit())));
        }
    }
}

/// What was told some time ago, as of now. What is left may have grown since.
pub(super) fn aged(told: Verdict, age: Duration) -> Verdict {
    let older = |standing: Standing| Standing {
        reset_after: standing.reset_after.saturating_sub(age),
        ..standing
    };
    let decision = match told.decision {
        Decision::Admitted => Decision::Admitted,
        Decision::Refused { retry_after, rule } => {
            Decision::Refused { retry_after: retry_after.saturating_sub(age), rule }
        }
    };
    Verdict { decision, burst: told.burst.map(older), minute: told.minute.map(older) }
}

/// Of two verdicts the one that refuses; of each standing the one with less left.
fn tighter(own: Verdict, told: Verdict) -> Verdict {
    let less = |a: Option<Standing>, b: Option<Standing>| {
        let standings = a.into_iter().chain(b);
        standings.min_by_key(|one| (one.remaining, std::cmp::Reverse(one.reset_after)))
    };
    Verdict {
        decision: if own.decision == Decision::Admitted { told.decision } else { own.decision },
        burst: less(own.burst, told.burst),
        minute: less(own.minute, told.minute),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::admission::RuleKind;
    use crate::resilience::token_bucket::BucketRule;
    use crate::resilience::window::WindowRule;

    const PART: Part = Part { instances: NonZeroU32::new(2).unwrap(), doubt: false };

    fn rules(limit: u32) -> Rules {
        let window = NonZeroU32::new(limit).map(WindowRule::per_minute);
        Rules { bucket: None, window }
    }

    fn at(millis: u64) -> Tick {
        Tick::from_nanos(millis * 1_000_000)
    }

    /// An answer that waits for so long, or none; with permits on top.
    fn answer(wait_micros: i64, extra: i64) -> Answer {
        let admitted = i64::from(wait_micros == 0);
        let numbers = [admitted, wait_micros, 0, 900, 60_000_000, 0, 0, extra, 77, 1];
        Answer::read(&numbers).unwrap()
    }

    fn settle(ledger: &mut Ledger, rules: Rules, now: Tick, cost: u32, answer: &Answer) -> Verdict {
        let carried = ledger.consult(PART, rules, now, cost).unwrap_err();
        ledger.settle(PART, Asked { rules, sent: now, cost, carried }, answer, now)
    }

    #[test]
    fn a_refusal_holds_for_what_weighs_as_much_under_the_same_rules() {
        let mut ledger = Ledger::default();
        settle(&mut ledger, rules(10), at(0), 3, &answer(5_000_000, 0));
        let again = ledger.consult(PART, rules(10), at(2_000), 4).unwrap();
        let retry_after = Duration::from_secs(3);
        assert_eq!(again.decision, Decision::Refused { retry_after, rule: RuleKind::Minute });
        assert_eq!(again.minute.unwrap().reset_after, Duration::from_secs(58));
        assert!(ledger.consult(PART, rules(10), at(2_000), 2).is_err(), "less may fit");
        assert!(
            ledger.consult(PART, rules(20), at(2_000), 3).is_err(),
            "a raised limit holds at once"
        );
        assert!(ledger.consult(PART, rules(10), at(5_000), 3).is_err(), "its time is over");
    }

    #[test]
    fn permits_are_used_up_without_asking_and_what_is_left_goes_back() {
        let mut ledger = Ledger::default();
        let rules = rules(6_000);
        settle(&mut ledger, rules, at(0), 1, &answer(0, 0));
        let wanted = ledger.consult(PART, rules, at(100), 1).unwrap_err();
        assert_eq!(wanted.wanted, 1, "the second within a second");
        let other = ledger.consult(PART, rules, at(100), 1).unwrap_err();
        assert_eq!(other.wanted, 0, "one question at a time wants any");
        let asked = Asked { rules, sent: at(100), cost: 1, carried: wanted };
        ledger.settle(PART, asked, &answer(0, 4), at(101));
        for _ in 0..3 {
            let verdict = ledger.consult(PART, rules, at(200), 1).unwrap();
            assert_eq!(verdict.minute.unwrap().remaining, 900, "what may be used anywhere");
        }
        let ended = ledger.consult(PART, rules, at(1_100), 1).unwrap_err();
        assert_eq!((ended.returned, ended.wanted), (vec![(77, 1)], 3), "as many as were used");
    }

    #[test]
    fn what_was_admitted_alone_is_told_once_and_while_it_matters() {
        let mut ledger = Ledger::default();
        for millis in [0, 30_000, 30_000, 40_000] {
            ledger.alone(PART, rules(10), at(millis), 1);
        }
        let carried = ledger.consult(PART, rules(10), at(60_000), 1).unwrap_err();
        assert_eq!(carried.told, [(at(30_000), 2), (at(40_000), 1)]);
        let asked = Asked { rules: rules(10), sent: at(60_000), cost: 1, carried };
        let verdict = ledger.unanswered(PART, asked, at(60_001));
        assert_eq!(verdict.minute.unwrap().remaining, 1, "four of five");
        let carried = ledger.consult(PART, rules(10), at(60_002), 1).unwrap_err();
        let told = [(at(30_000), 2), (at(40_000), 1), (at(60_001), 1)];
        assert_eq!(carried.told, told, "nothing is lost with an answer");
        assert!(ledger.consult(PART, rules(10), at(60_003), 1).unwrap_err().told.is_empty());
    }

    #[test]
    fn in_doubt_both_have_to_agree() {
        let part = Part { doubt: true, ..PART };
        let (mut ledger, rules) = (Ledger::default(), rules(4));
        for _ in 0..2 {
            let carried = ledger.consult(part, rules, at(0), 1).unwrap_err();
            let asked = Asked { rules, sent: at(0), cost: 1, carried };
            let verdict = ledger.settle(part, asked, &answer(0, 0), at(0));
            assert_eq!(verdict.decision, Decision::Admitted);
            assert_eq!(verdict.minute.unwrap().limit, 2, "the share is what binds");
        }
        let refused = ledger.consult(part, rules, at(0), 1).unwrap();
        assert!(matches!(refused.decision, Decision::Refused { .. }), "its share is used up");
        assert!(ledger.consult(PART, rules, at(0), 1).is_err(), "without doubt Redis decides");
    }

    #[test]
    fn what_redis_refuses_in_doubt_costs_nothing_here() {
        let part = Part { doubt: true, ..PART };
        let (mut ledger, rules) = (Ledger::default(), rules(4));
        for second in 0..10 {
            let now = at(second * 1_000);
            let carried = ledger.consult(part, rules, now, 1).expect_err("the share is untouched");
            let asked = Asked { rules, sent: now, cost: 1, carried };
            let refused = ledger.settle(part, asked, &answer(1_000, 0), now);
            assert!(matches!(refused.decision, Decision::Refused { .. }));
        }
        for _ in 0..2 {
            let own = ledger.alone(PART, rules, at(10_000), 1);
            assert_eq!(own.decision, Decision::Admitted, "two of its own");
        }
    }

    #[test]
    fn what_is_refused_here_after_redis_charged_it_is_given_back() {
        let part = Part { doubt: true, ..PART };
        let (mut ledger, rules) = (Ledger::default(), rules(4));
        let asked: Vec<_> = (0..3)
            .map(|_| ledger.consult(PART, rules, at(0), 1).unwrap_err())
            .map(|carried| Asked { rules, sent: at(0), cost: 1, carried })
            .collect();
        let settle = |asked| ledger.settle(part, asked, &answer(0, 0), at(1)).decision;
        let decisions: Vec<_> = asked.into_iter().map(settle).collect();
        assert_eq!(decisions[..2], [Decision::Admitted; 2]);
        assert!(matches!(decisions[2], Decision::Refused { .. }), "it forgot while it was asked");
        let carried = ledger.consult(PART, rules, at(2), 1).unwrap_err();
        assert_eq!(carried.returned, [(77, 1)]);
        assert!(ledger.consult(PART, rules, at(3), 1).unwrap_err().returned.is_empty());
    }

    #[test]
    fn who_overtakes_what_is_being_told_needs_the_share_as_well() {
        let (mut ledger, rules) = (Ledger::default(), rules(4));
        ledger.alone(PART, rules, at(0), 1);
        let telling = ledger.consult(PART, rules, at(1), 1).unwrap_err();
        assert_eq!((telling.told.len(), telling.doubt), (1, false));
        let overtaking = ledger.consult(PART, rules, at(1), 1).unwrap_err();
        assert!(overtaking.doubt && overtaking.told.is_empty());
        let settle = |ledger: &mut Ledger, carried| {
            let asked = Asked { rules, sent: at(1), cost: 1, carried };
            ledger.settle(PART, asked, &answer(0, 0), at(2)).decision
        };
        assert_eq!(settle(&mut ledger, overtaking), Decision::Admitted, "two of its own");
        let refused = ledger.consult(PART, rules, at(2), 1).unwrap().decision;
        assert!(matches!(refused, Decision::Refused { .. }), "its share is used up");
        assert_eq!(settle(&mut ledger, telling), Decision::Admitted, "Redis knows of the first");
        assert!(!ledger.consult(PART, rules, at(3), 1).unwrap_err().doubt);
    }

    #[test]
    fn who_is_admitted_meanwhile_without_redis_puts_the_answer_in_doubt() {
        let (mut ledger, rules) = (Ledger::default(), rules(4));
        let carried = ledger.consult(PART, rules, at(0), 1).unwrap_err();
        for _ in 0..2 {
            assert_eq!(ledger.alone(PART, rules, at(0), 1).decision, Decision::Admitted);
        }
        let asked = Asked { rules, sent: at(0), cost: 1, carried };
        let decision = ledger.settle(PART, asked, &answer(0, 0), at(1)).decision;
        assert!(matches!(decision, Decision::Refused { .. }), "Redis does not know of the two");
    }

    #[test]
    fn a_bucket_that_fills_slowly_is_told_for_as_long() {
        let rate = NonZeroU32::new(100).zip(NonZeroU32::new(150));
        let bucket = rate.map(|(rate, burst)| BucketRule::per_minute(rate, burst));
        let rules = Rules { bucket, ..rules(1_000) };
        let mut ledger = Ledger::default();
        for seconds in [0, 20, 100] {
            ledger.alone(PART, rules, at(seconds * 1_000), 1);
        }
        let carried = ledger.consult(PART, rules, at(100_000), 1).unwrap_err();
        assert_eq!(carried.told, [(at(20_000), 1), (at(100_000), 1)], "it fills in ninety seconds");
        assert_eq!(carried.wanted, 0);
    }
}
