//! Faults an operator may put into an actor's inbox to see it survive.
//!
//! Owns: what the faults are and how they are carried out inside the actor's context, where a real
//! fault would happen. Only reachable when `CHAOS_ENABLED` is set.

use std::time::Duration;

/// A fault for one actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chaos {
    /// Panics while handling the letter.
    Panic,
    /// Stops the actor's context, as `ctx.stop()` in a handler would.
    Stop,
    /// Blocks the actor's thread.
    Hang(Duration),
}

impl Chaos {
    /// Carries the fault out; says whether the context must stop.
    #[expect(clippy::panic, reason = "panicking is what was asked for")]
    pub(super) fn strike(self) -> bool {
        match self {
            Self::Panic => panic!("chaos: asked to panic"),
            Self::Stop => true,
            Self::Hang(time) => {
                std::thread::sleep(time);
                false
            }
        }
    }
}
