//! The names of log fields, so that one thing has one name on every line.
//!
//! Owns: the names. Units stand in the name. `ts`, `level` and `msg` are on every line and are
//! taken. No neighbours.

/// Id of the request that the line belongs to.
pub const REQUEST_ID: &str = "request_id";
/// Id of the trace that the request belongs to, when its `traceparent` names one.
pub const TRACE_ID: &str = "trace_id";
/// HTTP method.
pub const METHOD: &str = "method";
/// The route's template, never the raw path.
pub const ROUTE: &str = "route";
/// The raw path, without its query.
pub const PATH: &str = "path";
/// HTTP status.
pub const STATUS: &str = "status";
/// How long it took, in milliseconds.
pub const DURATION_MS: &str = "duration_ms";
/// The client's address as the limiter counts it.
pub const CLIENT: &str = "client";
/// Which cache tier answered.
pub const CACHE_TIER: &str = "cache_tier";
/// Cache key.
pub const CACHE_KEY: &str = "cache_key";
/// Whether the answer was stale.
pub const STALE: &str = "stale";
/// Name of an actor.
pub const ACTOR: &str = "actor";
/// How often something was restarted.
pub const RESTARTS: &str = "restarts";
/// Name of a breaker.
pub const BREAKER: &str = "breaker";
/// State that was left.
pub const FROM: &str = "from";
/// State that was entered.
pub const TO: &str = "to";
/// Method of the upstream's interface.
pub const UPSTREAM_METHOD: &str = "upstream_method";
/// How an upstream call ended.
pub const OUTCOME: &str = "outcome";
/// Number of the attempt, from 1.
pub const ATTEMPT: &str = "attempt";
/// How long to wait, in milliseconds.
pub const WAIT_MS: &str = "wait_ms";
/// The upstream's own id of a call.
pub const UPSTREAM_REQUEST_ID: &str = "upstream_request_id";
/// What went wrong, in words.
pub const ERROR: &str = "error";
/// The code of the answer that a client got.
pub const CODE: &str = "code";
/// Why, when it is one of a few words.
pub const REASON: &str = "reason";
/// How many.
pub const COUNT: &str = "count";
/// Address that is listened on or called.
pub const ADDRESS: &str = "address";
/// A file's path.
pub const FILE: &str = "file";
/// A line of a file.
pub const LINE: &str = "line";
/// Message of a panic.
pub const PANIC: &str = "panic";
/// File, line and column in the source.
pub const LOCATION: &str = "location";
/// Name of a thread.
pub const THREAD: &str = "thread";
/// Version of the program.
pub const VERSION: &str = "version";
