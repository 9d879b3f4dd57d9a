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

diesel::table! {
    /// Clients' keys.
    api_keys (id) {
        /// Twelve hexadecimal digits.
        id -> Text,
        /// What its owner calls it.
        label -> Text,
        /// SHA-256 of the key, in hexadecimal digits.
        digest -> Text,
        /// Its own limit.
        per_minute -> Nullable<BigInt>,
        /// Where it may be used from, with commas between; empty: anywhere.
        networks -> Text,
        /// Milliseconds since the Unix epoch.
        created_at -> BigInt,
        /// Milliseconds since the Unix epoch.
        expires_at -> Nullable<BigInt>,
        /// Whether it was revoked.
        gone -> Integer,
        /// When that was known, in an order that all instances agree on.
        stamp -> Text,
        /// Grows with every change of the table.
        change -> BigInt,
    }
}

diesel::table! {
    /// Who is let past the limits, and who is turned away.
    access_list (list, identifier) {
        /// `allow` or `deny`.
        list -> Text,
        /// An address, a network, or the id of a key.
        identifier -> Text,
        /// Why.
        reason -> Text,
        /// Milliseconds since the Unix epoch.
        created_at -> BigInt,
        /// Milliseconds since the Unix epoch.
        expires_at -> Nullable<BigInt>,
        /// Whether it was removed.
        gone -> Integer,
        /// When that was known, in an order that all instances agree on.
        stamp -> Text,
        /// Grows with every change of the table.
        change -> BigInt,
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

diesel::table! {
    /// By which a file is known to be what it was.
    access_marks (number) {
        /// Grows.
        number -> BigInt,
        /// Never drawn twice.
        mark -> Text,
    }
}
