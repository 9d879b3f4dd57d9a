//! Actors that die without anyone noticing: guard, restart policy, bounded ask, watchdog, status.
//!
//! actix's own `Supervisor` does not restart after a panic. Here every actor has an inbox that is
//! older than any of its incarnations. A guard runs one incarnation at a time and polls it inside
//! `catch_unwind`; inside the actor's context a pump takes one letter at a time from the inbox and
//! hands it to the actor. When an incarnation panics, stops or hangs, exactly the letter it held is
//! lost; the guard builds the next one with the same factory and the pump goes on with the next
//! letter. Handles stay valid throughout.
//!
//! ```text
//!  Handle ──admission──▶ inbox (outlives incarnations) ──pump──▶ actor in its actix Context
//!    │ ask / tell          ▲ beats                                  │ panic, stop
//!    ▼                     │                                        ▼
//!  AskError             watchdog (own thread)                    guard ──policy──▶ next incarnation
//! ```
//!
//! Owns: the life of every actor and task. Refuses: letters beyond an inbox's bound, and letters to
//! an actor that is backing off (callers bypass it). Knows nothing about what actors do.

mod cell;
mod chaos;
mod guard;
mod handle;
mod inbox;
mod policy;
mod pump;
mod supervisor;
mod tasks;
mod watchdog;

#[cfg(test)]
mod tests;

pub use cell::{ActorState, ActorStatus, RestartReason};
pub use chaos::Chaos;
pub use handle::{AskError, Handle, Refusal};
pub use policy::RestartPolicy;
pub use supervisor::{Observer, Silent, Spec, Supervisor};
pub use tasks::{TaskDied, keep_running, run_watched, spawn_watched};
