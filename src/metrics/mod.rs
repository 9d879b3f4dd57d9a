//! What the process counts and measures, and how it is read.
//!
//! Owns: every metric family, sliding windows and recent requests, the text of `GET /metrics`, the
//! process' own figures, and `MetricsActor`. Counts are exact: they are atomics in [`Metrics`], which is
//! older than any actor, bumped where things happen. Windows may lag: workers send what they saw in
//! batches, and what [`MetricsActor`] has no room for is dropped and counted. When the actor is down,
//! counts and `/metrics` go on as ever; the report returns with its restart.

mod actor;
mod cache;
mod catalogue;
mod exposition;
mod families;
mod histogram;
mod observations;
mod process;
mod registry;
mod report;
mod requests;
mod series;
mod window;

pub use actor::{MetricsActor, NAME as ACTOR_NAME, Observed, RecentRequests, Report, Reset};
pub use cache::{CacheMetrics, CacheTotals, KindTotals, TierTotals};
pub use catalogue::{Listed, Series as ListedSeries, Set, Words};
pub use exposition::{CONTENT_TYPE, render};
pub use families::{
    AccessMetrics, ActorMetrics, BreakerMetrics, HttpMetrics, LimitMetrics, Metrics,
    TracingMetrics, UpstreamMetrics,
};
pub use histogram::DurationHistogram;
pub use observations::{Batch, MonitoringTable, RecentRequest, RequestSeen, Which};
pub use process::{memory_bound, resident_bytes};
pub use registry::{Counters, Fraction, Gauge, Gauges, InFlight, Labelled};
pub use report::{EndpointReport, MonitoringReport, MonitoringTotals};
pub use requests::{RequestCounts, RouteMetrics};
pub use series::{Curves, Sample, Series};
pub use window::{LatencyStats, WindowStats};
