//! How many requests of a worker wait for somebody else.
//!
//! Owns: one count, bumped by whoever begins to wait: for a flight, for the upstream, for the body
//! of a client. What is inside a worker and waits for nobody stands in line for the worker itself.
//! Refuses nothing; a wait that is given up ends like any other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The count of a worker; clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Waiting(Arc<AtomicU32>);

impl Waiting {
    /// A request waits until what this gives is dropped.
    #[must_use]
    pub fn begin(&self) -> Wait<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Wait(&self.0)
    }

    /// Requests that wait now.
    #[must_use]
    pub fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A request that waits.
#[derive(Debug)]
pub struct Wait<'a>(&'a AtomicU32);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_counted_until_it_is_over() {
        let waiting = Waiting::default();
        let first = waiting.begin();
        let second = waiting.clone();
        let second = second.begin();
        assert_eq!(waiting.now(), 2);
        drop((first, second));
        assert_eq!(waiting.now(), 0);
    }
}
