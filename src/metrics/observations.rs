//! What `MetricsActor` remembers: windows and the last requests.
//!
//! Owns: a table that is older than the actor, so that a crash of the actor forgets nothing, and the
//! buffer in which a worker gathers what it sends. Refuses: more endpoints than [`MAX_ENDPOINTS`], and to
//! grow with the number of requests or with the length of a request id. Every statistic is right by
//! itself: after a panic in the middle of an update at most one request is missing from some of its
//! parts; a poisoned lock is therefore taken over, not given up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use super::window::{Window, WindowStats, float};
use crate::clock::Timestamp;

/// How far back the windows reach.
pub(super) const LONGEST_SPAN: Duration = Duration::from_secs(300);
/// Slots of all requests together: the last minute is right to 5 s of 60.
const FINE: Duration = Duration::from_secs(5);
/// Slots of one endpoint: coarser, since there are many endpoints.
const COARSE: Duration = Duration::from_secs(60);
/// How far back [`MonitoringTable::memory_latency`] looks.
const LATELY: Duration = Duration::from_secs(10);
/// Fewer answers than that say nothing about the slowest of a hundred.
const ENOUGH: u64 = 50;
/// How many endpoints have a window; more than there are routes.
const MAX_ENDPOINTS: usize = 128;
/// How many of the last requests are kept, and of the last slow ones.
const RECENT_KEPT: usize = 200;
const SLOW_KEPT: usize = 100;
const FAILED_KEPT: usize = 100;
/// From this status on a request is listed as failed.
const SERVER_ERRORS: u16 = 500;
/// From this duration on a request is listed as slow.
const SLOW: Duration = Duration::from_secs(1);
/// Longest request id kept, in bytes.
const MAX_ID_BYTES: usize = 128;
/// A batch is sent when it has this many entries, or when its first is this old.
const BATCH_ENTRIES: usize = 64;
const BATCH_AGE: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, PartialEq)]
pub struct RequestSeen {
    /// Request id, as in `X-Request-ID`.
    pub request_id: Arc<str>,
    pub method: &'static str,
    pub route: &'static str,
    pub status: u16,
    /// From the first byte of the request to the answer.
    pub duration: Duration,
    /// The tier that answered, or an empty text.
    pub tier: &'static str,
    /// Whether it waited for nobody on its way: neither for its client nor for the upstream.
    pub prompt: bool,
    /// When it was answered.
    pub finished: Instant,
}

/// One answered request, as a person reads it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RecentRequest {
    /// When it was answered, milliseconds since the Unix epoch.
    pub finished_ms: i64,
    /// Request id, as in `X-Request-ID`.
    #[schema(value_type = String)]
    pub request_id: Arc<str>,
    #[schema(value_type = String)]
    pub method: &'static str,
    /// Route template.
    #[schema(value_type = String)]
    pub route: &'static str,
    /// Status of the answer.
    pub status: u16,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// The tier that answered: `memory`, `redis`, `database` or `none`.
    #[schema(value_type = String)]
    pub tier: &'static str,
}

/// Which of the last requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    All,
    Slow,
    /// Answered with 5xx.
    Failed,
}

/// The shared table; a clone is a reference to the same one.
#[derive(Debug, Clone)]
pub struct MonitoringTable {
    shared: Arc<Mutex<Observations>>,
}

impl MonitoringTable {
    pub fn new(now: Instant, since: Timestamp) -> Self {
        Self { shared: Arc::new(Mutex::new(Observations::new(now, since))) }
    }

    /// How long 99 of a hundred answers from memory took at most, lately, of those that waited for
    /// nobody; `None` when there were too few.
    pub fn memory_latency(&self, now: Instant) -> Option<Duration> {
        let stats = self.lock().from_memory.stats(now, LATELY);
        let p99 = stats.latency_ms.p99.max(0.0) / 1_000.0;
        (stats.counts.requests >= ENOUGH).then(|| Duration::from_secs_f64(p99))
    }

    /// The last of these requests, newest first. Does not wait for the actor.
    pub fn recent(&self, which: Which, limit: usize) -> Vec<RecentRequest> {
        self.lock().recent(which, limit)
    }

    /// The observations, locked. Whoever holds them does nothing else: no call out, no waiting.
    pub(super) fn lock(&self) -> MutexGuard<'_, Observations> {
        self.shared.lock().unwrap_or_else(|poisoned| {
            self.shared.clear_poison();
            PoisonError::into_inner(poisoned)
        })
    }
}

#[derive(Debug)]
pub(super) struct Observations {
    since: Timestamp,
    origin: Instant,
    overall: Window<60>,
    from_memory: Window<3>,
    endpoints: BTreeMap<(&'static str, &'static str), Window<5>>,
    all: VecDeque<RecentRequest>,
    slow: VecDeque<RecentRequest>,
    failed: VecDeque<RecentRequest>,
}

/// Windows, computed: what a report takes out of the lock.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) since: Timestamp,
    pub(super) windows: Vec<WindowStats>,
    /// By route template and method.
    pub(super) endpoints: BTreeMap<(&'static str, &'static str), WindowStats>,
}

