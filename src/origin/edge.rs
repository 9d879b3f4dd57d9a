//! Where a call meets the world.
//!
//! Owns: the three things that a call cannot decide for itself: what the wire brings, what a wall
//! clock shows, and chance. With another edge, and tokio's clock paused, the same call runs in
//! virtual time.

use std::future::Future;
use std::time::Duration;

use super::transport::{Transport, TransportFault};
use super::{RawAnswer, SignedRequest};
use crate::clock::{self, Timestamp};

/// The world, as a call sees it.
pub trait Edge {
    /// Posts a signed request; the whole answer comes within `within`, or a fault.
    fn post(
        &self,
        signed: SignedRequest,
        within: Duration,
    ) -> impl Future<Output = Result<RawAnswer, TransportFault>>;

    /// The wall clock.
    fn wall(&self) -> Timestamp;

    /// A number between 0 and 1, evenly.
    fn chance(&self) -> f64;
}

impl Edge for Transport {
    async fn post(
        &self,
        signed: SignedRequest,
        within: Duration,
    ) -> Result<RawAnswer, TransportFault> {
        self.exchange_within(signed, within).await
    }

    fn wall(&self) -> Timestamp {
        clock::now()
    }

    fn chance(&self) -> f64 {
        fastrand::f64()
    }
}
