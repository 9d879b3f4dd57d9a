//! What a service hands back: the data of an answer, and where it came from; and the body that is sent.
//!
//! Owns: the shapes between a service and the envelope. Data that lies in the cache is shared with its
//! entry and never copied. Has no neighbour that could be down.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use bytes::{Bytes, BytesMut};

use crate::cache::{Answer, Entry, Forward, Tier, digest};
use crate::failure::FailureKind;

/// In `degraded`: the answer is past its fresh time.
pub const DEGRADED_STALE: &str = "stale";

/// The `data` of an answer, ready to be written.
#[derive(Debug, Clone)]
pub struct Served {
    pub body: Body,
    /// What is compared in place of the data where that tells how it came about, too.
    pub same_as: Option<Bytes>,
    /// `None` when the cache was not asked.
    pub source: Option<Source>,
    /// What is missing or second best.
    pub degraded: Vec<&'static str>,
    /// It says that there is nothing.
    pub empty: bool,
    /// It, or a part of it, was made without cache and upstream because both failed.
    pub last_resort: bool,
}

impl Served {
    #[must_use]
    pub fn kept(answer: &Answer) -> Self {
        let degraded = if answer.stale { vec![DEGRADED_STALE] } else { Vec::new() };
        Self {
            body: Body::Kept(Arc::clone(&answer.entry)),
            same_as: None,
            source: Some(Source::of(answer)),
            degraded,
            empty: answer.entry.negative,
            last_resort: false,
        }
    }

    /// An answer that did not pass the cache.
    #[must_use]
    pub const fn live(body: Bytes, empty: bool) -> Self {
        let body = Body::Own(body);
        let degraded = Vec::new();
        Self { body, same_as: None, source: None, degraded, empty, last_resort: false }
    }
}

/// An answer whose data stays the same for a while.
#[derive(Debug)]
pub struct Lasting {
    pub seconds: u64,
    /// The data, or something that changes whenever it does.
    pub data: Body,
}

impl Lasting {
    /// What a client may keep: data of the cache that nothing is missing from.
    #[must_use]
    pub fn of(served: Served) -> Option<Self> {
        let is_whole =
            !served.last_resort && served.degraded.iter().all(|word| *word == DEGRADED_STALE);
        let source = served.source.filter(|_| is_whole)?;
        let seconds = source.ttl_seconds.try_into().unwrap_or(0);
        Some(Self { seconds, data: served.same_as.map_or(served.body, Body::Own) })
    }

    /// The same for the same data.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.data.digest()
    }
}

#[derive(Debug, Clone)]
pub enum Body {
    Own(Bytes),
    /// That of an entry, which other answers share.
    Kept(Arc<Entry>),
}

impl Body {
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Own(bytes) => bytes,
            Self::Kept(entry) => &entry.representation.body,
        }
    }

    #[must_use]
    pub fn digest(&self) -> u64 {
        match self {
            Self::Own(bytes) => digest(bytes),
            Self::Kept(entry) => entry.digest(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// [`Tier::Upstream`] for what was loaded for this answer.
    pub tier: Tier,
    pub forward: Forward,
    pub stale: bool,
    /// Loaded for another caller too.
    pub collapsed: bool,
    /// The caller waited for a load, whatever came of that.
    pub waited: bool,
    /// Time since it was loaded.
    pub age: Duration,
    /// Fresh time left, in seconds; negative for how long it has been stale.
    pub ttl_seconds: i64,
    /// Of a stale answer: why it is not renewed just now, as far as that is known.
    pub held: Option<FailureKind>,
}

impl Source {
    /// The cache was asked and nothing had the answer.
    pub const MISSED: Self = Self {
        forward: Forward::Miss,
        tier: Tier::Upstream,
        stale: false,
        collapsed: false,
        waited: true,
        age: Duration::ZERO,
        ttl_seconds: 0,
        held: None,
    };

    #[must_use]
    pub fn of(answer: &Answer) -> Self {
        Self {
            tier: answer.tier,
            forward: answer.forward,
            stale: answer.stale,
            collapsed: answer.collapsed,
            waited: answer.waited,
            age: answer.age(),
            ttl_seconds: answer.ttl_seconds(),
            held: answer.held,
        }
    }

    /// The source of an answer made of several: as old as its oldest part, loaded if any part was.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let rank = |tier| match tier {
            Tier::Memory => 0,
            Tier::Redis => 1,
            Tier::Database => 2,
            Tier::Upstream => 3,
        };
        let farther = if rank(self.tier) >= rank(other.tier) { self } else { other };
        Self {
            tier: farther.tier,
            forward: farther.forward,
            stale: self.stale || other.stale,
            collapsed: self.collapsed || other.collapsed,
            waited: self.waited || other.waited,
            age: self.age.max(other.age),
            ttl_seconds: self.ttl_seconds.min(other.ttl_seconds),
            held: self.held.or(other.held),
        }
    }
}

