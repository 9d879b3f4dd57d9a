//! What a call said about the health of what is guarded.
//!
//! Owns: the four words. Refuses: to guess; whoever made the call knows which one it is.

/// The verdict of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It answered, in good time.
    Well,
    /// It answered, but so late that many such answers are an illness. Neither adds to the failures
    /// in a row nor ends the row; as a probe it fails.
    Slow,
    /// It failed.
    Ill,
    /// It says nothing: a throttle, a fault of ours, a call we cut short ourselves.
    Silent,
}

/// For those who do not judge by time: well, ill, or nothing.
impl From<Option<bool>> for Verdict {
    fn from(healthy: Option<bool>) -> Self {
        match healthy {
            Some(true) => Self::Well,
            Some(false) => Self::Ill,
            None => Self::Silent,
        }
    }
}
