//! Supervised actors: guard, restart policy, bounded ask, watchdog, status.
//!
//! actix's own `Supervisor` does not restart after a panic. Here every actor has an inbox that is
//! older than any of its incarnations. A guard runs one incarnation at a time and polls it inside
//! `catch_unwind`. A dispatcher in the actor's context takes one message at a time. When an
//! incarnation panics, stops or hangs, only the message in its hands is lost: the guard builds the
//! next incarnation with the same factory, and handles stay valid.
//!
//! ```text
//!  Handle ──admission──▶ inbox (outlives incarnations) ──dispatcher──▶ actor in its actix Context
//!    │  └─ in place: same thread, actor idle, inbox empty ──▶ ▲           │ panic, stop
//!    ▼                       heartbeats                       │           ▼
//!  AskError                watchdog (own thread)            guard ──policy──▶ next incarnation
//! ```
//!
//! An inbox refuses messages beyond its bound, and messages to an actor that is backing off. This
//! room knows nothing about what actors do.

mod guard;
mod handle;
mod inbox;
mod policy;
mod record;
mod supervisor;
mod tasks;

#[cfg(test)]
mod tests;

pub use handle::{AskError, Handle, Undelivered};
pub use inbox::Chaos;
pub use policy::RestartPolicy;
pub use record::{ActorState, ActorStatus, Observer, RestartReason, Silent};
pub use supervisor::{Spec, Supervisor};
pub use tasks::{TaskDied, keep_running, run_watched, spawn_watched};
