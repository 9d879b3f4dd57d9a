//! How long a connection may take for what it does.
//!
//! Decided from what was read, written and begun, and when. Pure: times are arguments. The server's
//! own timer watches only the first head of a connection; here every head is watched, and the taking
//! of every answer. While a request is served nothing is overdue: that has its own deadline.
//!
//! | what | bound |
//! |---|---|
//! | from the first byte of a head until it is whole | `head` |
//! | of a new connection, until its first byte | `head` |
//! | without any request, whatever comes | `idle` and `head` together |
//! | an answer of which nothing is taken | `send` |
//! | one filled buffer of an answer, however much of it is taken now and then | three times `send` |

use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a head that has begun.
    pub head: Duration,
    /// For a connection without a request.
    pub idle: Duration,
    /// For an answer that is not taken.
    pub send: Duration,
}

/// So many times [`Timeouts::send`] for one filled buffer.
const BUFFER: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    Head,
    Idle,
    Send,
}

#[derive(Debug, Clone, Copy)]
struct Blocked {
    since: Instant,
    moved: Instant,
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    timeouts: Timeouts,
    /// Requests begun when this was looked at last.
    begun: u64,
    /// Since when there is no request and no answer under way.
    quiet: Instant,
    /// The first byte that came after that.
    received: Option<Instant>,
    blocked: Option<Blocked>,
}

impl Deadlines {
    pub const fn new(timeouts: Timeouts, now: Instant) -> Self {
        Self { timeouts, begun: 0, quiet: now, received: None, blocked: None }
    }

    /// Bytes were received while so many requests had begun.
    pub fn received(&mut self, begun: u64, now: Instant) {
        self.look(begun, now);
        self.received.get_or_insert(now);
    }

    /// An answer cannot be written on; `moved` when a part of it could.
    pub fn blocked(&mut self, moved: bool, now: Instant) {
        let blocked = self.blocked.get_or_insert(Blocked { since: now, moved: now });
        if moved {
            blocked.moved = now;
        }
    }

    pub const fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    pub fn written(&mut self, now: Instant) {
        if self.blocked.take().is_some() {
            self.quiet = now;
        }
    }

    /// When something is overdue if nothing happens; nothing while a request is served.
    pub fn due(&mut self, begun: u64, serving: bool, now: Instant) -> Option<(Instant, Overdue)> {
        if serving {
            self.look(begun, now);
            self.quiet = now;
            return None;
        }
        self.look(begun, now);
        let Timeouts { head, idle, send } = self.timeouts;
        if let Some(Blocked { since, moved }) = self.blocked {
            return Some(((moved + send).min(since + send * BUFFER), Overdue::Send));
        }
        if begun == 0 && self.received.is_none() {
            return Some((self.quiet + head, Overdue::Idle));
        }
        let longest = self.quiet + idle + head;
        Some(match self.received.map(|received| received + head) {
            Some(due) if due < longest => (due, Overdue::Head),
            Some(_) | None => (longest, Overdue::Idle),
        })
    }

    /// What was received before a request began belongs to that.
    fn look(&mut self, begun: u64, now: Instant) {
        if self.begun != begun {
            self.begun = begun;
            self.quiet = now;
            self.received = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    const TIMEOUTS: Timeouts = Timeouts {
        head: Duration::from_secs(5),
        idle: Duration::from_secs(30),
        send: Duration::from_secs(10),
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_head_has_its_time_from_its_first_byte_on_whatever_trickles_in() {
        let start = monotonic();
        let mut deadlines = Deadlines::new(TIMEOUTS, start);
        assert_eq!(deadlines.due(0, false, start), Some((start + seconds(5), Overdue::Idle)));
        for second in 1..5 {
            deadlines.received(0, start + seconds(second));
        }
        let due = deadlines.due(0, false, start + seconds(4));
        assert_eq!(due, Some((start + seconds(6), Overdue::Head)));
    }

    #[test]
    fn every_head_is_watched_and_a_request_that_is_served_is_not() {
        let start = monotonic();
        let mut deadlines = Deadlines::new(TIMEOUTS, start);
        deadlines.received(0, start);
        assert_eq!(deadlines.due(1, true, start + seconds(60)), None);
        deadlines.received(1, start + seconds(70));
        let due = deadlines.due(1, false, start + seconds(70));
        assert_eq!(due, Some((start + seconds(75), Overdue::Head)));
    }

    #[test]
    fn what_came_with_the_request_before_is_bounded_too() {
        let start = monotonic();
        let mut deadlines = Deadlines::new(TIMEOUTS, start);
        deadlines.received(0, start);
        assert_eq!(deadlines.due(1, true, start + seconds(1)), None);
        let due = deadlines.due(1, false, start + seconds(2));
        assert_eq!(due, Some((start + seconds(36), Overdue::Idle)));
    }

    #[test]
    fn an_answer_that_is_not_taken_is_given_up_and_one_that_is_taken_slowly_later() {
        let start = monotonic();
        let mut deadlines = Deadlines::new(TIMEOUTS, start);
        deadlines.blocked(false, start);
        assert_eq!(deadlines.due(1, false, start), Some((start + seconds(10), Overdue::Send)));
        for second in 1..25 {
            deadlines.blocked(true, start + seconds(second));
        }
        let due = deadlines.due(1, false, start + seconds(24));
        assert_eq!(due, Some((start + seconds(30), Overdue::Send)));
        assert!(deadlines.is_blocked());
        deadlines.written(start + seconds(25));
        let due = deadlines.due(1, false, start + seconds(25));
        assert_eq!(due, Some((start + seconds(60), Overdue::Idle)));
    }
}
