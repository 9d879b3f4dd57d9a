//! How many requests the memory tier spares the upstream, beside LRU and the best there can be.
//!
//! Owns: one stream (the same in every run) and three ways to keep 1,000 entries of it: the memory
//! tier itself, the `cached` crate's LRU, and the clairvoyant optimum (Belady 1966, allowed not to
//! keep what it is offered), which knows the future and is a bound for all. The tier hashes with a
//! key of its own in every process, so its figure moves in the third decimal. Run by `make bench`.
//! Refuses: to pass when the tier is below its goal.

use std::collections::{BinaryHeap, HashMap};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use breakwater::cache::tiers::memory::MemoryTier;
use breakwater::cache::{CacheKey, Entry, Representation, Times};
use breakwater::clock::{Timestamp, monotonic};
use breakwater::console;
use breakwater::metrics::Metrics;
use cached::{Cached, LruCache};

/// Entries that each may keep.
const ITEMS: usize = 1_000;
/// The tier's other bound, which must not be what is measured.
const BYTES: u64 = 64 * 1024 * 1024;
const REQUESTS: u32 = 2_000_000;
/// Keys that are asked for again.
const KEYS: u32 = 100_000;
const EXPONENT: f64 = 0.9;
/// Every such request is for a key that is never seen again: a crawler, a typing error.
const ONCE_EVERY: u32 = 10;
const SEED: u64 = 42;
const BODY: usize = 1_024;
/// What the tier has to reach.
const GOAL: f64 = 0.41;

fn main() -> Result<(), Box<dyn Error>> {
    let stream = stream();
    console::say(&format!(
        "hit ratio: {ITEMS} entries, {REQUESTS} requests, Zipf({EXPONENT}) over {KEYS} keys, \
         every {ONCE_EVERY}th for a key never seen again"
    ))?;
    console::say(&format!("{:<20} {:>9} {:>13}", "kept by", "hit ratio", "ns a request"))?;
    let (least_recent, took) = timed(|| lru(&stream));
    line("cached's LRU", least_recent, Some(took))?;
    let (memory, took) = timed(|| memory_tier(&stream));
    line("memory tier", memory, Some(took))?;
    let (best, _) = timed(|| optimum(&stream));
    line("clairvoyant optimum", best, None)?;
    if memory < GOAL {
        return Err(format!("the memory tier's hit ratio is below its goal of {GOAL}").into());
    }
    Ok(())
}

fn line(name: &str, ratio: f64, took: Option<Duration>) -> std::io::Result<()> {
    let each = took.map(|took| format!("{:.0}", took.as_secs_f64() * 1e9 / f64::from(REQUESTS)));
    console::say(&format!("{name:<20} {ratio:>9.4} {:>13}", each.unwrap_or_default()))
}

/// The share of hits among all requests, and the time they took.
fn timed(hits: impl FnOnce() -> usize) -> (f64, Duration) {
    let began = monotonic();
    let hits = u32::try_from(hits()).unwrap_or(u32::MAX);
    (f64::from(hits) / f64::from(REQUESTS), monotonic() - began)
}

/// The numbers of the keys asked for, in order; those from `KEYS` on come once.
fn stream() -> Vec<u32> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=KEYS)
        .map(|rank| {
            sum += f64::from(rank).powf(-EXPONENT);
            sum
        })
        .collect();
    let mut chance = fastrand::Rng::with_seed(SEED);
    let drawn = (0..REQUESTS).map(|number| {
        if number % ONCE_EVERY == 0 {
            return KEYS + number;
        }
        let point = chance.f64() * sum;
        u32::try_from(sums.partition_point(|upto| *upto < point)).unwrap_or(KEYS).min(KEYS - 1)
    });
    drawn.collect()
}

fn key(number: &u32) -> CacheKey {
    CacheKey::new(format!("search:v1:{number}"))
}

fn memory_tier(stream: &[u32]) -> usize {
    let tier = MemoryTier::new(ITEMS, BYTES, Metrics::new().cache.clone());
    let at = Timestamp::from_millis(0);
    let times = Times { stored_at: at, fresh_until: at, revalidate_until: at, stale_until: at };
    let entry =
        Arc::new(Entry::new(Representation::json(vec![0; BODY].into()), times, false, Vec::new()));
    let is_hit = |number: &&u32| {
        let key = key(number);
        let hit = tier.get(&key).is_some();
        if !hit {
            tier.put(key, Arc::clone(&entry));
        }
        hit
    };
    stream.iter().filter(is_hit).count()
}

fn lru(stream: &[u32]) -> usize {
    let mut kept: LruCache<CacheKey, ()> = LruCache::new(ITEMS);
    let mut hits = 0;
    for number in stream {
        let key = key(number);
        if kept.cache_get(&key).is_some() {
            hits += 1;
        } else {
            kept.cache_set(key, ());
        }
    }
    hits
}

/// Keeps what is asked for again soonest, and of that the newcomer only if it is among it.
fn optimum(stream: &[u32]) -> usize {
    // The next request for each kept key. What the heap holds beside the newest of a key is void.
    let mut kept = HashMap::new();
    let mut latest_first = BinaryHeap::new();
    let mut hits = 0;
    for (number, next) in stream.iter().zip(next_requests(stream)) {
        hits += usize::from(kept.insert(number, next).is_some());
        latest_first.push((next, number));
        while kept.len() > ITEMS {
            let Some((next, candidate)) = latest_first.pop() else { break };
            if kept.get(&candidate) == Some(&next) {
                kept.remove(&candidate);
            }
        }
    }
    hits
}

/// For each request the place of the next one for the same key; the largest number for never.
fn next_requests(stream: &[u32]) -> Vec<usize> {
    let mut seen = HashMap::new();
    let backwards = stream.iter().enumerate().rev();
    let mut next: Vec<usize> =
        backwards.map(|(place, number)| seen.insert(number, place).unwrap_or(usize::MAX)).collect();
    next.reverse();
    next
}
