//! The way of what memory cannot answer: Redis, then SQL, then the loader.
//!
//! ```text
//!  take_off ─ landed meanwhile, or failed a moment ago: told at once
//!     │ one pilot per key
//!     ▼
//!  search: Redis ▶ SQL      fresh: landed │ stale: announced, or in hand until the soft deadline
//!     │ what is left, but for what another instance loads just now: that is waited for
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
use std::time::Instant;

use self::search::Searched;
use super::entry::Entry;
use super::flights::{Boarding, Landed, Pilot, Ticket};
use super::key::CacheKey;
use super::plan::{Plan, Urgency};
use super::tables::CacheTables;
use super::tiers::Tier;
use crate::clock;
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
                    Ground::Go(in_hand) => {
                        legs.push(Leg { place: *place, pilot, in_hand, announced: false });
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

/// Whether a new pilot has to fly at all.
enum Ground {
    Stay(Landed),
    Go(Option<(Arc<Entry>, Tier)>),
}

/// What spares a flight: another may have landed between the caller's look into memory and now, or
/// failed a moment ago. Whoever lands puts into memory before the key is free, so that a new pilot
/// who looks again finds it.
fn before_take_off(tables: &CacheTables, key: &CacheKey, plan: &Plan) -> Ground {
    let now = clock::now();
    let held = tables.look(key, now);
    let setback = tables.setbacks.of(key, now);
    if setback.is_some() {
        tables.metrics.load_held("setback");
    }
    match (held, setback) {
        (Some((entry, _)), Some(_)) => Ground::Stay(Ok((entry, Tier::Memory))),
        (None, Some(failure)) => Ground::Stay(Err(failure)),
        (Some((entry, freshness)), None) if !plan.reload => {
            let renews = plan.urgency != Urgency::Client;
            let good = freshness.is_fresh() && !(renews && freshness.wants_refresh());
            if good || !entry.may_refresh(now) {
                return Ground::Stay(Ok((entry, Tier::Memory)));
            }
            Ground::Go(Some((entry, Tier::Memory)))
        }
        (Some(_) | None, None) => Ground::Go(None),
    }
}

async fn fly(tables: CacheTables, mut legs: Vec<Leg>, plan: Plan) {
    let soft = clock::monotonic() + tables.rules.soft;
    let journey = async {
        let mut searched = Searched { lifted: Vec::new(), redis_answered: true };
        if !plan.reload {
            searched = search::behind_memory(&tables, &mut legs, &plan).await;
        }
        load::load(&tables, &mut legs, &plan, soft, searched.redis_answered).await;
        search::lift_to_redis(&tables, &plan, searched.lifted).await;
    };
    if tokio::time::timeout(plan.within, journey).await.is_err() {
        let late = Failure::new(FailureKind::DeadlineExceeded, "the flight took too long");
        load::give_up(&tables, &mut legs, &late);
    }
}

/// The moment after which those who wait take what is stale.
type SoftDeadline = Instant;
