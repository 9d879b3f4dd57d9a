//! The way of what memory cannot answer: Redis, then SQL, then the loader.
//!
//! ```text
//!  take_off ─ landed meanwhile: told at once
//!     │ one pilot per key
//!     ▼
//!  search: Redis ▶ SQL      fresh: landed │ stale: announced, or in hand until the soft deadline
//!     │ what is left, but for what failed a moment ago, and what another instance loads just now
//!     ▼
//!  load: throttle ▶ loader ─ brought: memory, announced, Redis and SQL
//!                          └ failed: told to those who have nothing; the key is left alone a while
//! ```
//!
//! Owns: one flight, from take-off to the last tier stored. It belongs to no caller: who goes away
//! changes nothing, and when its task dies those on board fly again. A tier that is down is a miss.

mod elsewhere;
mod load;
mod search;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::search::Searched;
use super::entry::Entry;
use super::flights::{Boarding, Landed, Pilot, Ticket};
use super::key::CacheKey;
use super::plan::{Plan, Urgency};
use super::tables::CacheTables;
use super::tiers::Tier;
use crate::clock::{self, Timestamp};
use crate::failure::{Failure, FailureKind};
use crate::supervision::spawn_watched;

/// A key that nothing fresh was found for, and its place in the caller's list.
struct Leg {
    place: usize,
    pilot: Pilot,
    /// What is stale but usable, and where it was found.
    in_hand: Option<(Arc<Entry>, Tier)>,
    /// Those on board have an answer already.
    announced: bool,
    /// Its last load failed a moment ago: it is looked for, and not loaded.
    refused: Option<Failure>,
}

impl Leg {
    /// Gives those on board what is in hand; says whether they have an answer now.
    fn announce_in_hand(&mut self) -> bool {
        if let (false, Some(held)) = (self.announced, &self.in_hand) {
            self.pilot.announce(Ok(held.clone()));
            self.announced = true;
        }
        self.announced
    }
}

/// A place on the flight for a key, and whether it was somebody else's flight already.
#[derive(Debug)]
pub(super) struct Boarded {
    pub(super) ticket: Ticket,
    pub(super) collapsed: bool,
}

/// Boards the flights of `keys`; those nobody flies for yet take off together, on this thread.
pub(super) fn take_off(
    tables: &CacheTables,
    keys: &[(usize, CacheKey)],
    plan: &Plan,
) -> Vec<Boarded> {
    let mut legs = Vec::new();
    let mut boarded = Vec::with_capacity(keys.len());
    for (place, key) in keys {
        match tables.flights().board(key) {
            Boarding::Passenger(ticket) => boarded.push(Boarded { ticket, collapsed: true }),
            Boarding::Pilot(pilot, ticket) => {
                match before_take_off(tables, key, plan) {
                    Ground::Stay(landed) => pilot.announce(landed),
                    Ground::Go(in_hand, refused) => {
                        legs.push(Leg { place: *place, pilot, in_hand, announced: false, refused });
                    }
                }
                boarded.push(Boarded { ticket, collapsed: false });
            }
        }
    }
    if !legs.is_empty() {
        let journey = fly(tables.clone(), legs, plan.clone());
        spawn_watched("cache-flight", Arc::clone(&tables.observer), journey);
    }
    boarded
}

/// Whether a new pilot has to fly at all; if so, with what in hand, and whether only to look.
enum Ground {
    Stay(Landed),
    Go(Option<(Arc<Entry>, Tier)>, Option<Failure>),
}

/// What spares a flight: another may have landed between the caller's look into memory and now, or
/// failed a moment ago. Whoever lands puts into memory before the key is free, so that a new pilot
/// who looks again finds it.
fn before_take_off(tables: &CacheTables, key: &CacheKey, plan: &Plan) -> Ground {
    let now = clock::now();
    let held = tables.look(key, now);
    let moment = clock::monotonic();
    let setback = tables.setbacks.of(key, moment);
    if setback.is_some() {
        tables.metrics.load_held("setback");
    }
    match (held, setback) {
        (Some((entry, _)), Some(_)) => Ground::Stay(Ok((entry, Tier::Memory))),
        // What memory has let go of meanwhile, or another instance has stored, is behind it.
        (None, Some(failure)) => Ground::Go(None, Some(failure)),
        (Some((entry, freshness)), None) if !plan.reload => {
            let renews = plan.urgency != Urgency::Client;
            let good = freshness.is_fresh() && !(renews && freshness.wants_refresh());
            if good || !entry.may_refresh(moment) {
                return Ground::Stay(Ok((entry, Tier::Memory)));
            }
            Ground::Go(Some((entry, Tier::Memory)), None)
        }
        (Some(_) | None, None) => Ground::Go(None, None),
    }
}

async fn fly(tables: CacheTables, mut legs: Vec<Leg>, plan: Plan) {
    let (now, began) = (clock::monotonic(), clock::now());
    let bounds = Bounds { soft: now + tables.rules.soft, end: now + plan.within, began };
    let journey = async {
        let mut searched = Searched { lifted: Vec::new(), redis_answered: true };
        if !plan.reload {
            searched = search::behind_memory(&tables, &mut legs, &plan).await;
        }
        load::load(&tables, &mut legs, &plan, bounds, searched.redis_answered).await;
        search::lift_to_redis(&tables, &plan, searched.lifted).await;
    };
    // The load has a deadline of its own, and its failure is told and counted; this one is for tiers
    // that take too long after it.
    if tokio::time::timeout_at((bounds.end + LANDING).into(), journey).await.is_err() {
        let late = Failure::new(FailureKind::DeadlineExceeded, "the flight took too long");
        load::give_up(&tables, &mut legs, &late);
    }
}

/// What a flight may take after its deadline to store what it brought.
const LANDING: Duration = Duration::from_secs(2);

/// The times of a flight.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// After it those who wait take what is stale.
    soft: Instant,
    /// A load ends then.
    end: Instant,
    /// When it took off.
    began: Timestamp,
}
