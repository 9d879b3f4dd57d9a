//! What supervision counts: which actors are up, how often they restarted, how long their queues
//! are, what was dropped before it reached them.
//!
//! Owns: `actor_*`. Refuses: to know any actor; names are handed in. Older than every actor, so a
//! crash never takes a count with it.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::family::{Labelled, Registrar};

/// Metrics of all actors; cheap to clone.
#[derive(Debug, Clone)]
pub struct ActorMetrics {
    up: Labelled<Gauge, 1>,
    restarts: Labelled<Counter, 2>,
    queue_length: Labelled<Gauge, 1>,
    events_dropped: Labelled<Counter, 1>,
    task_panics: Labelled<Counter, 1>,
}

impl ActorMetrics {
    /// Registers the `actor_*` metrics.
    pub(super) fn register(registrar: &mut Registrar) -> Self {
        Self {
            up: registrar.gauges("actor_up", "Instances of an actor that are running", ["actor"]),
            restarts: registrar.counters(
                "actor_restarts",
                "Restarts of an actor's instances",
                ["actor", "reason"],
            ),
            queue_length: registrar.gauges(
                "actor_queue_length",
                "Messages that wait for an actor, all instances",
                ["actor"],
            ),
            events_dropped: registrar.counters(
                "actor_events_dropped",
                "Droppable events that an actor was too busy for",
                ["actor"],
            ),
            task_panics: registrar.counters(
                "actor_task_panics",
                "Panics in tasks an actor started",
                ["actor"],
            ),
        }
    }

    /// The handle of one actor, for example `cache`. Resolve once and keep it.
    #[must_use]
    pub fn of(&self, actor: &'static str) -> OneActorMetrics {
        OneActorMetrics {
            actor,
            up: self.up.at([actor]),
            queue_length: self.queue_length.at([actor]),
            events_dropped: self.events_dropped.at([actor]),
            task_panics: self.task_panics.at([actor]),
            restarts: self.restarts.clone(),
        }
    }
}

/// Metrics of one actor, shared by its instances; cheap to clone and to use.
#[derive(Debug, Clone)]
pub struct OneActorMetrics {
    actor: &'static str,
    up: Gauge,
    queue_length: Gauge,
    events_dropped: Counter,
    task_panics: Counter,
    restarts: Labelled<Counter, 2>,
}

impl OneActorMetrics {
    /// Sets how many instances run and how many messages wait for them.
    pub fn observe(&self, up: i64, queue: i64) {
        self.up.set(up);
        self.queue_length.set(queue);
    }

    /// How many instances run.
    #[must_use]
    pub fn up(&self) -> i64 {
        self.up.get()
    }

    /// An instance was restarted because of `panic`, `stop`, `hang`, ….
    pub fn restarted(&self, reason: &'static str) {
        self.restarts.at([self.actor, reason]).inc();
    }

    /// Restarts for one reason so far.
    #[must_use]
    pub fn restarts(&self, reason: &'static str) -> u64 {
        self.restarts.at([self.actor, reason]).get()
    }

    /// How many messages wait.
    #[must_use]
    pub fn queue_length(&self) -> i64 {
        self.queue_length.get()
    }

    /// Droppable events were dropped.
    pub fn events_dropped(&self, events: u64) {
        self.events_dropped.inc_by(events);
    }

    /// Droppable events dropped so far.
    #[must_use]
    pub fn dropped_so_far(&self) -> u64 {
        self.events_dropped.get()
    }

    /// A task the actor started panicked.
    pub fn task_panicked(&self) {
        self.task_panics.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_of_one_actor_share_their_counts() {
        let actors = ActorMetrics::register(&mut Registrar::default());
        let (one, two) = (actors.of("cache"), actors.of("cache"));
        one.observe(1, 1);
        one.restarted("panic");
        one.events_dropped(7);
        assert_eq!((two.up(), two.queue_length()), (1, 1));
        assert_eq!((two.restarts("panic"), two.restarts("stop")), (1, 0));
        assert_eq!(two.dropped_so_far(), 7);
        assert_eq!(actors.of("metrics").up(), 0);
    }
}
