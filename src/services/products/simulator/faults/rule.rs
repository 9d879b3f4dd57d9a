//! What a fault rule says.
//!
//! Owns: the words for rules and faults. Reading them from JSON is `read`'s. Has no neighbour.

use serde_json::Value;

use super::capacity::Capacity;
use super::variant::Variant;

/// One rule.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// A method's name; `None` for any.
    pub(crate) method: Option<String>,
    /// The application key of the caller; `None` for anybody's.
    pub(crate) app_key: Option<String>,
    /// Share of the calls it concerns, 0 to 1.
    pub(crate) share: f64,
    /// What chance starts from.
    pub(crate) seed: u64,
    /// After so many faults the rule no longer matches.
    pub(crate) times: Option<u64>,
    /// What happens.
    pub(crate) fault: Fault,
    /// Only to as many calls as there is room for; the others fail.
    pub(crate) capacity: Option<Capacity>,
    /// The rule as it was sent.
    pub(crate) sent: Value,
}

impl Rule {
    /// Whether calls of `method` with this application key are its business.
    pub(crate) fn concerns(&self, method: &str, app_key: &str) -> bool {
        self.method.as_deref().is_none_or(|own| own == method)
            && self.app_key.as_deref().is_none_or(|own| own == app_key)
    }
}

/// What happens to a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    /// First nothing for so long; for a slow body the time of each byte.
    pub(crate) ms: u64,
    /// Then this.
    pub(crate) what: What,
    /// For garbage and missing fields.
    pub(crate) seed: u64,
}

/// The kinds of faults.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    /// The ordinary answer, late.
    Delay,
    /// No answer, for as long as the caller waits.
    Hang,
    /// Another HTTP status with a text.
    Status(u16),
    /// The connection is cut without an answer.
    Reset,
    /// Bytes that are no JSON.
    Garbage,
    /// A page for people, with this status; `moved` says that the service is offline for ever.
    Html {
        /// HTTP status.
        status: u16,
        /// Whether the page says "has been offline".
        moved: bool,
    },
    /// Half of the announced body, then the connection ends.
    Truncate,
    /// The ordinary answer, byte by byte.
    SlowBody,
    /// The call limit, in one of its two texts.
    Throttle {
        /// In the words of the older gateway.
        legacy: bool,
        /// How long to wait.
        seconds: u64,
        /// Fields at the root instead of under `error_response`.
        at_root: bool,
    },
    /// A refusal with this code.
    Error {
        /// `code`.
        code: String,
        /// `sub_code`.
        sub_code: Option<String>,
        /// Fields at the root instead of under `error_response`.
        at_root: bool,
    },
    /// A business code instead of a result.
    Business(u64),
    /// The ordinary answer in another shape.
    Variant(Variant),
}
