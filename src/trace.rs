//! The trace of a request, as in W3C Trace Context, level 1 (<https://www.w3.org/TR/trace-context/>).
//!
//! Owns: reading `traceparent` and `tracestate`; the ids of a trace and its spans; which spans are exported;
//! what goes on to an upstream; and the three ids on every log line of a request. Refuses: what is not in
//! the standard's form; then a new trace begins, or the state is left out. Pure: random numbers are
//! arguments. Has no neighbour.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::sync::Arc;

use slog::{KV, Record, Serializer};

/// The header fields of a trace, in lower case.
pub const TRACEPARENT: &str = "traceparent";
pub const TRACESTATE: &str = "tracestate";

/// Length of a `traceparent` of version 00; later versions may add to it.
const LENGTH: usize = 55;
/// A version that never will be.
const NO_VERSION: u128 = 0xff;
/// The one flag of level 1: the caller records the trace.
const SAMPLED: u128 = 1;
/// Bytes and members of a `tracestate` that is passed on.
const LONGEST_STATE: usize = 512;
const MOST_MEMBERS: usize = 32;
/// Bytes of its keys and values.
const LONGEST_KEY: usize = 256;
const LONGEST_TENANT: usize = 241;
const LONGEST_SYSTEM: usize = 14;
const LONGEST_VALUE: usize = 256;

/// 128 bits, 32 hex digits; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(NonZeroU128);

/// 64 bits, 16 hex digits; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(NonZeroU64);

impl TraceId {
    fn new(mut random: impl FnMut() -> u64) -> Self {
        let number = u128::from(random()) << 64 | u128::from(random());
        Self(NonZeroU128::new(number).unwrap_or(NonZeroU128::MIN))
    }
}

impl SpanId {
    #[must_use]
    pub fn new(random: u64) -> Self {
        Self(NonZeroU64::new(random).unwrap_or(NonZeroU64::MIN))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A request's place in its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    pub id: TraceId,
    /// The request's own span.
    pub span: SpanId,
    /// The caller's span; `None`: the trace begins here.
    pub parent: Option<SpanId>,
    /// The flag that goes on: the caller's; of a trace that begins here, whether spans are exported at all.
    pub sampled: bool,
    /// What other systems keep with the trace, as it came.
    pub state: Option<Arc<str>>,
}

impl Trace {
    /// The trace of a request with these lines of `traceparent` and `tracestate`. Without any it has the
    /// request's id, if that can be one. `exports` says whether there is a collector.
    pub fn begin<'a>(
        mut parents: impl Iterator<Item = &'a [u8]>,
        states: impl Iterator<Item = &'a [u8]>,
        request_id: &str,
        exports: bool,
        mut random: impl FnMut() -> u64,
    ) -> Self {
        let (first, second) = (parents.next(), parents.next());
        let parent = first.filter(|_| second.is_none()).and_then(parent_in);
        let span = SpanId::new(random());
        if let Some((id, parent, sampled)) = parent {
            return Self { id, span, parent: Some(parent), sampled, state: state_in(states) };
        }
        let own = id_in(request_id).filter(|_| first.is_none());
        let id = own.unwrap_or_else(|| TraceId::new(random));
        Self { id, span, parent: None, sampled: exports, state: None }
    }

    /// A trace of what no request asked for; nothing of it is exported.
    pub fn alone(mut random: impl FnMut() -> u64) -> Self {
        let span = SpanId::new(random());
        Self { id: TraceId::new(random), span, parent: None, sampled: false, state: None }
    }

    /// Whether its spans are exported: as the caller decided, else those of requests that are `kept` to be
    /// explained (a parent-based sampler).
    #[must_use]
    pub const fn is_exported(&self, kept: bool) -> bool {
        self.sampled && (kept || self.parent.is_some())
    }

    /// The fields that tell an upstream of it, which is called in this span of the trace.
    pub fn fields(&self, span: SpanId) -> impl Iterator<Item = (&'static str, String)> {
        let parent = format!("00-{}-{span}-{:02x}", self.id, u8::from(self.sampled));
        let state = self.state.as_deref().map(|state| (TRACESTATE, state.to_owned()));
        std::iter::once((TRACEPARENT, parent)).chain(state)
    }

    /// For the log lines of what happens in one of its spans.
    #[must_use]
    pub fn ids(&self, request_id: &Arc<str>, span: SpanId) -> Ids {
        Ids { request_id: Arc::clone(request_id), trace: self.id, span }
    }
}

/// Whose a log line is: every line of a request has all three.
#[derive(Debug, Clone)]
pub struct Ids {
    request_id: Arc<str>,
    trace: TraceId,
    span: SpanId,
}

impl KV for Ids {
    // Backwards, as slog writes what stands in a line.
    fn serialize(&self, _: &Record<'_>, to: &mut dyn Serializer) -> slog::Result {
        to.emit_arguments("span_id", &format_args!("{}", self.span))?;
        to.emit_arguments("trace_id", &format_args!("{}", self.trace))?;
        to.emit_str("request_id", &self.request_id)
    }
}

