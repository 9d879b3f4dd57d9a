//! How much is kept from calls that nobody waits for.
//!
//! Owns: the shares of burst and daily budget that belong to clients alone. Plain functions of
//! numbers. What follows for clients: a background call is only ever given a place that starts at
//! once while nobody is queued, and it leaves [`kept_places`] that start at once. So that many
//! clients who come at the same moment wait no longer than they would without it, and no client
//! waits longer by more than the places that are not kept: one for warming, half of the burst,
//! rounded down but at least one, for refreshing.

use crate::origin::Priority;

/// Places that start at once which a call of this priority has to leave to clients.
pub(super) fn kept_places(priority: Priority, burst: u32) -> u32 {
    let all_but_one = burst.saturating_sub(1);
    match priority {
        Priority::Client => 0,
        Priority::Refresh => burst.div_ceil(2).min(all_but_one),
        Priority::Warming => all_but_one,
    }
}

/// Whether a call of this priority may be charged to a day with `remaining` of `limit` calls left:
/// a refresh needs more than a tenth, warming more than half.
pub(super) const fn may_spend(priority: Priority, remaining: u64, limit: u64) -> bool {
    match priority {
        Priority::Client => remaining > 0,
        Priority::Refresh => remaining > limit / 10,
        Priority::Warming => remaining > limit / 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKGROUND: [Priority; 2] = [Priority::Refresh, Priority::Warming];

    #[test]
    fn half_of_the_burst_or_all_but_one_are_kept() {
        let kept = |burst| BACKGROUND.map(|priority| kept_places(priority, burst));
        assert_eq!([0, 1, 2, 3, 10].map(kept), [[0, 0], [0, 0], [1, 1], [2, 2], [5, 9]]);
        assert_eq!(kept(u32::MAX), [1 << 31, u32::MAX - 1]);
        assert_eq!(kept_places(Priority::Client, 10), 0);
    }

    #[test]
    fn the_end_of_the_day_belongs_to_clients() {
        let may = |remaining| BACKGROUND.map(|priority| may_spend(priority, remaining, 100));
        assert_eq!(
            [51, 50, 11, 10, 0].map(may).map(|[refresh, warming]| (refresh, warming)),
            [(true, true), (true, false), (true, false), (false, false), (false, false)]
        );
        assert!(may_spend(Priority::Client, 1, 100) && !may_spend(Priority::Client, 0, 100));
        assert!(may_spend(Priority::Warming, u64::MAX, u64::MAX));
    }
}
