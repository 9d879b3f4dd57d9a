//! The page of `/metrics` as it was rendered last, for all workers.
//!
//! Anybody may ask for it, and it takes milliseconds to make and to pack: so it is not made for everybody
//! anew. A worker that comes while another one renders gets what that makes.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use actix_web::web::Bytes;

use crate::http::error::ApiError;
use crate::resilience::tick::Tick;
use crate::resilience::token_bucket::{BucketRule, TokenBucket};

/// The text is made so often, and after a pause a few times at once; whoever asks more often gets the
/// same again: it takes milliseconds.
const RENDERINGS: BucketRule =
    BucketRule::per_second(NonZeroU32::new(4).unwrap(), NonZeroU32::new(20).unwrap());

pub(super) type Made = Result<Page, ApiError>;

/// What was rendered last, for all workers.
#[derive(Debug)]
pub struct RenderedMetrics {
    origin: Instant,
    last: Mutex<(TokenBucket, Option<Page>)>,
}

#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) text: Bytes,
    pub(super) packed: Option<Bytes>,
}

impl RenderedMetrics {
    #[must_use]
    pub fn new(origin: Instant) -> Self {
        Self { origin, last: Mutex::default() }
    }

    /// The page as it is now, or as it was when it was rendered last if that was just now.
    pub(super) fn page(&self, now: Instant, render: impl FnOnce() -> Made) -> Made {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (bucket, page) = &mut *last;
        let due = bucket.take(RENDERINGS, Tick::between(self.origin, now), 1).is_ok();
        match page {
            Some(page) if !due => Ok(page.clone()),
            Some(_) | None => {
                let rendered = render()?;
                *page = Some(rendered.clone());
                Ok(rendered)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    #[test]
    fn a_page_that_is_asked_for_too_often_is_the_one_of_just_now() {
        let start = clock::monotonic();
        let (rendered, mut times) = (RenderedMetrics::new(start), 0);
        let mut ask = |now| {
            let made = rendered.page(now, || {
                times += 1;
                Ok(Page { text: Bytes::from(times.to_string()), packed: None })
            });
            made.unwrap().text
        };
        (1..=20).for_each(|number| assert_eq!(ask(start), number.to_string()));
        assert_eq!(ask(start), "20");
        assert_eq!(ask(start + Duration::from_millis(249)), "20");
        assert_eq!(ask(start + Duration::from_millis(250)), "21");
    }
}
