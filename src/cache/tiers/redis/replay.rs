//! Bringing Redis what it missed, once it is back.
//!
//! Owns: the order (invalidations first, else an entry could be read before what makes it invalid;
//! then entries, newest first, since they are the likeliest to be asked for) and the batches. What
//! another instance has stored since stays. Refuses: to insist. At the first failure, or when it takes
//! long, it leaves the rest for the next time.

use std::time::Duration;

use bytes::Bytes;

use super::RedisTier;
use crate::cache::arrears::{Arrears, Missed};
use crate::cache::key::CacheKey;
use crate::clock::{self, Timestamp};
use crate::failure::StoreError;

/// Entries or invalidations brought in one round trip at most.
const BATCH: usize = 64;
/// Bytes of entries in one round trip, so that it ends in time on a slow wire.
const BATCH_BYTES: usize = 512 * 1024;

/// Begins no other batch after this: whoever replays has the journal to read, too.
const LONGEST: Duration = Duration::from_millis(400);

/// What a replay did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Entries stored.
    pub entries: usize,
    /// Invalidations told.
    pub records: usize,
    /// Entries and invalidations that Redis still misses.
    pub left: usize,
}

/// Brings Redis what it missed and what still matters at `now`, as far as it takes it.
pub async fn replay(tier: &RedisTier, arrears: &Arrears, now: Timestamp) -> Replayed {
    let mut replayed = Replayed::default();
    // A failure ends it and has been counted by the breaker: there is nothing to add to it.
    if !arrears.is_empty() && !tier.refuses_writes() {
        drop(bring(tier, arrears, now, &mut replayed).await);
    }
    Replayed { left: arrears.len(), ..replayed }
}

async fn bring(
    tier: &RedisTier,
    arrears: &Arrears,
    now: Timestamp,
    replayed: &mut Replayed,
) -> Result<(), StoreError> {
    let until = clock::monotonic() + LONGEST;
    loop {
        let records = arrears.records(BATCH);
        let Some((last, _)) = records.last() else { break };
        let texts: Vec<_> = records.iter().map(|(_, text)| text.as_str()).collect();
        tier.append_many(&texts).await?;
        arrears.settle_records(*last);
        replayed.records = replayed.records.saturating_add(records.len());
    }
    while clock::monotonic() < until {
        let batch = arrears.newest(BATCH, BATCH_BYTES);
        if batch.is_empty() {
            break;
        }
        let living = living(&batch, now);
        tier.put_newer(&living).await?;
        let forgotten = arrears.settle(&batch);
        replayed.entries = replayed.entries.saturating_add(living.len());
        let forgotten: Vec<_> = forgotten.iter().collect();
        tier.remove_many(&forgotten).await?;
    }
    Ok(())
}

/// Those that still have time to live, and how long.
fn living(batch: &[Missed], now: Timestamp) -> Vec<(CacheKey, Bytes, Duration)> {
    let entry = |missed: &Missed| {
        let life = missed.stale_until.since(now);
        (missed.key.clone(), missed.encoded.clone(), life)
    };
    batch.iter().map(entry).filter(|(_, _, life)| !life.is_zero()).collect()
}
