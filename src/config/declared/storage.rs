//! Declarations: Redis, the database and the cache. Owns no logic and refuses nothing; see the
//! parent.

use super::{Declaration, setting};
use crate::config::addresses::{DatabaseAddress, RedisAddress};
use crate::config::kinds::{Kind, Millis, Positive, Seconds, Whole};
use crate::config::texts::{FilePath, Optional};

/// Ten years, and no lifetime of none: an entry that is never fresh would be asked for each time.
const LIFETIME: Seconds = Seconds(1, 315_360_000);

pub(super) const SETTINGS: &[Declaration] = &[
    setting!("REDIS_URL", "redis", "url", in settings.redis.url, Optional(RedisAddress),
        "the second cache tier; without it there are two tiers"),
    setting!("REDIS_TIMEOUT_MS", "redis", "timeout_ms", in settings.redis.timeout, Millis(1, 10_000),
        "longest time of one command to Redis, connecting included"),
    setting!("DATABASE_URL", "database", "url", in settings.database.path, DatabaseAddress,
        "the third cache tier and everything that survives a restart; a path without a slash in \
         front is relative to the working directory"),
    setting!("DATABASE_POOL_SIZE", "database", "pool_size", in settings.database.pool_size,
        Whole(1, 64), "connections to the database"),
    setting!("CACHE_TTL", "cache", "ttl", in settings.cache.default_ttl, LIFETIME,
        "seconds fresh; when set, it is also the default of the five kinds below"),
    setting!("CACHE_TTL_PRODUCT", "cache", "ttl_product", in settings.cache.product_ttl, LIFETIME,
        "seconds fresh: product details"),
    setting!("CACHE_TTL_LINK", "cache", "ttl_link", in settings.cache.link_ttl, LIFETIME,
        "seconds fresh: affiliate links"),
    setting!("CACHE_TTL_SEARCH", "cache", "ttl_search", in settings.cache.search_ttl, LIFETIME,
        "seconds fresh: search results"),
    setting!("CACHE_TTL_HOT", "cache", "ttl_hot", in settings.cache.hot_ttl, LIFETIME,
        "seconds fresh: hot products"),
    setting!("CACHE_TTL_CATEGORY", "cache", "ttl_category", in settings.cache.category_ttl,
        LIFETIME, "seconds fresh: categories"),
    setting!("CACHE_STALE_SECONDS", "cache", "stale_seconds", in settings.cache.stale,
        Seconds(0, 315_360_000),
        "seconds usable after that, while a refresh runs or when it fails; 0 for never"),
    setting!("CACHE_REVALIDATE_SECONDS", "cache", "revalidate_seconds", in settings.cache.revalidate,
        Seconds(0, 315_360_000),
        "seconds after the fresh time in which a stale answer is given at once while it is \
         refreshed; later, as far as CACHE_STALE_SECONDS reaches, a caller first waits a little"),
    setting!("CACHE_SOFT_TIMEOUT_MS", "cache", "soft_timeout_ms", in settings.cache.soft_timeout,
        Millis(0, 60_000), "longest such wait; the refresh goes on behind it"),
    setting!("CACHE_EAGER_PERCENT", "cache", "eager_percent", in settings.cache.eager_percent,
        Whole(0, 50), "last part of the fresh time in which a hit refreshes; 0 for never"),
    setting!("CACHE_NEGATIVE_TTL", "cache", "negative_ttl", in settings.cache.negative_ttl,
        Seconds(0, 86_400), "seconds an empty result is kept; 0 for not at all"),
    setting!("MAX_MEMORY_CACHE_ITEMS", "cache", "memory_items", in settings.cache.memory_items,
        Whole(1, 10_000_000), "entries in memory"),
    setting!("MAX_MEMORY_CACHE_BYTES", "cache", "memory_bytes", in settings.cache.memory_bytes,
        Whole::<u64>(1_024, 1_099_511_627_776), "bytes of entries in memory"),
    setting!("MAX_DATABASE_CACHE_BYTES", "cache", "database_bytes",
        in settings.cache.database_bytes, Whole::<u64>(65_536, 1_099_511_627_776),
        "bytes of entries in the database; beyond it the least used leave"),
    setting!("CACHE_WARM_KEYS", "cache", "warm_keys", in settings.cache.warm_keys,
        Whole(0, 100_000), "keys asked for most that are kept warm; 0 for none"),
    setting!("CACHE_WARM_INTERVAL_SECONDS", "cache", "warm_interval_seconds",
        in settings.cache.warm_interval, Seconds(1, 86_400), "seconds between two rounds of it"),
    setting!("CACHE_WARM_PER_SECOND", "cache", "warm_per_second",
        in settings.cache.warm_per_second, Positive(1_000.0),
        "calls a second that a round may make; clients always go first"),
    setting!("LAST_RESORT_CATALOG", "cache", "last_resort_catalog",
        in settings.cache.last_resort_catalog, Optional(FilePath),
        "a catalogue (.jsonl or .jsonl.gz) to answer from, marked as such and never stored, when \
         every tier and the upstream have failed"),
];
