//! Calling anything: what to send, when, how often, and what an answer means.
//!
//! Owns: the words of a call ([`Origin`], [`Request`], [`Answer`], [`Outcome`]), credentials with
//! their pace, budget, breaker and health, the concurrency limit, retries and `ApiClientActor`. Knows
//! no particular upstream: a service implements [`Origin`] for the one it calls, and `transport`
//! carries requests. When the upstream is down, callers get a typed failure at once; what to serve
//! instead is theirs to decide.

pub mod actor;
pub mod attempt;
pub mod call;
pub mod concurrency;
pub mod course;
pub mod credentials;
pub mod dns_cache;
mod evidence;
pub mod health;
pub mod pacing;
mod refusal;
pub mod settings;
pub mod start;
pub mod state;
pub mod transport;

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::clock::Timestamp;
pub use crate::resilience::Priority;
pub use actor::OriginClient;
pub use call::Call;
pub use start::Identity;

/// The language of one upstream, spoken with one credential: how a question becomes a request, and
/// what the answer means. There is one of these for each credential.
pub trait Origin: Send + Sync + 'static {
    type Question: fmt::Debug + Clone + Hash + Send + Sync + 'static;
    type Payload: fmt::Debug + Send + 'static;

    /// Where its day begins, for daily budgets: added to UTC before cutting into days.
    const QUOTA_DAY_OFFSET: Duration = Duration::ZERO;

    /// The label of what is asked, for metrics, logs and the health of a credential.
    fn operation(question: &Self::Question) -> &'static str;

    /// The request as of `now`, made anew for every attempt.
    fn request(&self, question: &Self::Question, now: Timestamp) -> Request;

    /// Says what an answer means. Never panics, whatever the bytes are.
    fn interpret(&self, question: &Self::Question, answer: &Answer) -> Outcome<Self::Payload>;

    /// The question to ask before `outcome` is believed; `None`: it can be believed as it is.
    fn doubt(
        &self,
        _question: &Self::Question,
        _outcome: &Outcome<Self::Payload>,
    ) -> Option<Self::Question> {
        None
    }

    /// What a doubted `outcome` means, now that the `check` was answered with `found`.
    fn resolve(
        &self,
        _check: &Self::Question,
        outcome: Outcome<Self::Payload>,
        _found: &Outcome<Self::Payload>,
    ) -> Outcome<Self::Payload> {
        outcome
    }

    /// Whether its requests carry the trace that they belong to (`traceparent` and `tracestate`): only an
    /// upstream that is the shop's own may learn of it.
    fn is_traced(&self) -> bool {
        false
    }

    /// What an operator has to do about a fault of the configuration, naming the setting.
    fn advice(&self, fault: Misconfiguration) -> String {
        format!("check the {} of the upstream", fault.name)
    }
}

/// A client without a key, for whom calls are made: it gets a share of the day's budget, and nothing of
/// what is kept for keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payer {
    pub client: Arc<str>,
    /// For how many calls one counts in its share.
    pub weight: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

impl Request {
    pub const fn get(url: String) -> Self {
        Self { method: Method::GET, url, headers: Vec::new(), body: Bytes::new() }
    }
}

/// One answer: the whole of it, its body bounded in size.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, Bytes)>,
    pub body: Bytes,
    pub sent_at: Timestamp,
    pub received_at: Timestamp,
}

impl Answer {
    /// An answer that was sent and received at no particular time.
    pub fn new(status: u16, headers: Vec<(String, Bytes)>, body: Bytes) -> Self {
        let unset = Timestamp::default();
        Self { status, headers, body, sent_at: unset, received_at: unset }
    }

    /// The first field of this name, given in lower case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let field = self.headers.iter().find(|(known, _)| known == name);
        field.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// The upstream's clock, from the `Date` field. Only the one format that RFC 9110 (section
    /// 5.6.7) asks senders for is read.
    pub fn date(&self) -> Option<Timestamp> {
        date(self.header("date")?)
    }

    /// How long the `Retry-After` field asks to wait: seconds, or until a date of the upstream's clock.
    pub fn retry_after(&self) -> Option<Duration> {
        let told = self.header("retry-after")?.trim();
        let wait = if told.bytes().all(|byte| byte.is_ascii_digit()) && !told.is_empty() {
            Duration::from_secs(told.parse().unwrap_or(u64::MAX))
        } else {
            date(told)?.since(self.date().unwrap_or(self.received_at))
        };
        Some(wait.clamp(SHORTEST_TOLD, LONGEST_TOLD))
    }
}

fn date(text: &str) -> Option<Timestamp> {
    let date = OffsetDateTime::parse(text.trim(), &Rfc2822).ok()?;
    let millis = i64::try_from(date.unix_timestamp_nanos() / 1_000_000).ok()?;
    Some(Timestamp::from_millis(millis))
}

