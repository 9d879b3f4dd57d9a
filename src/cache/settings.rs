//! The settings of the cache's bounds and of lifetimes that every service shares.
//!
//! Owns: their declaration. The lifetimes of a kind are declared by its service.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::Section;
use crate::config::kinds::{Time, Whole, seconds};
use crate::settings;

/// Ten years, and no lifetime of none: an entry that is never fresh would be loaded each time.
pub const LIFETIME: Time = seconds(1, 315_360_000);

settings! {
    #[derive(Eq)]
    pub struct CacheSettings in "cache" {
        default_ttl: Duration = Duration::from_secs(3_600), "CACHE_TTL", "ttl", LIFETIME,
            "seconds fresh; when set, it is also the default of the kinds that have their own", live();
        stale: Duration = Duration::from_secs(86_400), "CACHE_STALE_SECONDS", "stale_seconds",
            seconds(0, 315_360_000),
            "seconds usable after that, while a refresh runs or when it fails; 0 for never", live();
        negative_ttl: Duration = Duration::from_secs(60), "CACHE_NEGATIVE_TTL", "negative_ttl",
            seconds(0, 86_400), "seconds an empty result is kept; 0 for not at all", live();
        memory_items: usize = 1_000, "MAX_MEMORY_CACHE_ITEMS", "memory_items", Whole(1, 10_000_000),
            "entries in memory";
        memory_bytes: u64 = 104_857_600, "MAX_MEMORY_CACHE_BYTES", "memory_bytes",
            Whole(1_024, 1 << 40), "bytes of entries in memory";
        database_bytes: u64 = 1 << 30, "MAX_DATABASE_CACHE_BYTES", "database_bytes",
            Whole(65_536, 1 << 40), "bytes of entries in the database; beyond it the least used leave";
        warm_keys: usize = 200, "CACHE_WARM_KEYS", "warm_keys", Whole(0, 100_000),
            "keys asked for most that are kept warm; 0 for none";
    }
}

impl Section for CacheSettings {}

/// The longest time that anything in the cache is usable. It only grows: what was stored under longer
/// lifetimes is still there when they are shorter.
#[derive(Debug, Clone, Default)]
pub struct LongestLife(Arc<AtomicU64>);

impl LongestLife {
    pub fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    pub fn raise(&self, to: Duration) {
        let millis = u64::try_from(to.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_max(millis, Ordering::Relaxed);
    }
}
