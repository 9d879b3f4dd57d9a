//! A span as it is handed to the exporter.
//!
//! Owns: its shape: what is known of it when it is over. Plain data; has no neighbour.

use std::borrow::Cow;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::steps::{Stage, Verdict};
use crate::trace::{SpanId, TraceId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// A request that was answered.
    Server,
    /// A call that was made.
    Client,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpanValue {
    Word(&'static str),
    Text(Arc<str>),
    Number(u64),
    Flag(bool),
}

/// One span. Times are nanoseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub trace: TraceId,
    pub id: SpanId,
    pub parent: Option<SpanId>,
    pub state: Option<Arc<str>>,
    pub kind: SpanKind,
    pub name: Cow<'static, str>,
    pub started: u64,
    pub ended: u64,
    pub attributes: Vec<(&'static str, SpanValue)>,
    /// What happened in it, and when.
    pub events: Vec<(u64, Stage, Verdict)>,
    pub failed: bool,
}

/// A time in nanoseconds.
#[must_use]
pub fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(0).saturating_mul(1_000_000)
}
