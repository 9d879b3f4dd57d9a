//! When the next call may start: a generic cell rate algorithm with places that can be given back.
//!
//! Owns: the theoretical arrival time of ITU-T I.371 (annex A) and the places given out since it
//! was last settled. Refuses: nothing; it answers with a time and lets others judge it.
//!
//! A place given back in time keeps its moment and is the next to be given out; once its moment
//! has passed it leaves the reckoning as if it had never been taken, so the burst recovers.
//!
//! Places say when calls may start; when they really do is metered by the same algorithm a second
//! time, so that calls held up after their moment do not start all at once.

use std::time::{Duration, Instant};

/// Timers ring late by less; calls this much too close together were on time.
const TIMER_NOISE: Duration = Duration::from_millis(5);
/// Intervals and bursts longer than this are nonsense, and would overflow the clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[derive(Debug)]
pub(super) struct Schedule {
    /// Time between calls; zero means unpaced.
    interval: Duration,
    /// How far ahead of the even flow a burst may run.
    tolerance: Duration,
    /// The theoretical arrival time after everything that is no longer in `places`.
    settled: Option<Instant>,
    /// Sorted by start.
    places: Vec<Place>,
    next_id: u64,
    /// The theoretical arrival time after the calls that are ready.
    metered: Option<Instant>,
    /// Counts the times that it began anew, after a pause.
    meter: u64,
}

/// What a call that is ready took of the meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    /// When the call may be made.
    pub(super) at: Instant,
    /// Which meter counts it.
    meter: u64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    start: Instant,
    id: u64,
    state: PlaceState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlaceState {
    /// Given out, not used yet.
    Reserved,
    /// A call was made from it.
    Used,
    /// Given back before its moment.
    Vacant,
}

impl Schedule {
    /// `per_second` calls evenly, `burst` of them at once after a pause.
    pub(super) fn new(per_second: f64, burst: u32) -> Self {
        let interval = match Duration::try_from_secs_f64(per_second.recip()) {
            Ok(interval) => interval.min(LONGEST),
            // Zero, negative and no number: no pace. Slower than the clock can tell: the slowest.
            Err(_) if per_second > 0.0 => LONGEST,
            Err(_) => Duration::ZERO,
        };
        let tolerance = interval.saturating_mul(burst.saturating_sub(1)).min(LONGEST);
        Self {
            interval,
            tolerance,
            settled: None,
            places: Vec::new(),
            next_id: 0,
            metered: None,
            meter: 0,
        }
    }

    pub(super) fn unpaced() -> Self {
        Self::new(0.0, 1)
    }

    /// Time between calls; zero when unpaced.
    pub(super) const fn interval(&self) -> Duration {
        self.interval
    }

    /// The moment the next place would have, not before `from`. Takes nothing.
    pub(super) fn earliest(&mut self, from: Instant, now: Instant) -> Instant {
        self.settle(now);
        if let Some(vacant) = self.first_vacant(from) {
            return vacant.start;
        }
        let burst_start = self.arrival().and_then(|arrival| arrival.checked_sub(self.tolerance));
        burst_start.map_or(from, |start| start.max(from))
    }

    /// How long until a place could be taken that starts at once, with nobody waiting and `kept` more
    /// left that start at once; zero when it could be now. Takes nothing.
    pub(super) fn until_spare(&mut self, now: Instant, kept: u32) -> Duration {
        if self.interval.is_zero() {
            return Duration::ZERO;
        }
        self.settle(now);
        let kept = self.interval.saturating_mul(kept).min(self.tolerance);
        let ahead = self.arrival().map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let wait = ahead.saturating_add(kept).saturating_sub(self.tolerance);
        let is_queued = self.waiting(now) > 0;
        if wait.is_zero() && is_queued { self.interval } else { wait }
    }

    /// Takes the place at `start`, which [`Self::earliest`] just gave, or a spare one; the
    /// answer is its id.
    pub(super) fn take(&mut self, start: Instant) -> u64 {
        self.next_id = self.next_id.wrapping_add(1);
        let id = self.next_id;
        let vacant =
            self.places.iter_mut().find(|p| p.start == start && p.state == PlaceState::Vacant);
        match vacant {
            Some(place) => *place = Place { start, id, state: PlaceState::Reserved },
            None => {
                let index = self.places.partition_point(|place| place.start <= start);
                self.places.insert(index, Place { start, id, state: PlaceState::Reserved });
            }
        }
        id
    }

    /// A call was made from the place.
    pub(super) fn used(&mut self, id: u64) {
        self.mark(id, PlaceState::Used);
    }

    /// When a call that is ready may be made.
    pub(super) fn claim(&mut self, now: Instant) -> Claim {
        if self.interval.is_zero() {
            return Claim { at: now, meter: self.meter };
        }
        let ahead = self.tolerance.saturating_add(TIMER_NOISE);
        let conforming = self.metered.and_then(|arrival| arrival.checked_sub(ahead));
        let at = conforming.map_or(now, |conforming| conforming.max(now));
        if self.metered.is_none_or(|arrival| arrival <= at) {
            self.meter = self.meter.wrapping_add(1);
        }
        self.metered = Some(arrival_after(self.metered, at, self.interval));
        Claim { at, meter: self.meter }
    }

    /// The call that claimed it is not made after all: those who come later need not wait for it.
    /// Those who have claimed already keep their moments, which are late enough.
    pub(super) fn unclaim(&mut self, claim: Claim) {
        if claim.meter == self.meter {
            self.metered = self.metered.and_then(|arrival| arrival.checked_sub(self.interval));
        }
    }

    /// The place was not used.
    pub(super) fn give_back(&mut self, id: u64) {
        self.mark(id, PlaceState::Vacant);
    }

    /// Places given out whose moment has not come.
    pub(super) fn waiting(&self, now: Instant) -> usize {
        let waits = |place: &&Place| place.state == PlaceState::Reserved && place.start > now;
        self.places.iter().filter(waits).count()
    }

    fn mark(&mut self, id: u64, state: PlaceState) {
        if let Some(place) = self.places.iter_mut().find(|place| place.id == id) {
            place.state = state;
        }
    }

    fn first_vacant(&self, from: Instant) -> Option<&Place> {
        self.places.iter().find(|p| p.state == PlaceState::Vacant && p.start >= from)
    }

    /// Drops vacant places whose moment has passed, and settles used ones. A place that is
    /// reserved and long past is settled too: whoever holds it will not come, and the list stays
    /// as short as a burst and a queue.
    fn settle(&mut self, now: Instant) {
        self.places.retain(|place| place.state != PlaceState::Vacant || place.start >= now);
        let patience = self.tolerance.saturating_add(self.interval);
        let done = |place: &Place| match place.state {
            PlaceState::Used => place.start <= now,
            PlaceState::Reserved => now.saturating_duration_since(place.start) > patience,
            PlaceState::Vacant => false,
        };
        let done = self.places.iter().take_while(|place| done(place)).count();
        for place in self.places.drain(..done) {
            self.settled = Some(arrival_after(self.settled, place.start, self.interval));
        }
    }

    /// The theoretical arrival time after all places.
    fn arrival(&self) -> Option<Instant> {
        self.places
            .iter()
            .fold(self.settled, |at, place| Some(arrival_after(at, place.start, self.interval)))
    }
}

fn arrival_after(before: Option<Instant>, start: Instant, interval: Duration) -> Instant {
    let base = before.map_or(start, |before| before.max(start));
    base.checked_add(interval).unwrap_or(base)
}
