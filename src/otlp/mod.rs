//! Traces for a collector: OTLP over HTTP, as JSON (<https://opentelemetry.io/docs/specs/otlp/>).
//!
//! Owns: what a span is, the queue of those that wait, and the thread that sends them in batches. Spans are a
//! help and no record: what finds no room, or no collector, is dropped and counted, and nobody waits for it.
//! A collector that is away, slow or refuses costs clients nothing, and a stop a second at most.

mod exporter;
mod json;
mod queue;
mod settings;
mod span;

pub use exporter::{SpanExporter, TASK, try_collector};
pub use queue::SpanDrop;
pub use settings::{HeaderList, TracingSettings};
pub use span::{Span, SpanKind, SpanValue, nanos};
