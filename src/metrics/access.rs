//! What is counted about who comes in: wrong admin keys, blocked requests, keys, the log of changes.
//!
//! Owns: `admin_auth_failures`, `access_*`, `api_keys`, `replication_*`, `audit_*`. Refuses: addresses and keys as
//! labels, of which there is no end.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::family::{Labelled, Registrar};

/// Metrics of who may come in; cheap to clone.
#[derive(Debug, Clone)]
pub struct AccessMetrics {
    auth_failures: Labelled<Counter, 1>,
    blocked: Labelled<Counter, 1>,
    keys: Gauge,
    pending: Gauge,
    unreadable: Gauge,
    audit_waiting: Gauge,
    audit_dropped: Gauge,
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
            keys: registrar.gauge("api_keys", "Stored keys of clients that are in force"),
            pending: registrar.gauge(
                "replication_pending",
                "Changes that are in force here and wait to be written to the log",
            ),
            unreadable: registrar.gauge(
                "replication_unreadable",
                "Changes in the log that could not be read, since the start",
            ),
            audit_waiting: registrar
                .gauge("audit_waiting", "Audit events that wait for the database"),
            audit_dropped: registrar
                .gauge("audit_given_up", "Audit events that were never stored, since the start"),
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

    /// Sets how many keys are stored.
    pub fn keys(&self, keys: usize) {
        self.keys.set(clamp(keys));
    }

    /// Sets how many audit events wait, and how many were dropped.
    pub fn audit(&self, waiting: usize, dropped: u64) {
        self.audit_waiting.set(clamp(waiting));
        self.audit_dropped.set(i64::try_from(dropped).unwrap_or(i64::MAX));
    }

    /// Sets how many changes wait for the log, and how many of it could not be read.
    pub fn changes(&self, pending: usize, unreadable: usize) {
        self.pending.set(clamp(pending));
        self.unreadable.set(clamp(unreadable));
    }
}

fn clamp(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
