//! Breakwater: a gateway that stands between a shop's clients and the slow, flaky, rate-limited
//! services the shop depends on. It answers from three cache tiers, spends as few upstream calls as
//! it can, keeps answering when anything behind it fails, and tells what it is doing.
//!
//! # The way of a request, and of a failure
//!
//! ```text
//!  client ▶ http::pipeline ▶ limits ────────▶ service ───────▶ cache ───────────────▶ origin ─────────▶ upstream
//!           stops in order   RateLimiterActor  what is asked:   CacheActor             ApiClientActor
//!           in one file      (one a worker)    key, lifetime,   (one a worker)         (own thread)
//!                                              request,         memory ▶ one load      credential ▶ pace ▶
//!                                              reading          per key ▶ Redis ▶ SQL  concurrency ▶ breaker ▶
//!                                                               ▶ lock ▶ origin        attempt ▶ retry
//!           beside it: MetricsActor (batched events, may be dropped) · log · upkeep (sweep, warm, follow the log)
//! ```
//!
//! The two actors of a worker live on the worker's thread; a message to an idle one is handled in
//! place. ApiClientActor and MetricsActor have threads of their own.
//!
//! Data flows one way. A failure comes back as a typed [`failure::Failure`] through the same rooms:
//! the load shares it with its callers, and the key is left alone for a while; what is stale is served;
//! only when nothing is left does it reach [`http`], the one place that knows statuses.
//!
//! What must survive an actor's death lies in tables that are older than any actor: the memory tier,
//! pending keys, accounts of the limiter, breakers, pacing, the metric registry. An actor that dies costs
//! the message it held and nothing else; see [`supervision`].
//!
//! # Rooms, and who may import whom
//!
//! | room | owns | imports |
//! |---|---|---|
//! | [`app`] | putting everything together; start and stop | all |
//! | [`cli`] | the command line | config |
//! | [`http`] | pipeline, forms, envelope, errors, OpenAPI; the trait `Service`, and no service | access, cache, limits, metrics, origin, otlp, replication, resilience, supervision, telemetry |
//! | [`services`] | one folder a service: what to ask for and what to make of it | http, cache, limits, metrics, origin, resilience |
//! | [`cache`] | entries, freshness, invalidations, tiers, single flight, warming; CacheActor | redis, resilience, replication, database, supervision, metrics |
//! | [`origin`] | calling anything: outcomes, credentials, pacing, retry; ApiClientActor | resilience, supervision, metrics |
//! | [`resilience`] | the pure machines: breaker, token bucket, sliding window | — |
//! | [`otlp`] | spans for a collector of traces: queue, JSON, export thread | origin, resilience, supervision, metrics |
//! | [`redis`] | the one client: commands, deadline, breaker, scripts, pub/sub | resilience |
//! | [`replication`] | one log of changes that every instance follows | redis, database |
//! | [`access`] | who may come in: keys, lists, what admins did | replication, database, limits, resilience |
//! | [`limits`] | how often who may ask; RateLimiterActor | resilience, supervision |
//! | [`metrics`] | what is counted; MetricsActor | resilience, supervision |
//! | [`supervision`] | the life of every actor and task | resilience |
//! | [`database`] | connections to SQLite or Postgres, schema, migrations | resilience |
//! | [`telemetry`] | the log | console |
//! | [`config`] | the loader of settings; each room declares its own | — |
//!
//! Everyone may import [`clock`] (the one file that reads it), [`failure`], [`gzip`], [`steps`], [`trace`] and plain data of
//! [`config`]. `tests/architecture.rs` keeps this table true.
//!
//! # Words
//!
//! A breaker is *closed* when calls flow, *open* when they are refused, *half-open* when probes are
//! admitted. An entry is *fresh*, *due* (fresh, and renewed), *stale while it is revalidated*, *stale if
//! that fails*, or *dead*; a key is loaded by one
//! *leader*, and all others who want it are *followers*. A call's *outcome* is ok, empty, throttled,
//! transient, permanent or bad response. Messages are imperative (`Get`), replies nouns
//! (`Admission`).

pub mod access;
pub mod app;
pub mod cache;
pub mod certificates;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod database;
pub mod failure;
pub mod gzip;
pub mod http;
pub mod limits;
pub mod metrics;
pub mod origin;
pub mod otlp;
pub mod redis;
pub mod replication;
pub mod resilience;
pub mod services;
pub mod steps;
pub mod supervision;
pub mod telemetry;
pub mod trace;