impl Observations {
    fn new(now: Instant, since: Timestamp) -> Self {
        Self {
            since,
            origin: now,
            overall: Window::new(now, FINE),
            from_memory: Window::new(now, FINE),
            endpoints: BTreeMap::new(),
            all: VecDeque::new(),
            slow: VecDeque::new(),
            failed: VecDeque::new(),
        }
    }

    /// Takes in a request. `now` and `wall` are the same moment on the two clocks; they give the
    /// time of day at which the request was answered.
    pub(super) fn observe(&mut self, seen: &RequestSeen, now: Instant, wall: Timestamp) {
        let RequestSeen { finished, status, duration, .. } = *seen;
        if finished < self.origin {
            // Answered before the reset, reported after it.
            return;
        }
        self.overall.observe(finished, status, duration);
        if seen.tier == "memory" && seen.prompt {
            self.from_memory.observe(finished, status, duration);
        }
        let endpoint = (seen.route, seen.method);
        if self.endpoints.len() < MAX_ENDPOINTS || self.endpoints.contains_key(&endpoint) {
            let window = || Window::new(self.origin, COARSE);
            let window = self.endpoints.entry(endpoint).or_insert_with(window);
            window.observe(finished, status, duration);
        }
        let recent = RecentRequest::new(seen, wall.minus(now.saturating_duration_since(finished)));
        if status >= SERVER_ERRORS {
            push(&mut self.failed, FAILED_KEPT, recent.clone());
        }
        if duration >= SLOW {
            push(&mut self.slow, SLOW_KEPT, recent.clone());
        }
        push(&mut self.all, RECENT_KEPT, recent);
    }

    /// Forgets everything and begins anew.
    pub(super) fn reset(&mut self, now: Instant, wall: Timestamp) {
        *self = Self::new(now, wall);
    }

    /// What the windows say as of `now`.
    pub(super) fn summary(&self, now: Instant, spans: &[Duration]) -> Summary {
        let of_endpoint = |window: &Window<5>| window.stats(now, LONGEST_SPAN);
        Summary {
            since: self.since,
            windows: spans.iter().map(|span| self.overall.stats(now, *span)).collect(),
            endpoints: self
                .endpoints
                .iter()
                .map(|(at, window)| (*at, of_endpoint(window)))
                .collect(),
        }
    }

    /// The last of these requests, newest first.
    pub(super) fn recent(&self, which: Which, limit: usize) -> Vec<RecentRequest> {
        let ring = match which {
            Which::All => &self.all,
            Which::Slow => &self.slow,
            Which::Failed => &self.failed,
        };
        ring.iter().rev().take(limit).cloned().collect()
    }
}

fn push<T>(ring: &mut VecDeque<T>, kept: usize, item: T) {
    if ring.len() >= kept {
        ring.pop_front();
    }
    ring.push_back(item);
}

impl RecentRequest {
    fn new(seen: &RequestSeen, at: Timestamp) -> Self {
        let id = &seen.request_id;
        let kept = id.get(..id.floor_char_boundary(MAX_ID_BYTES)).unwrap_or_default();
        Self {
            finished_ms: at.as_millis(),
            request_id: if kept.len() == id.len() { id.clone() } else { kept.into() },
            method: seen.method,
            route: seen.route,
            status: seen.status,
            duration_ms: float(u64::try_from(seen.duration.as_micros()).unwrap_or(u64::MAX))
                / 1_000.0,
            tier: seen.tier,
        }
    }
}

/// What a worker saw and has not sent yet. It does not send: the worker does, and drops and counts what
/// the actor has no room for. A worker without traffic asks [`Batch::due`] now and then, or its last
/// requests would wait for the next one.
#[derive(Debug, Default)]
pub struct Batch {
    entries: Vec<RequestSeen>,
    first: Option<Instant>,
}

impl Batch {
    /// Adds an entry; gives the batch when it is time to send it.
    #[must_use = "the batch must be sent, or dropped and counted"]
    pub fn push(&mut self, seen: RequestSeen, now: Instant) -> Option<Vec<RequestSeen>> {
        if self.entries.capacity() == 0 {
            self.entries.reserve_exact(BATCH_ENTRIES);
        }
        self.entries.push(seen);
        self.first.get_or_insert(now);
        if self.entries.len() >= BATCH_ENTRIES { self.take() } else { self.due(now) }
    }

    /// Gives the batch when its first entry is old enough.
    #[must_use = "the batch must be sent, or dropped and counted"]
    pub fn due(&mut self, now: Instant) -> Option<Vec<RequestSeen>> {
        let first = self.first?;
        if now.saturating_duration_since(first) >= BATCH_AGE { self.take() } else { None }
    }

    /// Gives what there is, for example at shutdown; `None` when there is nothing.
    #[must_use = "the batch must be sent, or dropped and counted"]
    pub fn take(&mut self) -> Option<Vec<RequestSeen>> {
        self.first = None;
        let entries = std::mem::take(&mut self.entries);
        if entries.is_empty() { None } else { Some(entries) }
    }
}

#[cfg(test)]
#[path = "observations_tests.rs"]
pub(super) mod tests;
