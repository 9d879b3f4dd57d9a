//! What an instance has admitted without asking, until Redis is told.
//!
//! Owns: those admissions, each with its time, and whether some are on their way. Refuses: to grow. What no longer matters is dropped,
//! and when there are too many moments still, those in one part of the time become one, as of the latest
//! of them: Redis then counts a little longer than it had to, and never too short.

use std::time::Duration;

use crate::resilience::tick::Tick;

/// Moments kept, at most.
const MOST: usize = 128;
/// Parts of the time for which they matter; when there are more moments, those in one part become one.
/// Of a minute it is less than a second.
const PARTS: u32 = 64;

/// Admissions that Redis does not know of.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// When, and how many; oldest first.
    moments: Vec<(Tick, u32)>,
    /// Questions that take some along and have not come to their end.
    under_way: u32,
    /// When the last of them was sent.
    sent: Tick,
}

impl Untold {
    /// Adds an admission that matters for `memory`.
    pub(super) fn add(&mut self, now: Tick, cost: u32, memory: Duration) {
        if let Some((at, count)) = self.moments.last_mut()
            && *at >= now
        {
            *count = count.saturating_add(cost);
            return;
        }
        // Before it grows, it looks for what can go.
        if self.moments.len() == self.moments.capacity() || self.moments.len() >= MOST {
            self.forget(now, memory);
            self.draw_together(memory);
        }
        self.moments.push((now, cost));
    }

    /// Whether there is none that nobody has been told of.
    pub(super) fn is_empty(&self) -> bool {
        self.moments.is_empty()
    }

    /// Whether some are on their way: who asks now may be answered before Redis has heard of them. A
    /// question that never comes to its end is lost with all it took along, which then matters for as
    /// long as it would have.
    pub(super) fn is_under_way(&self, now: Tick, memory: Duration) -> bool {
        self.under_way > 0 && now.since(self.sent) < memory
    }

    /// Gives out everything that still matters, for a question that is sent now.
    pub(super) fn take(&mut self, now: Tick, memory: Duration) -> Vec<(Tick, u32)> {
        self.forget(now, memory);
        if !self.moments.is_empty() {
            self.under_way = if self.is_under_way(now, memory) { self.under_way + 1 } else { 1 };
            self.sent = now;
        }
        std::mem::take(&mut self.moments)
    }

    /// Redis has heard of these.
    pub(super) fn heard(&mut self, told: &[(Tick, u32)]) {
        if !told.is_empty() {
            self.under_way = self.under_way.saturating_sub(1);
        }
    }

    /// Takes back what was given out and may not have been heard.
    pub(super) fn put_back(&mut self, mut told: Vec<(Tick, u32)>, now: Tick, memory: Duration) {
        if told.is_empty() {
            return;
        }
        self.heard(&told);
        told.append(&mut self.moments);
        self.moments = told;
        self.forget(now, memory);
        self.draw_together(memory);
    }

    fn forget(&mut self, now: Tick, memory: Duration) {
        self.moments.retain(|(at, _)| now.since(*at) < memory);
    }

    /// If there are too many. The parts stand still, so that what was drawn together once goes no
    /// further.
    fn draw_together(&mut self, memory: Duration) {
        if self.moments.len() < MOST {
            return;
        }
        let part = Tick::ORIGIN.plus(memory / PARTS).as_nanos().max(1);
        self.moments.sort_unstable_by_key(|(at, _)| *at);
        self.moments.dedup_by(|(at, count), (latest, sum)| {
            let together = at.as_nanos() / part == latest.as_nanos() / part;
            if together {
                *latest = (*latest).max(*at);
                *sum = sum.saturating_add(*count);
            }
            together
        });
        self.moments.shrink_to(MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(millis: u64) -> Tick {
        Tick::from_nanos(millis * 1_000_000)
    }

    fn sum(moments: &[(Tick, u32)]) -> u32 {
        moments.iter().map(|(_, count)| count).sum()
    }

    #[test]
    fn of_a_long_time_only_what_matters_is_kept() {
        let mut untold = Untold::default();
        // Half an hour at twenty a minute.
        for number in 0..600 {
            untold.add(at(number * 3_000), 1, MINUTE);
            assert!(untold.moments.capacity() <= 64, "{}", untold.moments.capacity());
        }
        let told = untold.take(at(599 * 3_000), MINUTE);
        assert_eq!((told.len(), sum(&told)), (20, 20));
        assert!(untold.take(at(600 * 3_000), MINUTE).is_empty(), "told once");
    }

    #[test]
    fn many_moments_become_few_each_hardly_later_than_it_was() {
        let mut untold = Untold::default();
        let all: Vec<_> = (0..50_000_u64).map(|number| number * 7).collect();
        for millis in &all {
            untold.add(at(*millis), 1, MINUTE);
            assert!(untold.moments.len() <= MOST && untold.moments.capacity() <= MOST);
        }
        let now = at(49_999 * 7);
        let told = untold.take(now, MINUTE);
        let matter = all.iter().filter(|millis| now.since(at(**millis)) < MINUTE).count();
        let matter = u32::try_from(matter).unwrap();
        assert!((matter..=matter + 150).contains(&sum(&told)), "{} of {matter}", sum(&told));
        let mut told_by = all.iter().rev();
        for (moment, count) in told.iter().rev().take(told.len() - 1) {
            for _ in 0..*count {
                let was = at(*told_by.next().unwrap());
                assert!(was <= *moment, "never as of before it was");
                assert!(moment.since(was) <= MINUTE / PARTS);
            }
        }
    }

    #[test]
    fn what_is_put_back_is_bounded_too() {
        let mut untold = Untold::default();
        for round in 0..20 {
            let given = untold.take(at(round * 1_000), MINUTE);
            (0..200).for_each(|n| untold.add(at(round * 1_000 + n * 5), 1, MINUTE));
            untold.put_back(given, at(round * 1_000 + 1_000), MINUTE);
            assert!(untold.moments.len() <= 2 * MOST && untold.moments.capacity() <= 2 * MOST);
        }
        assert_eq!(sum(&untold.take(at(20_000), MINUTE)), 4_000, "nothing is lost");
    }

    #[test]
    fn what_is_on_its_way_is_known_to_be() {
        let mut untold = Untold::default();
        assert!(untold.take(at(0), MINUTE).is_empty() && !untold.is_under_way(at(0), MINUTE));
        untold.add(at(0), 1, MINUTE);
        let first = untold.take(at(1), MINUTE);
        untold.add(at(2), 1, MINUTE);
        let second = untold.take(at(3), MINUTE);
        untold.heard(&first);
        assert!(untold.is_under_way(at(4), MINUTE), "the second");
        untold.put_back(second, at(5), MINUTE);
        assert!(!untold.is_under_way(at(5), MINUTE) && !untold.is_empty());
        drop(untold.take(at(6), MINUTE));
        assert!(untold.is_under_way(at(60_005), MINUTE), "a question was lost");
        assert!(!untold.is_under_way(at(60_006), MINUTE), "and does not matter any more");
    }

    #[test]
    fn an_earlier_reading_of_the_clock_counts_as_the_latest() {
        let mut untold = Untold::default();
        untold.add(at(10), 1, MINUTE);
        untold.add(at(9), 2, MINUTE);
        assert_eq!(untold.take(at(10), MINUTE), [(at(10), 3)]);
    }
}
