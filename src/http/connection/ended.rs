//! Why a connection ends, or what came on it is no request, as it is counted.

use super::limiter::LimitExceeded;

/// What the client did not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    BodyNotEnded,
    AnswerNotTaken,
    /// It sends more and more requests without taking answers.
    TooFarAhead,
    UnreadHeads,
}

impl Cut {
    const ALL: [Self; 4] =
        [Self::BodyNotEnded, Self::AnswerNotTaken, Self::TooFarAhead, Self::UnreadHeads];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::BodyNotEnded => "body_not_ended",
            Self::AnswerNotTaken => "answer_not_taken",
            Self::TooFarAhead => "too_far_ahead",
            Self::UnreadHeads => "unread_heads",
        }
    }
}

/// All that ends a connection, bounds of connections among it.
pub fn cut_labels() -> impl Iterator<Item = &'static str> {
    Cut::ALL.map(Cut::label).into_iter().chain(LimitExceeded::ALL.map(LimitExceeded::as_str))
}

/// What is refused before it is a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    LimitExceeded,
    TooSlow,
    Malformed,
}

impl Unread {
    pub const ALL: [Self; 3] = [Self::LimitExceeded, Self::TooSlow, Self::Malformed];

    pub const fn label(self) -> &'static str {
        match self {
            Self::LimitExceeded => "limit_exceeded",
            Self::TooSlow => "too_slow",
            Self::Malformed => "malformed",
        }
    }
}
