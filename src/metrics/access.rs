//! What is counted about who comes in: wrong admin keys, clients turned away, keys, and what stores are owed.
//!
//! Owns: `admin_auth_failures`, `access_*`, `api_keys`, `audit_*`. Refuses: addresses and keys as
//! labels, of which there is no end.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::family::{Labelled, Registrar};

/// Metrics of who may come in; cheap to clone.
#[derive(Debug, Clone)]
pub struct AccessMetrics {
    auth_failures: Labelled<Counter, 1>,
    blocked: Labelled<Counter, 1>,
    dropped: Labelled<Counter, 1>,
    keys: Gauge,
    owed: Labelled<Gauge, 1>,
    deeds_waiting: Gauge,
    deeds_given_up: Gauge,
}

impl AccessMetrics {
    /// Registers them.
    pub(super) fn register(registrar: &mut Registrar) -> Self {
        Self {
            auth_failures: registrar.counters(
                "admin_auth_failures",
                "Admin requests refused for their key, by what was wrong with it",
                ["reason"],
            ),
            blocked: registrar.counters(
                "access_blocked",
                "Requests turned away by the deny list, by what of them is on it",
                ["by"],
            ),
            dropped: registrar.counters(
                "access_records_dropped",
                "Records of keys and lists that a store held and that could not be believed",
                ["source"],
            ),
            keys: registrar.gauge("api_keys", "Stored keys of clients that are in force"),
            owed: registrar.gauges(
                "access_records_owed",
                "Changes of keys and lists that a store is still to be told",
                ["store"],
            ),
            deeds_waiting: registrar
                .gauge("audit_waiting", "Admin changes that wait to be stored in the audit table"),
            deeds_given_up: registrar.gauge(
                "audit_given_up",
                "Admin changes that were never stored in the audit table, since the start",
            ),
        }
    }

    /// Counts an admin request that was refused: `closed`, `missing`, `wrong` or `locked`.
    pub fn admin_refused(&self, reason: &'static str) {
        self.auth_failures.at([reason]).inc();
    }

    /// Counts a request turned away for its `address` or its `key`.
    pub fn blocked(&self, by: &'static str) {
        self.blocked.at([by]).inc();
    }

    /// Counts records of the `database` or of `redis` that could not be believed.
    pub fn records_dropped(&self, source: &'static str, records: usize) {
        self.dropped.at([source]).inc_by(u64::try_from(records).unwrap_or(u64::MAX));
    }

    /// Sets how many keys are stored.
    pub fn keys(&self, keys: usize) {
        self.keys.set(clamp(keys));
    }

    /// Sets what a store is owed.
    pub fn owed(&self, store: &'static str, records: usize) {
        self.owed.at([store]).set(clamp(records));
    }

    /// Sets how many deeds wait, and how many were given up.
    pub fn deeds(&self, waiting: usize, given_up: u64) {
        self.deeds_waiting.set(clamp(waiting));
        self.deeds_given_up.set(i64::try_from(given_up).unwrap_or(i64::MAX));
    }
}

fn clamp(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
