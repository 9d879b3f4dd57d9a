//! The client that everybody writes first: what failed is asked again, three times.
//!
//! Owns: that. No pace, no breaker, no budget; either at once or after 1, 2 and 4 seconds. It signs
//! and reads as Breakwater does.

use std::time::Duration;

use breakwater::clock;
use breakwater::origin::transport::Transport;
use breakwater::origin::{Answer as Received, Origin, Outcome};
use breakwater::services::products::aliexpress::{AliExpress, Request};
use tokio::time::Instant;

use crate::record::Answer;
use crate::upstream::Line;

/// How often it asks again.
const RETRIES: u32 = 3;
/// How long it waits for an answer.
const ATTEMPT: Duration = Duration::from_secs(2);
/// The first pause of the one that pauses.
const PAUSE: Duration = Duration::from_secs(1);

/// The client.
pub(crate) struct AskAgain {
    /// Speaks to the upstream.
    pub(crate) protocol: Box<AliExpress>,
    /// Whether it pauses before it asks again, twice as long each time.
    pub(crate) pauses: bool,
}

impl AskAgain {
    /// Asks until there is an answer, or no time.
    pub(crate) async fn ask(&self, line: &Line<'_>, request: &Request, until: Instant) -> Answer {
        let mut last = Answer::Deadline;
        for number in 0..=RETRIES {
            let left = until.into_std().saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                return Answer::Deadline;
            }
            last = self.attempt(line, request, left.min(ATTEMPT)).await;
            if last.is_good() {
                return last;
            }
            let pause = PAUSE * 2_u32.pow(number);
            if self.pauses && number < RETRIES {
                tokio::time::sleep_until(until.min((clock::monotonic() + pause).into())).await;
            }
        }
        last
    }

    async fn attempt(&self, line: &Line<'_>, request: &Request, within: Duration) -> Answer {
        let sent_at = line.wall();
        let sent = line.send(self.protocol.request(request, sent_at), within).await;
        let Ok(answer) = sent else { return Answer::Unavailable };
        let answer = Received { sent_at, received_at: line.wall(), ..answer };
        match self.protocol.interpret(request, &answer) {
            Outcome::Ok(_) => Answer::Ok,
            Outcome::Empty => Answer::Empty,
            Outcome::Throttled { .. } => Answer::Throttled,
            Outcome::Transient { .. } | Outcome::BadResponse { .. } => Answer::Unavailable,
            Outcome::Permanent { .. } => Answer::Rejected,
        }
    }
}
