//! The door: what cannot be done in time is refused before anything is done for it.
//!
//! Owns: looking, on the thread of whoever asks, at what would refuse the call later: no account
//! that could make it, a queue that is full, longer than its deadline, or there for good. Refuses:
//! those, within microseconds and without a message to the actor. Whatever it lets through is
//! asked again when it is made; a look takes nothing.

use std::time::Instant;

use crate::clock::Timestamp;
use crate::failure::Failure;
use crate::origin::accounts::Ask;
use crate::origin::accounts::choice::Prefer;
use crate::origin::actor::Call;
use crate::origin::tables::UpstreamTables;

/// The number of the attempt that is about to be made.
const FIRST: u32 = 1;

impl UpstreamTables {
    /// Whether a call may come in.
    ///
    /// # Errors
    /// What it would be refused for.
    pub(in crate::origin) fn door(
        &self,
        call: &Call,
        now: Instant,
        wall: Timestamp,
    ) -> Result<(), Failure> {
        let Call { priority, deadline, .. } = *call;
        let method = call.request.method;
        let latest = self.latest_start(now, deadline);
        let ask = Ask { method, priority, latest, prefer: Prefer::Any };
        self.accounts
            .peek(&ask, now, wall)
            .map_err(|turned| self.turned_away(turned, priority, FIRST, now))?;
        self.crowd.peek(priority, now, latest).map_err(|full| self.crowded(full, priority, FIRST))
    }
}
