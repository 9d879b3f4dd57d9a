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
        /// What was asked (JSON), if it can be asked again.
        question -> Nullable<Text>,
        /// Uses, halved at each midnight since `used_at`.
        uses -> BigInt,
        /// Last use, milliseconds since the Unix epoch.
        used_at -> BigInt,
        /// What the row takes in the file, about.
        bytes -> BigInt,
    }
}

diesel::table! {
    /// What has been invalidated.
    invalidations (subject) {
        /// A key, a tag or a pattern.
        subject -> Text,
        /// What was stored at or before is stale; milliseconds since the Unix epoch.
        soft_at -> BigInt,
        /// What was stored at or before is dead; milliseconds since the Unix epoch.
        hard_at -> BigInt,
    }
}

diesel::table! {
    /// What parts of the service keep over a restart.
    kept_state (name) {
        /// Whose it is.
        name -> Text,
        /// JSON.
        value -> Text,
        /// When it was kept, milliseconds since the Unix epoch.
        at -> BigInt,
    }
}