/// So many hex digits, in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let fits = text.len() == digits && text.bytes().all(is_digit);
    fits.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

fn id_in(text: &str) -> Option<TraceId> {
    NonZeroU128::new(hex(text, 32)?).map(TraceId)
}

/// What a line of `traceparent` says (section 3.2): the trace, the caller's span, and whether it is sampled.
fn parent_in(line: &[u8]) -> Option<(TraceId, SpanId, bool)> {
    let text = std::str::from_utf8(line).ok()?.trim_matches(OWS);
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let mut parts = known.split('-');
    let version = hex(parts.next()?, 2).filter(|version| *version != NO_VERSION)?;
    let id = id_in(parts.next()?)?;
    let span = u64::try_from(hex(parts.next()?, 16)?).ok().and_then(NonZeroU64::new)?;
    let flags = hex(parts.next()?, 2)?;
    let is_longer = version > 0 && rest.starts_with('-');
    (rest.is_empty() || is_longer).then_some((id, SpanId(span), flags & SAMPLED == SAMPLED))
}

const OWS: [char; 2] = [' ', '\t'];

/// The members of all lines of `tracestate` (section 3.3) in one, if all are good and not too many.
fn state_in<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Arc<str>> {
    let (mut state, mut members) = (String::new(), 0_usize);
    for line in lines {
        for member in std::str::from_utf8(line).ok()?.split(',') {
            let member = member.trim_matches(OWS);
            if member.is_empty() {
                continue;
            }
            members = members.saturating_add(1);
            if members > MOST_MEMBERS || !is_member(member) {
                return None;
            }
            if !state.is_empty() {
                state.push(',');
            }
            state.push_str(member);
            if state.len() > LONGEST_STATE {
                return None;
            }
        }
    }
    (!state.is_empty()).then(|| state.into())
}

fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let in_value = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'=';
    let is_value = (1..=LONGEST_VALUE).contains(&value.len()) && value.bytes().all(in_value);
    is_value
        && match key.split_once('@') {
            None => is_key(key, LONGEST_KEY, false),
            Some((tenant, system)) => {
                is_key(tenant, LONGEST_TENANT, true) && is_key(system, LONGEST_SYSTEM, false)
            }
        }
}

