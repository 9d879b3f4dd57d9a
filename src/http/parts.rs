//! A body of a few parts, sent one after the other without being put together first.
//!
//! Owns: sharing stored bytes with an answer. The envelope stands before and after data that is
//! in memory already; copying the data into a new buffer cost more than all the rest of a hit.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use bytes::{Bytes, BytesMut};

/// What the server (actix-http) gathers before it writes.
const SERVER_BUFFER: usize = 32_768;

/// Parts that are sent in order; empty ones are skipped.
#[derive(Debug)]
pub struct Parts {
    parts: [Bytes; 3],
    next: usize,
}

impl Parts {
    /// A body of these three.
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
        while let Some(part) = self.left().first().cloned() {
            self.next += 1;
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
    use super::*;
    use actix_web::body::to_bytes;

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
}
