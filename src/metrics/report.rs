//! The shape of `GET /api/monitoring/metrics`.
//!
//! Owns: what the report says and how it is put together from exact counts and sliding windows.
//! Counts come from the registry and are exact since the process started; windows and percentiles
//! come from events that may have been dropped, and start anew at a reset.

use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use super::cache::CacheTotals;
use super::families::Metrics;
use super::observations::{LONGEST_SPAN, MonitoringTable};
use super::process;
use super::requests::RequestCounts;
use super::window::WindowStats;
use crate::clock::Timestamp;

/// Windows reported for all requests together.
const SPANS: [Duration; 2] = [Duration::from_secs(60), LONGEST_SPAN];

/// What the process did and how quickly.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MonitoringReport {
    /// When the report was made, milliseconds since the Unix epoch.
    pub generated_ms: i64,
    /// Since when windows are kept: the start of the process or the last reset.
    pub windows_since_ms: i64,
    /// Requests that wait for their answer.
    pub requests_in_flight: i64,
    /// Exact counts since the process started.
    pub totals: MonitoringTotals,
    /// The last minute and the last five.
    pub windows: Vec<WindowStats>,
    /// Every route template and method that was asked for.
    pub endpoints: Vec<EndpointReport>,
    /// What the cache answered.
    pub cache: CacheTotals,
    /// Memory in use, in bytes; `null` where the system does not say.
    pub resident_bytes: Option<u64>,
    /// Requests that are missing from windows and lists because this part was behind.
    pub events_dropped: u64,
}

/// Exact counts since the process started.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MonitoringTotals {
    #[serde(flatten)]
    pub counts: RequestCounts,
    /// Calls to the upstream, every attempt counted.
    pub upstream_calls: u64,
}

/// One route template and method, counted since the process started.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EndpointReport {
    #[schema(value_type = String)]
    pub method: &'static str,
    /// Route template.
    #[schema(value_type = String)]
    pub route: &'static str,
    #[serde(flatten)]
    pub counts: RequestCounts,
    /// The last five minutes; `null` when nothing was seen since the last reset.
    pub window: Option<WindowStats>,
}

impl MonitoringReport {
    /// Puts the report together. `events_dropped` counts events that never arrived.
    pub(super) fn new(
        metrics: &Metrics,
        table: &MonitoringTable,
        events_dropped: u64,
        now: Instant,
        generated: Timestamp,
    ) -> Self {
        let mut summary = table.lock().summary(now, &SPANS);
        let endpoints = metrics.http.by_route().map(|(route, method, counts)| EndpointReport {
            method,
            route,
            counts,
            window: summary.endpoints.remove(&(route, method)),
        });
        let mut endpoints: Vec<_> = endpoints.collect();
        endpoints.sort_by_key(|endpoint| (endpoint.route, endpoint.method));
        let upstream_calls = metrics.upstream.duration.count();
        Self {
            generated_ms: generated.as_millis(),
            windows_since_ms: summary.since.as_millis(),
            requests_in_flight: metrics.http.in_flight.get(),
            totals: MonitoringTotals { counts: metrics.http.totals(), upstream_calls },
            windows: summary.windows,
            endpoints,
            cache: metrics.cache.totals(),
            resident_bytes: process::resident_bytes(),
            events_dropped,
        }
    }
}
