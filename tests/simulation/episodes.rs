//! What goes wrong in the course of a day, and when.
//!
//! Owns: the timetable. Times are the upstream's own, whose quota begins anew at its midnight.

use std::time::Duration;

/// What is wrong with the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// An account is allowed a tenth of what it is otherwise.
    Throttles,
    /// Everything is answered by 503, at once.
    Outage,
    /// Connects and never answers.
    Hang,
    /// It has a fifth of its capacity; what is beyond is answered by 503 after the usual time.
    Weak,
    /// Everything takes ten times as long.
    Slow,
    /// Three of ten answers are errors, web pages of a proxy, or cut.
    Flaky,
    /// Somebody changed the application's key.
    WrongKey,
}

impl Trouble {
    /// Whether no call can succeed: each that is made is in vain.
    pub(crate) const fn is_down(self) -> bool {
        matches!(self, Self::Outage | Self::Hang | Self::WrongKey)
    }
}

/// A trouble with its time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Episode {
    /// For the table.
    pub(crate) name: &'static str,
    /// What is wrong.
    pub(crate) trouble: Trouble,
    /// From when on.
    pub(crate) begins: Duration,
    /// How long.
    pub(crate) lasts: Duration,
    /// The one account that has it; `None`: all.
    pub(crate) account: Option<&'static str>,
}

impl Episode {
    pub(crate) const fn new(
        name: &'static str,
        trouble: Trouble,
        (hour, minute): (u64, u64),
        minutes: u64,
    ) -> Self {
        let begins = Duration::from_secs((hour * 60 + minute) * 60);
        Self { name, trouble, begins, lasts: Duration::from_secs(minutes * 60), account: None }
    }

    /// The first moment at which all is well again.
    pub(crate) fn ends(&self) -> Duration {
        self.begins + self.lasts
    }

    /// Whether it is going on.
    pub(crate) fn is_at(&self, at: Duration) -> bool {
        (self.begins..self.ends()).contains(&at)
    }
}

/// The day that is told in the table.
pub(crate) const DAY: [Episode; 7] = [
    Episode::new("throttles more", Trouble::Throttles, (10, 30), 10),
    Episode::new("hangs", Trouble::Hang, (11, 45), 5),
    Episode::new("weak, and many ask", Trouble::Weak, (12, 30), 5),
    Episode::new("down", Trouble::Outage, (13, 30), 20),
    Episode::new("ten times slower", Trouble::Slow, (14, 45), 10),
    Episode::new("key refused", Trouble::WrongKey, (15, 30), 15),
    Episode::new("three in ten fail", Trouble::Flaky, (17, 0), 15),
];