/// What the server (actix-http) gathers before it writes.
const SERVER_BUFFER: usize = 32_768;

/// A body of parts that are sent in order; empty ones are skipped. The envelope stands before and after
/// data that is in memory already: to copy the data into a new buffer cost more than all the rest of a
/// hit.
#[derive(Debug)]
pub struct Parts {
    parts: [Bytes; 3],
    next: usize,
}

impl Parts {
    #[must_use]
    pub const fn new(before: Bytes, data: Bytes, after: Bytes) -> Self {
        Self { parts: [before, data, after], next: 0 }
    }

    fn left(&self) -> &[Bytes] {
        self.parts.get(self.next..).unwrap_or_default()
    }

    fn bytes(&self) -> usize {
        self.left().iter().map(Bytes::len).sum()
    }
}

impl MessageBody for Parts {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(u64::try_from(self.bytes()).unwrap_or(u64::MAX))
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = &mut *self;
        while let Some(part) = this.parts.get_mut(this.next).map(std::mem::take) {
            this.next += 1;
            if !part.is_empty() {
                return Poll::Ready(Some(Ok(part)));
            }
        }
        Poll::Ready(None)
    }

    /// Boxing asks for this. A body that fits the server's buffer is copied there part by part, and
    /// to be put together would be a second copy; a larger one would need a second write for what
    /// stands after the data, which costs more.
    fn try_into_bytes(self) -> Result<Bytes, Self> {
        let bytes = self.bytes();
        if bytes < SERVER_BUFFER {
            return Err(self);
        }
        let mut whole = BytesMut::with_capacity(bytes);
        for part in self.left() {
            whole.extend_from_slice(part);
        }
        Ok(whole.freeze())
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;

    fn parts(before: &'static str, data: &'static str, after: &'static str) -> Parts {
        Parts::new(before.into(), data.into(), after.into())
    }

    #[actix_web::test]
    async fn parts_come_in_order_and_size_is_told() {
        assert_eq!(parts("ab", "", "cde").size(), BodySize::Sized(5));
        assert_eq!(to_bytes(parts("ab", "", "cde")).await.unwrap(), "abcde");
        assert_eq!(to_bytes(parts("", "", "")).await.unwrap(), "");
    }

    #[test]
    fn only_what_would_need_two_writes_is_put_together() {
        assert!(parts("{", "1", "}").try_into_bytes().is_err());
        let large = Bytes::from(vec![b'1'; SERVER_BUFFER]);
        let whole = Parts::new("{".into(), large, "}".into()).try_into_bytes().unwrap();
        assert_eq!((whole.len(), &whole[..2]), (SERVER_BUFFER + 2, &b"{1"[..]));
    }

    #[test]
    fn a_joined_source_is_the_worst_of_its_parts() {
        let part = |tier, age, ttl, stale| Source {
            tier,
            stale,
            waited: stale,
            age: Duration::from_secs(age),
            ttl_seconds: ttl,
            ..Source::MISSED
        };
        let joined = part(Tier::Memory, 9, 5, true).join(part(Tier::Database, 3, 50, false));
        assert_eq!(joined, part(Tier::Database, 9, 5, true));
    }
}