/// Bounds of a wait that a status tells: it may come from any proxy on the way, so it is believed for an
/// hour at most; to call again at once would be no wait.
const SHORTEST_TOLD: Duration = Duration::from_secs(1);
const LONGEST_TOLD: Duration = Duration::from_secs(3_600);

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (status, bytes) = (self.status, self.body.len());
        f.debug_struct("Answer").field("status", &status).field("bytes", &bytes).finish()
    }
}

#[cfg(test)]
mod http_tests {
    use super::*;

    fn dated(value: &'static str) -> Option<Timestamp> {
        let date = ("date".to_owned(), Bytes::from_static(value.as_bytes()));
        Answer::new(200, vec![date], Bytes::new()).date()
    }

    #[test]
    fn the_standards_own_example_is_read() {
        let date = Timestamp::from_millis(784_111_777_000);
        assert_eq!(dated("Sun, 06 Nov 1994 08:49:37 GMT"), Some(date));
    }

    #[test]
    fn anything_else_is_no_date() {
        for bad in [
            "",
            "yesterday",
            "Sun, 06 Nov 1994",
            "1994-11-06T08:49:37Z",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(dated(bad), None, "{bad}");
        }
    }

    #[test]
    fn fields_are_found_by_name_and_read_as_text() {
        let field = |name: &str, value: &'static [u8]| (name.to_owned(), Bytes::from_static(value));
        let fields = vec![field("a", b"1"), field("a", b"2"), field("b", b"\xff")];
        let answer = Answer::new(200, fields, Bytes::new());
        assert_eq!(
            [answer.header("a"), answer.header("b"), answer.header("c")],
            [Some("1"), None, None]
        );
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<T> {
    Ok(T),
    /// A well-formed answer that says: there is nothing. A result, not a failure.
    Empty,
    /// The upstream asked us to wait. Says nothing about its health.
    Throttled {
        wait: Option<Duration>,
        reason: String,
    },
    /// It may work when tried again. Counts against the upstream's health.
    Transient {
        reason: String,
    },
    Permanent {
        blame: Blame,
        /// What the upstream said, for the log and, by blame, for the operator.
        reason: String,
    },
    /// The answer could not be understood. Counts against the upstream's health.
    BadResponse {
        reason: String,
    },
}

/// Who has to act after a permanent failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The operator: the upstream does not accept this part of the configuration.
    Configuration(Misconfiguration),
    Caller,
    /// Nobody knows. It counts against nobody, so that no parameter opens the breaker; when several
    /// different questions are refused so and none is answered, the health of the credential says so.
    Unknown,
}

/// What of the operator's configuration an upstream does not accept. Each upstream has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Misconfiguration {
    /// The word for it in answers and logs, for example `secret`.
    pub name: &'static str,
    /// Whether it is about one operation and says nothing of the others.
    pub of_operation: bool,
}

impl Misconfiguration {
    /// A fault that holds every operation of the credential.
    pub const fn of_credential(name: &'static str) -> Self {
        Self { name, of_operation: false }
    }

    /// A fault that holds one operation.
    pub const fn of_operation(name: &'static str) -> Self {
        Self { name, of_operation: true }
    }
}

impl Outcome<()> {
    const EACH: [Self; 6] = [
        Self::Ok(()),
        Self::Empty,
        Self::Throttled { wait: None, reason: String::new() },
        Self::Transient { reason: String::new() },
        Self::Permanent { blame: Blame::Unknown, reason: String::new() },
        Self::BadResponse { reason: String::new() },
    ];

    /// The words of all outcomes.
    pub fn labels() -> impl Iterator<Item = &'static str> {
        Self::EACH.into_iter().map(|outcome| outcome.label())
    }
}

impl<T> Outcome<T> {
    /// The same with what `make` makes of the content.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Ok(content) => Outcome::Ok(make(content)),
            Self::Empty => Outcome::Empty,
            Self::Throttled { wait, reason } => Outcome::Throttled { wait, reason },
            Self::Transient { reason } => Outcome::Transient { reason },
            Self::Permanent { blame, reason } => Outcome::Permanent { blame, reason },
            Self::BadResponse { reason } => Outcome::BadResponse { reason },
        }
    }

    pub const fn label(&self) -> &'static str {
        match self {
            Self::Ok(_) => "ok",
            Self::Empty => "empty",
            Self::Throttled { .. } => "throttled",
            Self::Transient { .. } => "transient",
            Self::Permanent { .. } => "permanent",
            Self::BadResponse { .. } => "bad_response",
        }
    }

    /// What an operator has to put right before this can work, if that is what it takes.
    pub const fn misconfiguration(&self) -> Option<Misconfiguration> {
        match self {
            Self::Permanent { blame: Blame::Configuration(what), .. } => Some(*what),
            Self::Permanent { blame: Blame::Caller | Blame::Unknown, .. }
            | Self::Ok(_)
            | Self::Empty
            | Self::Throttled { .. }
            | Self::Transient { .. }
            | Self::BadResponse { .. } => None,
        }
    }
}
