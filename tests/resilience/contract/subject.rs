//! What the contract needs to know of one actor.
//!
//! Owns: the words. An actor's table is made by [`Subject::new`] and outlives every incarnation.

use std::time::Duration;

use actix::{Actor, Context};
use breakwater::supervision::{AskError, Handle, Spec, Supervisor, Undelivered};

/// Longer than any answer takes; a test that waits so long has failed.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// An actor under the contract, with its table.
pub(crate) trait Subject: Send + Sync + Sized + 'static {
    /// Its type.
    type Actor: Actor<Context = Context<Self::Actor>>;
    /// What the application calls it.
    const NAME: &'static str;
    /// Whether it has a thread of its own (else it lives on its worker's).
    const OWN_THREAD: bool;

    /// A table of its own.
    fn new(supervisor: &Supervisor) -> Self;

    /// Starts it over the table, as the application does.
    fn start(&self, supervisor: &Supervisor, spec: Spec) -> Handle<Self::Actor>;

    /// A harmless question; `Ok` when it was answered.
    async fn ask(handle: &Handle<Self::Actor>) -> Result<(), AskError>;

    /// The same without waiting for the answer.
    fn tell(handle: &Handle<Self::Actor>) -> Result<(), Undelivered>;

    /// Has the actor put something into its table.
    async fn leave_a_mark(&self, handle: &Handle<Self::Actor>);

    /// Whether the actor finds it there.
    async fn finds_the_mark(&self, handle: &Handle<Self::Actor>) -> bool;

    /// What its client does while it is down; panics where that is not what it should be.
    async fn go_around(&self, handle: Handle<Self::Actor>);
}
