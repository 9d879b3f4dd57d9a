//! What the process counts and measures, and how it tells.
//!
//! Owns: the catalogue of every metric, sliding windows and recent requests, the text of
//! `GET /metrics`, the process' own figures, and `MetricsActor`. Counts are exact: they are
//! atomics in [`Metrics`], a table older than any actor, bumped where things happen. Windows may
//! lag: workers send what they saw in batches, and what [`MetricsActor`] has no room for is
//! dropped and counted. When the actor is down, counts and `/metrics` go on as ever; the report
//! returns with its restart. Imports no room but the clock.

mod access;
mod actor;
mod actors;
mod batch;
mod cache;
mod cache_totals;
mod catalogue;
mod exposition;
mod family;
mod histogram;
mod http;
mod labels;
mod limits;
mod minutes;
mod process;
mod ratio;
mod recent;
mod report;
mod slots;
mod table;
mod upstream;
mod waiting;
mod windows;

pub use access::AccessMetrics;
pub use actor::{
    MetricsActor, NAME as ACTOR_NAME, Observed, Parts, RecentRequests, Report, Reset,
    SLOW_THRESHOLD, SlowRequests,
};
pub use actors::{ActorMetrics, OneActorMetrics};
pub use batch::{BATCH_AGE, BATCH_ENTRIES, Batch};
pub use cache::{CacheKindMetrics, CacheMetrics};
pub use cache_totals::{CacheTotals, KindTotals, TierTotals};
pub use catalogue::Metrics;
pub use exposition::{Format, render};
pub use histogram::DurationHistogram;
pub use http::{HttpMetrics, InFlight, RequestTotals, RouteMetrics, RouteTotals};
pub use labels::{BreakerState, Method};
pub use limits::LimitMetrics;
pub use minutes::{MinuteTotals, Minutes};
pub use process::{ProcessFigures, memory_bound, resident_bytes};
pub use recent::{RECENT_KEPT, Recent, RecentRequest, RequestSeen, SLOW_KEPT};
pub use report::{EndpointReport, MonitoringReport, MonitoringTotals};
pub use table::MonitoringTable;
pub use upstream::UpstreamMetrics;
pub use waiting::{Wait, Waiting};
pub use windows::{LatencyStats, SlidingWindow, WindowStats};
