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

diesel::table! {
    /// The log that all instances follow; the newest change of each subject.
    changes (id) {
        /// Grows.
        id -> BigInt,
        topic -> Text,
        key -> Text,
        /// JSON; null: removed.
        payload -> Nullable<Text>,
        /// Milliseconds since the Unix epoch.
        at -> BigInt,
        /// Who wrote it.
        instance -> Text,
        /// When nobody needs it any more, milliseconds since the Unix epoch.
        keep_until -> Nullable<BigInt>,
    }
}

diesel::table! {
    /// What admins did.
    audit_log (id) {
        /// Grows.
        id -> BigInt,
        /// Milliseconds since the Unix epoch.
        at -> BigInt,
        /// Who.
        actor -> Text,
        /// From which address.
        address -> Text,
        /// What.
        action -> Text,
        /// To what.
        subject -> Text,
        /// What exactly.
        details -> Text,
        /// What came of it.
        outcome -> Text,
        /// The request's id.
        request_id -> Text,
    }
}
