//! How far a replica is behind its primary, and which one is read: plain functions of positions and time.
//!
//! Owns: the positions in the log of writes that the primary was seen at. A replica is as far behind as the
//! primary's last position is younger than the replica's own: a primary that writes nothing leaves nobody
//! behind, one that is away neither, and no clock of a server is believed. Only a replica that is behind all
//! that was seen of the primary is taken at its word. Knows no neighbour.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A replica that is further behind is not read.
pub(super) const MOST_BEHIND: Duration = Duration::from_secs(60);
/// What was found out about a replica counts for so long.
const COUNTS_FOR: Duration = Duration::from_secs(6);
/// Positions, one a second.
const KEPT: usize = 600;
/// A page of the log, and what is at its head at most: nothing is written there.
const PAGE: i64 = 8_192;
const HEAD: i64 = 40;

/// Where the primary was, and when: the oldest first.
#[derive(Debug, Default)]
pub(super) struct Positions(VecDeque<(Instant, i64)>);

/// How far a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// When that was found out.
    pub(super) at: Instant,
    pub(super) behind: Duration,
    /// What was written until then is there.
    pub(super) complete_to: Instant,
}

impl Positions {
    pub(super) fn note(&mut self, at: Instant, position: i64) {
        // An empty page begins after its head; who has read all before it has read everything.
        let into_page = position % PAGE;
        let position = if into_page <= HEAD { position - into_page } else { position };
        if self.0.back().is_some_and(|(_, last)| *last > position) {
            // Another server is the primary, which never had the rest.
            self.0.clear();
        }
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back((at, position));
    }

    /// How far a replica is that has `replayed` so much, and whose last transaction was `made` so long ago.
    pub(super) fn progress(
        &self,
        at: Instant,
        replayed: Option<i64>,
        made: Option<Duration>,
    ) -> Option<Progress> {
        let (newest, oldest, replayed) = (self.0.back()?, self.0.front()?, replayed?);
        let known = self.0.iter().rev().find(|(_, position)| *position <= replayed);
        let complete_to = match known {
            Some((complete_to, _)) => *complete_to,
            None => newest.0.checked_sub(made?)?.min(oldest.0),
        };
        let behind = newest.0.saturating_duration_since(complete_to);
        Some(Progress { at, behind, complete_to })
    }
}