/// A key, or a part of one; only a tenant may begin with a digit.
fn is_key(text: &str, longest: usize, is_tenant: bool) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit();
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || is_digit(byte) || matches!(byte, b'_' | b'-' | b'*' | b'/')
    };
    let begins = |first: u8| first.is_ascii_lowercase() || is_tenant && is_digit(first);
    text.len() <= longest && text.bytes().next().is_some_and(begins) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn begin(parents: &[&str], states: &[&str], request_id: &str, exports: bool) -> Trace {
        let mut next = 0;
        let random = || {
            next += 1;
            next
        };
        let lines =
            |of: &[&str]| -> Vec<Vec<u8>> { of.iter().map(|line| (*line).into()).collect() };
        let (parents, states) = (lines(parents), lines(states));
        let (parents, states) =
            (parents.iter().map(Vec::as_slice), states.iter().map(Vec::as_slice));
        Trace::begin(parents, states, request_id, exports, random)
    }

    #[test]
    fn the_parent_s_trace_and_flag_are_taken_over() {
        for (parent, sampled) in [
            (PARENT.to_owned(), true),
            (PARENT.replace("-01", "-00"), false),
            // Other flags are of later levels.
            (PARENT.replace("-01", "-03"), true),
            (PARENT.replace("-01", "-fe"), false),
            (format!(" {PARENT}\t"), true),
            // A later version may say more.
            (PARENT.replacen("00", "cc", 1), true),
            (format!("{}-what-the-future-will-be-like", PARENT.replacen("00", "cc", 1)), true),
            (format!("{}-", PARENT.replacen("00", "01", 1)), true),
        ] {
            let trace = begin(&[&parent], &[], "other", false);
            assert_eq!(trace.id.to_string(), ID, "{parent}");
            assert_eq!(trace.parent.unwrap().to_string(), "00f067aa0ba902b7", "{parent}");
            assert_eq!((trace.sampled, trace.span), (sampled, SpanId::new(1)), "{parent}");
        }
    }

    #[test]
    fn what_is_no_parent_begins_a_new_trace() {
        let zero_trace = PARENT.replace(ID, &"0".repeat(32));
        for bad in [
            "",
            "-",
            &PARENT[..54],
            &PARENT[1..],
            &format!("{PARENT}-"),
            &format!("{PARENT}-what-the-future-will-be-like"),
            &format!("{}.what", PARENT.replacen("00", "cc", 1)),
            &PARENT.replacen("00", "ff", 1),
            &PARENT.replacen("00", "0X", 1),
            &PARENT.to_uppercase(),
            &PARENT.replace("4bf9", "4BF9"),
            &PARENT.replace("4bf9", "4bg9"),
            &zero_trace,
            &PARENT.replace("00f067aa0ba902b7", "0000000000000000"),
            &PARENT.replace("00f067aa0ba902b7", "00f067aa0ba902B7"),
            &PARENT.replace("-01", "-0x"),
            &PARENT.replace("-01", "-1"),
            &PARENT.replace('-', "_"),
            &PARENT.replace("ba902b7-01", "ba902ä-01"),
        ] {
            let trace = begin(&[bad], &["a=1"], ID, false);
            assert_ne!(trace.id.to_string(), ID, "{bad:?}");
            assert_eq!((trace.parent, trace.state), (None, None), "{bad:?}");
        }
        let twice = begin(&[PARENT, PARENT], &["a=1"], ID, false);
        assert!(twice.parent.is_none() && twice.id.to_string() != ID, "nobody knows which");
        let not_text =
            Trace::begin([b"\xff".as_slice()].into_iter(), [].into_iter(), ID, false, || 7);
        assert_eq!(not_text.parent, None);
    }

    #[test]
    fn without_a_parent_the_request_s_id_is_the_trace_if_it_can_be_one() {
        assert_eq!(begin(&[], &[], ID, false).id.to_string(), ID);
        for other in ["abc-123", "", &ID.to_uppercase(), &"0".repeat(32), &ID[..31]] {
            let id = begin(&[], &[], other, false).id.to_string();
            assert_eq!(id, "00000000000000020000000000000003", "{other:?}");
        }
        let zero = Trace::alone(|| 0);
        assert_eq!((zero.id, zero.span), (TraceId(NonZeroU128::MIN), SpanId::new(0)));
    }

    #[test]
    fn a_good_state_is_passed_on_and_a_bad_one_is_left_out() {
        let state = |lines: &[&str]| begin(&[PARENT], lines, "", false).state;
        let value = "v".repeat(256);
        let long = format!("a={value}");
        for (lines, kept) in [
            (
                vec!["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"],
                "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
            ),
            (vec!["foo=1", "bar=2"], "foo=1,bar=2"),
            (vec!["foo=1 \t , \t bar=2, ", ",baz=3"], "foo=1,bar=2,baz=3"),
            (vec!["0tenant@system=1"], "0tenant@system=1"),
            (vec!["a_-*/0=x y", "b= z"], "a_-*/0=x y,b= z"),
            (vec![long.as_str()], long.as_str()),
        ] {
            assert_eq!(state(&lines).as_deref(), Some(kept), "{lines:?}");
        }
        let many = vec!["a=1"; 33].join(",");
        let (two, key) = (format!("{long},b{long}"), "k".repeat(257));
        for bad in [
            "foo",
            "foo=",
            "=1",
            "foo@=1",
            "@foo=1",
            "foo@bar@baz=1",
            "Foo=1",
            "foo =1",
            "0foo=1",
            "foo@0bar=1",
            "foo=1=2",
            "foo=\u{7f}",
            "foo=ä",
            "foo.bar=1",
            "foo=1,bar",
            &many,
            &two,
            &format!("a={value}v"),
            &format!("{key}=1"),
            "a@fifteen-letters=1",
        ] {
            let trace = begin(&[PARENT], &[bad], "", false);
            assert_eq!((trace.state, trace.parent.is_some()), (None, true), "{bad}");
        }
        for empty in ["", ",", " , "] {
            assert_eq!(state(&[empty]), None);
        }
    }

    #[test]
    fn the_caller_decides_what_is_exported_and_without_one_what_is_kept() {
        let unsampled = PARENT.replace("-01", "-00");
        for (parents, exports, kept, wanted) in [
            (vec![PARENT], true, false, true),
            (vec![PARENT], true, true, true),
            (vec![unsampled.as_str()], true, true, false),
            (vec![], true, true, true),
            (vec![], true, false, false),
            (vec![], false, true, false),
        ] {
            let trace = begin(&parents, &[], "", exports);
            assert_eq!(trace.is_exported(kept), wanted, "{parents:?} {exports} {kept}");
        }
        assert!(!Trace::alone(|| 1).is_exported(true));
    }

    #[test]
    fn an_upstream_is_told_of_the_span_that_calls_it() {
        let fields = |trace: &Trace| trace.fields(SpanId::new(0xb)).collect::<Vec<_>>();
        let trace = begin(&[PARENT], &["a=1", "b=2"], "", false);
        let parent = format!("00-{ID}-000000000000000b-01");
        assert_eq!(fields(&trace), [(TRACEPARENT, parent), (TRACESTATE, "a=1,b=2".to_owned())]);
        let parent = format!("00-{ID}-000000000000000b-00");
        assert_eq!(fields(&begin(&[], &["a=1"], ID, false)), [(TRACEPARENT, parent)]);
    }
}
