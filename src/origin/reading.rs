//! Reading answers without holding up the thread that makes the calls.
//!
//! Owns: which answers are read elsewhere. A page of products is read in less than a millisecond;
//! what is larger is read on the runtime's threads for blocking work, so that no other call waits
//! for it. Refuses nothing. A panic of the reader goes on where the call is watched.

use std::sync::Arc;

use serde_json::Value;

use super::{Outcome, Protocol, RawAnswer, Request};

/// Bytes of a body beyond which it is large: more than twice the largest page of products.
pub(super) const LARGE: usize = 256 << 10;

/// What `answer` to `request` means.
pub(super) async fn interpret(
    protocol: &Arc<dyn Protocol>,
    request: &Request,
    answer: RawAnswer,
) -> Outcome<Value> {
    if answer.body.len() <= LARGE {
        return protocol.interpret(request, &answer);
    }
    let (protocol, request) = (Arc::clone(protocol), request.clone());
    let read = tokio::task::spawn_blocking(move || protocol.interpret(&request, &answer)).await;
    read.unwrap_or_else(|died| match died.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(stopped) => Outcome::Transient { reason: format!("answer not read: {stopped}") },
    })
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;
    use std::sync::Mutex;
    use std::thread::{self, ThreadId};

    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::super::SignedRequest;
    use super::*;
    use crate::clock::Timestamp;

    #[derive(Default)]
    struct Reader {
        thread: Mutex<Option<ThreadId>>,
        dies: bool,
    }

    impl Protocol for Reader {
        fn sign(&self, _: &Request, _: Timestamp) -> SignedRequest {
            SignedRequest { url: String::new(), body: String::new() }
        }

        fn interpret(&self, _: &Request, _: &RawAnswer) -> Outcome<Value> {
            assert!(!self.dies, "the reader dies");
            *self.thread.lock().unwrap() = Some(thread::current().id());
            Outcome::Empty
        }
    }

    async fn read(reader: &Arc<Reader>, length: usize) -> Outcome<Value> {
        let unset = Timestamp::default();
        let answer = RawAnswer {
            status: 200,
            content_type: None,
            body: Bytes::from(vec![b' '; length]),
            sent_at: unset,
            received_at: unset,
            date: None,
        };
        let request = Request { method: "a.method", params: std::collections::BTreeMap::new() };
        let protocol: Arc<dyn Protocol> = Arc::<Reader>::clone(reader);
        interpret(&protocol, &request, answer).await
    }

    #[tokio::test]
    async fn a_large_body_is_read_elsewhere() {
        let reader = Arc::new(Reader::default());
        for (length, here) in [(0, true), (LARGE, true), (LARGE + 1, false)] {
            assert_eq!(read(&reader, length).await, Outcome::Empty);
            let thread = reader.thread.lock().unwrap().unwrap();
            assert_eq!(thread == thread::current().id(), here, "{length} bytes");
        }
    }

    #[tokio::test]
    async fn a_panic_is_the_callers_wherever_it_was_read() {
        let reader = Arc::new(Reader { dies: true, ..Reader::default() });
        for length in [0, LARGE + 1] {
            let died = AssertUnwindSafe(read(&reader, length)).catch_unwind().await;
            assert!(died.is_err(), "{length} bytes");
        }
    }
}
