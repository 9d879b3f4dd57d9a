//! The tables as diesel sees them; kept equal to `migrations/`.

diesel::table! {
    /// The third cache tier.
    cache_entries (key) {
        /// Canonical cache key.
        key -> Text,
        /// Kind of data, for statistics.
        kind -> Text,
        /// Checksummed envelope.
        entry -> Binary,
        /// When it was stored, milliseconds since the Unix epoch.
        stored_at -> BigInt,
        /// Until when it is usable, milliseconds since the Unix epoch.
        stale_until -> BigInt,
    }
}