/// The least lagging replica that has all that was written until `written`; of those that are equal each in
/// its `turn`. None: the primary is to be read.
pub(super) fn choose(
    replicas: &[Option<Progress>],
    written: Option<Instant>,
    turn: usize,
    now: Instant,
) -> Option<usize> {
    let is_read = |progress: &Progress| {
        progress.behind <= MOST_BEHIND
            && now.saturating_duration_since(progress.at) <= COUNTS_FOR
            && written.is_none_or(|written| written < progress.complete_to)
    };
    let usable = replicas.iter().enumerate();
    let usable = usable.filter_map(|(n, progress)| Some((n, progress.filter(is_read)?.behind)));
    let usable: Vec<_> = usable.collect();
    let least = usable.iter().map(|(_, behind)| *behind).min()?;
    let equal: Vec<_> = usable.iter().filter(|(_, behind)| *behind == least).collect();
    equal.get(turn.checked_rem(equal.len())?).map(|(n, _)| *n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const fn secs(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// The primary wrote a thousand bytes a second for ten seconds.
    fn busy(start: Instant) -> Positions {
        let mut positions = Positions::default();
        (0..10_u32)
            .for_each(|n| positions.note(start + secs(1) * n, 100_000 + 1_000 * i64::from(n)));
        positions
    }

    #[test]
    fn a_replica_is_behind_by_the_age_of_its_position() {
        let start = clock::monotonic();
        let positions = busy(start);
        let behind = |replayed| positions.progress(start, Some(replayed), None).unwrap().behind;
        assert_eq!(behind(109_000), Duration::ZERO);
        assert_eq!(behind(999_000), Duration::ZERO);
        assert_eq!(behind(108_999), secs(1));
        assert_eq!(behind(103_500), secs(6));
        let progress = positions.progress(start, Some(103_500), None).unwrap();
        assert_eq!(progress.complete_to, start + secs(3));
        assert_eq!(positions.progress(start, None, Some(secs(1))), None);
        assert_eq!(Positions::default().progress(start, Some(1), Some(secs(1))), None);
    }

    #[test]
    fn a_primary_that_writes_nothing_or_is_away_leaves_nobody_behind() {
        let start = clock::monotonic();
        let mut positions = busy(start);
        // It is away: time passes, and nothing is noted.
        let later = start + secs(900);
        assert_eq!(positions.progress(later, Some(108_500), None).unwrap().behind, secs(1));
        // It is idle for an hour, and then writes once.
        (10..3_600).for_each(|n| positions.note(start + secs(n), 109_000));
        assert_eq!(positions.progress(later, Some(109_000), None).unwrap().behind, secs(0));
        positions.note(start + secs(3_600), 110_000);
        assert_eq!(positions.progress(later, Some(109_000), None).unwrap().behind, secs(1));
        assert!(positions.0.len() <= KEPT);
    }

    #[test]
    fn behind_all_that_was_seen_the_replica_is_taken_at_its_word() {
        let start = clock::monotonic();
        let positions = busy(start);
        let behind = |made| positions.progress(start, Some(1), made).map(|it| it.behind);
        assert_eq!(behind(None), None);
        // The clocks of the two servers may differ: it is older than what was seen.
        assert_eq!(behind(Some(secs(2))), Some(secs(9)));
        assert_eq!(behind(Some(secs(30))), Some(secs(30)));
    }

    #[test]
    fn an_empty_page_is_read_by_whoever_read_all_before_it() {
        let start = clock::monotonic();
        let mut positions = Positions::default();
        positions.note(start, 3 * PAGE + 24);
        assert_eq!(positions.progress(start, Some(3 * PAGE), None).unwrap().behind, secs(0));
        positions.note(start + secs(1), 3 * PAGE + 48);
        assert_eq!(positions.progress(start, Some(3 * PAGE), None).unwrap().behind, secs(1));
    }

    #[test]
    fn another_primary_may_be_at_an_earlier_position() {
        let start = clock::monotonic();
        let mut positions = busy(start);
        positions.note(start + secs(11), 105_000);
        assert_eq!(positions.progress(start, Some(105_000), None).unwrap().behind, secs(0));
        assert_eq!(positions.progress(start, Some(104_999), None), None);
    }

    #[test]
    fn the_least_lagging_is_read_and_equal_ones_in_turn() {
        let now = clock::monotonic() + secs(1_000);
        let of = |behind: u64| {
            let behind = secs(behind);
            Some(Progress { at: now, behind, complete_to: now - behind })
        };
        let chosen = |all: &[Option<Progress>], turn| choose(all, None, turn, now);
        assert_eq!(chosen(&[], 0), None);
        assert_eq!(chosen(&[None, of(61)], 0), None);
        assert_eq!(chosen(&[of(60), None], 7), Some(0));
        assert_eq!(chosen(&[of(2), of(1), of(3)], 7), Some(1));
        let equal = [of(1), None, of(1), of(2)];
        assert_eq!([0, 1, 2].map(|turn| chosen(&equal, turn)), [Some(0), Some(2), Some(0)]);
    }

    #[test]
    fn what_was_written_lately_is_read_where_it_is() {
        let now = clock::monotonic() + secs(1_000);
        let of = |behind| Some(Progress { at: now, behind, complete_to: now - behind });
        let all = [of(secs(4)), of(secs(8))];
        let chosen = |ago| choose(&all, Some(now - secs(ago)), 0, now);
        assert_eq!([0, 4, 5, 9].map(chosen), [None, None, Some(0), Some(0)]);
    }

    #[test]
    fn what_was_found_out_long_ago_does_not_count() {
        let now = clock::monotonic();
        let all = [Some(Progress { at: now, behind: secs(0), complete_to: now })];
        assert_eq!(choose(&all, None, 0, now + COUNTS_FOR), Some(0));
        assert_eq!(choose(&all, None, 0, now + COUNTS_FOR + secs(1)), None);
    }
}
