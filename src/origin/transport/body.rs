//! Bodies, bounded one by one and all together.
//!
//! Owns: how much of bodies is in memory. Refuses: a body beyond the limit, as soon as that is
//! announced or has come. A large body needs one of a few permits, which it keeps until the last
//! holder of the body drops it; without one it is not read on, and the sender waits until the call's
//! time is over.

use std::pin::pin;
use std::sync::Arc;

use awc::error::PayloadError;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::TransportFault;

/// Bytes of a body beyond which it is large: more than a usual answer.
const LARGE: usize = 256 << 10;
/// Large bodies in memory at once.
const LARGE_AT_ONCE: usize = 4;

/// The bounds, shared by all requests of a client.
#[derive(Debug)]
pub(super) struct Bodies {
    limit: usize,
    permits: Arc<Semaphore>,
}

/// A large body and its permit.
struct Permitted {
    body: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Permitted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Bodies {
    /// None larger than `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, permits: Arc::new(Semaphore::new(LARGE_AT_ONCE)) }
    }

    /// Reads a body to its end; `announced` is its length if that was sent before.
    pub(super) async fn read(
        &self,
        announced: Option<usize>,
        chunks: impl Stream<Item = Result<Bytes, PayloadError>>,
    ) -> Result<Bytes, TransportFault> {
        if announced.is_some_and(|announced| announced > self.limit) {
            return Err(TransportFault::TooLarge(self.limit));
        }
        let mut chunks = pin!(chunks);
        let mut body = BytesMut::with_capacity(announced.unwrap_or_default().min(LARGE));
        let mut permit = None;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| TransportFault::Broken(error.to_string()))?;
            let length = body.len().saturating_add(chunk.len());
            if length > self.limit {
                return Err(TransportFault::TooLarge(self.limit));
            }
            if length > LARGE && permit.is_none() {
                permit = Some(self.permit().await?);
                // At once to its full size: growing step by step needs thrice as much for a while.
                body.reserve(announced.unwrap_or(self.limit).saturating_sub(body.len()));
            }
            body.extend_from_slice(&chunk);
        }
        // awc takes the end of the connection for the end of the body.
        if announced.is_some_and(|announced| body.len() < announced) {
            let cut = format!("body ended after {} bytes", body.len());
            return Err(TransportFault::Broken(cut));
        }
        let body = body.freeze();
        Ok(match permit {
            Some(permit) => Bytes::from_owner(Permitted { body, _permit: permit }),
            None => body,
        })
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, TransportFault> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        permit.map_err(|closed| TransportFault::Broken(closed.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::stream::{self, iter, repeat_with};

    use super::*;

    const LIMIT: usize = 2 * LARGE;

    fn chunks(count: usize, length: usize) -> impl Stream<Item = Result<Bytes, PayloadError>> {
        iter((0..count).map(move |_| Ok(Bytes::from(vec![b'x'; length]))))
    }

    fn read(
        bodies: &Bodies,
        announced: Option<usize>,
        chunks: impl Stream<Item = Result<Bytes, PayloadError>>,
    ) -> Option<Result<Bytes, TransportFault>> {
        bodies.read(announced, chunks).now_or_never()
    }

    #[test]
    fn a_body_may_reach_the_limit_and_no_more() {
        let bodies = Bodies::new(LIMIT);
        let whole = read(&bodies, Some(LIMIT), chunks(2, LARGE)).unwrap().unwrap();
        assert_eq!(whole.len(), LIMIT);
        let too_large = Some(Err(TransportFault::TooLarge(LIMIT)));
        let more = chunks(2, LARGE).chain(chunks(1, 1));
        assert_eq!(read(&bodies, None, more), too_large);
        let unread = stream::poll_fn(|_| unreachable!("what is announced too large is not read"));
        assert_eq!(read(&bodies, Some(LIMIT + 1), unread), too_large);
        let for_ever = repeat_with(|| Ok(Bytes::from_static(b"without end")));
        assert_eq!(read(&bodies, None, for_ever), too_large);
    }

    #[test]
    fn a_body_that_breaks_or_ends_early_is_none() {
        let bodies = Bodies::new(LIMIT);
        let early = read(&bodies, Some(10), chunks(3, 3)).unwrap();
        assert_eq!(early, Err(TransportFault::Broken("body ended after 9 bytes".to_owned())));
        let broken = iter([Ok(Bytes::from_static(b"{")), Err(PayloadError::Incomplete(None))]);
        assert!(matches!(read(&bodies, None, broken), Some(Err(TransportFault::Broken(_)))));
        assert_eq!(read(&bodies, None, chunks(0, 0)), Some(Ok(Bytes::new())));
    }

    #[test]
    fn a_large_body_keeps_its_permit_as_long_as_anybody_has_it() {
        let bodies = Bodies::new(LIMIT);
        let large = || read(&bodies, None, chunks(2, LARGE));
        let mut held: Vec<_> = (0..LARGE_AT_ONCE).map(|_| large().unwrap().unwrap()).collect();
        assert_eq!(large(), None, "it waits");
        assert!(read(&bodies, None, chunks(1, LARGE)).is_some(), "others do not");
        let part = held.pop().unwrap().slice(..1);
        assert_eq!(large(), None, "a part is held");
        drop(part);
        assert!(large().is_some());
    }
}
