//! Who is told when an actor dies: the log and the registry.
//!
//! Owns: the words. Counting here keeps the supervision room free of metrics.

use std::time::Duration;

use slog::{Logger, error, info, warn};

use crate::metrics::Metrics;
use crate::supervision::{Observer, RestartReason};

/// Logs and counts deaths, hangs and recoveries.
pub(super) struct Deaths {
    log: Logger,
    metrics: Metrics,
}

impl Deaths {
    pub(super) const fn new(log: Logger, metrics: Metrics) -> Self {
        Self { log, metrics }
    }
}

impl Observer for Deaths {
    fn restarted(
        &self,
        actor: &'static str,
        instance: usize,
        reason: RestartReason,
        panic: Option<&str>,
        wait: Duration,
    ) {
        self.metrics.actors.restarts.at([actor, reason.label()]).inc();
        warn!(self.log, "actor restarted"; "actor" => actor, "instance" => instance,
            "reason" => reason.label(), "panic" => panic,
            "wait_ms" => u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    }

    fn hung(&self, actor: &'static str, instance: usize, for_how_long: Duration) {
        error!(self.log, "actor hangs"; "actor" => actor, "instance" => instance,
            "for_ms" => u64::try_from(for_how_long.as_millis()).unwrap_or(u64::MAX));
    }

    fn recovered(&self, actor: &'static str, instance: usize) {
        info!(self.log, "actor answers again"; "actor" => actor, "instance" => instance);
    }

    fn task_panicked(&self, owner: &'static str, panic: &str) {
        self.metrics.actors.task_panics.at([owner]).inc();
        error!(self.log, "task panicked"; "owner" => owner, "panic" => panic);
    }
}
