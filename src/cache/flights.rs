//! One flight per key: whoever comes while it is under way boards it.
//!
//! Owns: the table of flights, shared by all workers. A flight belongs to no caller: one that goes
//! away changes nothing. When the flight's task dies without landing, those on board are told and
//! the key is free again.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::entry::Entry;
use super::key::CacheKey;
use super::tiers::Tier;
use crate::failure::Failure;

const SHARDS: usize = 32;

/// What a flight brings.
pub(super) type Landed = Result<(Arc<Entry>, Tier), Failure>;
type Board = watch::Sender<Option<Landed>>;
type Shard = Mutex<HashMap<CacheKey, watch::Receiver<Option<Landed>>>>;

/// The flights under way.
#[derive(Debug)]
pub(super) struct Flights {
    shards: Vec<Shard>,
    hasher: RandomState,
}

/// What became of wanting a key.
pub(super) enum Boarding {
    /// Nobody flies: the caller must start the flight.
    Pilot(Pilot, Ticket),
    /// On board of somebody else's flight.
    Passenger(Ticket),
}

/// A place on a flight.
#[derive(Debug, Clone)]
pub(super) struct Ticket(watch::Receiver<Option<Landed>>);

impl Ticket {
    /// Waits for the first usable answer; `None` when the flight died.
    pub(super) async fn landed(&mut self) -> Option<Landed> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|landed| landed.clone())
    }

    /// Waits for the end of the flight, also when what is stale was announced before; what was
    /// announced last, `None` when the flight died.
    pub(super) async fn ended(&mut self) -> Option<Landed> {
        while self.0.changed().await.is_ok() {}
        self.0.borrow().clone()
    }
}

/// The right and duty to fly for a key; dropping it frees the key.
pub(super) struct Pilot {
    flights: Arc<Flights>,
    key: CacheKey,
    board: Board,
}

impl Pilot {
    /// The key flown for.
    pub(super) fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Gives everyone on board, and everyone who boards later, this answer.
    pub(super) fn announce(&self, landed: Landed) {
        self.board.send_replace(Some(landed));
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.flights.shard(&self.key).remove(&self.key);
    }
}

impl Flights {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new() }
    }

    /// Boards the flight for `key`, or becomes its pilot.
    pub(super) fn board(self: &Arc<Self>, key: &CacheKey) -> Boarding {
        let mut shard = self.shard(key);
        if let Some(flight) = shard.get(key) {
            return Boarding::Passenger(Ticket(flight.clone()));
        }
        let (board, seat) = watch::channel(None);
        shard.insert(key.clone(), seat.clone());
        let pilot = Pilot { flights: Arc::clone(self), key: key.clone(), board };
        Boarding::Pilot(pilot, Ticket(seat))
    }

    /// Flights under way.
    pub(super) fn count(&self) -> usize {
        self.shards.iter().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn shard(
        &self,
        key: &CacheKey,
    ) -> std::sync::MutexGuard<'_, HashMap<CacheKey, watch::Receiver<Option<Landed>>>> {
        let shards = u64::try_from(SHARDS).unwrap_or(1);
        let index = usize::try_from(self.hasher.hash_one(key) % shards).unwrap_or(0);
        #[expect(clippy::indexing_slicing, reason = "index is below the number of shards")]
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::Times;
    use crate::clock::Timestamp;
    use crate::failure::FailureKind;
    use bytes::Bytes;

    fn answer() -> Landed {
        let at = Timestamp::from_millis(0);
        let times = Times { stored_at: at, fresh_until: at, revalidate_until: at, stale_until: at };
        let entry = Entry::new(Bytes::from_static(b"1"), times, false, Vec::new());
        Ok((Arc::new(entry), Tier::Upstream))
    }

    #[tokio::test]
    async fn a_thousand_callers_have_one_pilot_and_one_answer() {
        let flights = Arc::new(Flights::new());
        let key = CacheKey::new("a:b:c");
        let Boarding::Pilot(pilot, own) = flights.board(&key) else { panic!("first is pilot") };
        let mut tickets: Vec<_> = (0..999)
            .map(|_| match flights.board(&key) {
                Boarding::Passenger(ticket) => ticket,
                Boarding::Pilot(..) => panic!("second pilot"),
            })
            .collect();
        tickets.truncate(900);
        pilot.announce(answer());
        tickets.push(own);
        for ticket in &mut tickets {
            assert!(ticket.landed().await.unwrap().is_ok());
        }
        drop(pilot);
        assert_eq!(flights.count(), 0);
    }

    #[tokio::test]
    async fn a_failure_is_shared_too() {
        let flights = Arc::new(Flights::new());
        let key = CacheKey::new("k");
        let Boarding::Pilot(pilot, mut ticket) = flights.board(&key) else { panic!() };
        pilot.announce(Err(Failure::new(FailureKind::UpstreamUnavailable, "down")));
        drop(pilot);
        assert!(ticket.landed().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn who_waits_for_the_end_gets_the_last_word() {
        let flights = Arc::new(Flights::new());
        let key = CacheKey::new("k");
        let Boarding::Pilot(pilot, mut ticket) = flights.board(&key) else { panic!() };
        pilot.announce(Err(Failure::new(FailureKind::UpstreamUnavailable, "first")));
        let mut ended = std::pin::pin!(ticket.ended());
        assert!(futures_util::poll!(&mut ended).is_pending());
        pilot.announce(answer());
        drop(pilot);
        assert!(ended.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_flight_that_dies_tells_and_frees_the_key() {
        let flights = Arc::new(Flights::new());
        let key = CacheKey::new("k");
        let Boarding::Pilot(pilot, mut ticket) = flights.board(&key) else { panic!() };
        drop(pilot);
        assert!(ticket.landed().await.is_none());
        assert!(matches!(flights.board(&key), Boarding::Pilot(..)));
    }
}
