//! How long the upstream takes when it is not crowded: what slowness is measured against.
//!
//! Owns: the average of calls that had few others beside them, and when to look for such calls on
//! purpose. Refuses: to learn from crowded calls, but for one thing: the crowded time is never
//! shorter than the calm one.
//!
//! A long-term average of all calls, as in Gradient2, learns the queue that it should see: under
//! steady load it rises to what the queue makes of it, the limit follows, and so on up to the
//! bound. So under steady load the limit *dips* now and then, until some calls were made with few
//! beside them. Others do the same: the `ProbeRTT` phase of BBR (Cardwell et al., "BBR:
//! Congestion-Based Congestion Control", ACM Queue 2016) and Envoy's adaptive concurrency filter. What
//! an upstream takes that is slow by itself does not fall in a dip, and is learned as normal after
//! some; what a queue makes of it does, and is not.

/// Calls of a measurement, if no more may be made at once.
const LEAST_BATCH: u32 = 16;
/// Weight of a new measurement.
const WEIGHT: f64 = 0.3;
/// A measurement counts as at most so many times what was known, and at least the same part of it:
/// a slow phase is not normal at once, nor are some short calls.
const MOST_AT_ONCE: f64 = 2.0;
/// Windows of crowded calls before the first dip, while there is only a guess.
const FIRST: u32 = 3;
/// The same after a dip that found something new.
const SOON: u32 = 20;
/// The same after many dips that found what was known.
const LATE: u32 = 100;
/// What is within this share of what was known is nothing new.
const NEWS: f64 = 0.5;

/// Times are in seconds.
#[derive(Debug, Clone)]
pub(super) struct Calm {
    known: Known,
    batch: Option<Batch>,
    /// Crowded windows since the last measurement.
    windows: u32,
    /// So many lead to a dip.
    every: u32,
    is_dipping: bool,
}

#[derive(Debug, Clone, Copy)]
enum Known {
    Nothing,
    /// What calls took that were crowded.
    Guess(f64),
    Measured(f64),
}

/// A measurement: a run of calls, each begun with few beside it. All of them, in the order in which
/// they began: the first ones to end would be the short ones.
#[derive(Debug, Clone, Copy)]
struct Batch {
    first: u64,
    /// Calls in it, begun or not.
    size: u32,
    ended: u32,
    times: Mean,
}

impl Batch {
    fn has(&self, call: u64) -> bool {
        call.checked_sub(self.first).is_some_and(|place| place < u64::from(self.size))
    }
}

/// A mean in the making.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    pub(super) fn add(&mut self, value: f64) {
        self.sum += value;
        self.count = self.count.saturating_add(1);
    }

    /// The mean, if there are so many, which then begins anew.
    pub(super) fn take(&mut self, least: f64) -> Option<f64> {
        let count = f64::from(self.count);
        let is_enough = self.count > 0 && count >= least;
        is_enough.then(|| std::mem::take(self).sum / count)
    }
}

impl Calm {
    pub(super) const fn new() -> Self {
        Self { known: Known::Nothing, batch: None, windows: 0, every: FIRST, is_dipping: false }
    }

    /// The calm time; `None` before anything is known.
    pub(super) const fn time(&self) -> Option<f64> {
        match self.known {
            Known::Nothing => None,
            Known::Guess(time) | Known::Measured(time) => Some(time),
        }
    }

    /// Whether only few calls may be made now, so that they can be measured.
    pub(super) const fn is_dipping(&self) -> bool {
        self.is_dipping
    }

    /// The call of this number begins; `few` is how many may be under way with it, `None` when they
    /// are more.
    pub(super) fn begins(&mut self, call: u64, few: Option<u32>) {
        match (few, self.batch) {
            (None, _) => self.batch = None,
            (Some(few), None) => {
                let size = few.max(LEAST_BATCH);
                self.batch = Some(Batch { first: call, size, ended: 0, times: Mean::default() });
            }
            (Some(_), Some(_)) => {}
        }
    }

    /// A call ended; `took` if it was answered.
    pub(super) fn ended(&mut self, call: u64, took: Option<f64>) {
        let Some(batch) = self.batch.as_mut().filter(|batch| batch.has(call)) else { return };
        batch.ended = batch.ended.saturating_add(1);
        if let Some(took) = took {
            batch.times.add(took);
        }
        if batch.ended >= batch.size {
            let most_of_it = f64::from(batch.size) / 2.0;
            match batch.times.take(most_of_it) {
                Some(mean) => self.measured(mean),
                None => self.give_up(),
            }
        }
    }

    /// A window of calls under load went by that took `mean`, and lately `recent`.
    pub(super) fn crowded(&mut self, mean: f64, recent: f64) {
        match self.known {
            Known::Nothing => self.known = Known::Guess(mean),
            // It cannot take longer without load than with it.
            Known::Guess(time) | Known::Measured(time) if recent < time / 2.0 => {
                self.known = Known::Guess(recent);
            }
            Known::Guess(_) | Known::Measured(_) => {}
        }
        self.windows = self.windows.saturating_add(1);
        if self.windows >= self.every && !self.is_dipping {
            self.batch = None;
            self.is_dipping = true;
        }
    }

    /// What is measured now tells nothing; it is tried again later.
    pub(super) fn give_up(&mut self) {
        self.batch = None;
        self.windows = 0;
        self.is_dipping = false;
    }

    fn measured(&mut self, mean: f64) {
        let is_news;
        self.known = match self.known {
            Known::Measured(known) => {
                is_news = (mean - known).abs() > NEWS * known;
                // To think too much of it is worse than to think too little: then it is crowded.
                let weight = if mean < known && is_news { 1.0 } else { WEIGHT };
                let mean = mean.clamp(known / MOST_AT_ONCE, known * MOST_AT_ONCE);
                Known::Measured(known + weight * (mean - known))
            }
            Known::Nothing | Known::Guess(_) => {
                is_news = true;
                Known::Measured(mean)
            }
        };
        self.every = if is_news { SOON } else { self.every.saturating_mul(2).min(LATE) };
        // Few calls that came by themselves put a dip off as well.
        self.give_up();
    }
}
