//! The shape of `GET /api/monitoring/metrics`.
//!
//! Owns: what the report says and how it is put together from exact counts and sliding windows.
//! Counts come from the registry table and are exact since the process started; windows, minutes
//! and percentiles come from events that may have been dropped, and start anew at a reset.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use super::cache_totals::CacheTotals;
use super::catalogue::Metrics;
use super::http::RouteTotals;
use super::labels::Method;
use super::minutes::MinuteTotals;
use super::process;
use super::table::{LONGEST_SPAN, MonitoringTable, Summary};
use super::windows::WindowStats;
use crate::clock::Timestamp;

/// Windows reported for all requests together.
const SPANS: [Duration; 2] = [Duration::from_secs(60), LONGEST_SPAN];

/// What the process did and how quickly.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MonitoringReport {
    /// When the report was made, milliseconds since the Unix epoch.
    pub generated_ms: i64,
    /// Since when windows and minutes are kept: the start of the process or the last reset.
    pub windows_since_ms: i64,
    /// Requests that wait for their answer.
    pub requests_in_flight: i64,
    /// Exact counts since the process started.
    pub totals: MonitoringTotals,
    /// The last minute and the last five.
    pub windows: Vec<WindowStats>,
    /// Every route template and method that was asked for.
    pub endpoints: Vec<EndpointReport>,
    /// The last hour, minute by minute, oldest first; minutes without a request are left out.
    pub minutes: Vec<MinuteTotals>,
    /// What the cache answered.
    pub cache: CacheTotals,
    /// Memory in use, in bytes; `null` where the system does not say.
    pub resident_bytes: Option<u64>,
    /// Requests that are missing from windows, minutes and lists because this part was behind.
    pub events_dropped: u64,
}

/// Exact counts since the process started.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MonitoringTotals {
    /// Requests answered.
    pub requests: u64,
    /// Of these, answered with 4xx.
    pub client_errors: u64,
    /// Of these, answered with 5xx.
    pub server_errors: u64,
    /// Calls to the upstream, every attempt counted.
    pub upstream_calls: u64,
}

/// One route template and method.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EndpointReport {
    /// Method.
    pub method: Method,
    /// Route template.
    #[schema(value_type = String)]
    pub route: &'static str,
    /// Requests answered since the process started.
    pub requests: u64,
    /// Of these, answered with 4xx.
    pub client_errors: u64,
    /// Of these, answered with 5xx.
    pub server_errors: u64,
    /// The last five minutes; `null` when nothing was seen since the last reset.
    pub window: Option<WindowStats>,
}

impl MonitoringReport {
    /// Puts the report together. `dropped` counts events that never arrived.
    pub(super) fn new(
        metrics: &Metrics,
        table: &MonitoringTable,
        dropped: u64,
        now: Instant,
        generated: Timestamp,
    ) -> Self {
        let Summary { since, windows, endpoints, minutes } =
            table.lock().summary(now, generated, &SPANS);
        let totals = metrics.http().totals();
        Self {
            generated_ms: generated.as_millis(),
            windows_since_ms: since.as_millis(),
            requests_in_flight: metrics.http().in_flight(),
            totals: MonitoringTotals {
                requests: totals.requests,
                client_errors: totals.client_errors,
                server_errors: totals.server_errors,
                upstream_calls: metrics.upstream().all_calls(),
            },
            windows,
            endpoints: with_counts(&metrics.http().by_route(), endpoints),
            minutes,
            cache: metrics.cache().totals(),
            resident_bytes: process::resident_bytes(),
            events_dropped: dropped,
        }
    }
}

/// Exact counts with the window of the same endpoint beside them, sorted by route and method.
fn with_counts(
    counted: &[RouteTotals],
    mut windows: BTreeMap<(&'static str, Method), WindowStats>,
) -> Vec<EndpointReport> {
    let mut endpoints: Vec<_> = counted
        .iter()
        .map(|RouteTotals { method, route, totals }| EndpointReport {
            method: *method,
            route,
            requests: totals.requests,
            client_errors: totals.client_errors,
            server_errors: totals.server_errors,
            window: windows.remove(&(*route, *method)),
        })
        .collect();
    endpoints.sort_by_key(|endpoint| (endpoint.route, endpoint.method));
    endpoints
}
