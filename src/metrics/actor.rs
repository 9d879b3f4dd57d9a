//! `MetricsActor`: takes in what the workers saw, answers questions about the recent past.
//!
//! Owns: nothing; the windows and lists are a table older than the actor, the counts are in the
//! registry. Accepts: [`Observed`] in batches, [`Report`], [`RecentRequests`] and
//! [`Reset`]. Sends: nothing. When overloaded: its handle drops batches and
//! counts them under `actor_events_dropped_total`; exact counts do not come through here and do
//! not suffer. When dead: the same, and reports are answered again after the restart with
//! everything the table held.

use actix::{Actor, Context, Handler, Message, MessageResult};

use super::families::Metrics;
use super::observations::{MonitoringTable, RecentRequest, RequestSeen, Which};
use super::report::MonitoringReport;
use crate::clock;

/// The name of this actor in labels, status and logs.
pub const NAME: &str = "metrics";

/// Every incarnation is a clone of the first.
#[derive(Debug, Clone)]
pub struct MetricsActor {
    pub metrics: Metrics,
    pub table: MonitoringTable,
}

impl MetricsActor {
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, table: MonitoringTable::new(clock::monotonic(), clock::now()) }
    }
}

impl Actor for MetricsActor {
    type Context = Context<Self>;
}

/// Requests a worker saw answered, oldest first. Droppable.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Observed(pub Vec<RequestSeen>);

impl Handler<Observed> for MetricsActor {
    type Result = ();

    fn handle(&mut self, Observed(batch): Observed, _: &mut Context<Self>) {
        let (now, wall) = (clock::monotonic(), clock::now());
        let mut table = self.table.lock();
        for seen in batch {
            table.observe(&seen, now, wall);
        }
    }
}

#[derive(Debug, Message)]
#[rtype(result = "MonitoringReport")]
pub struct Report;

impl Handler<Report> for MetricsActor {
    type Result = MessageResult<Report>;

    fn handle(&mut self, _: Report, _: &mut Context<Self>) -> Self::Result {
        let Self { metrics, table } = &*self;
        let dropped = metrics.actors.events_dropped.at([NAME]).get();
        let (now, wall) = (clock::monotonic(), clock::now());
        MessageResult(MonitoringReport::new(metrics, table, dropped, now, wall))
    }
}

/// Asks for the last of these requests, newest first.
#[derive(Debug, Message)]
#[rtype(result = "Vec<RecentRequest>")]
pub struct RecentRequests {
    pub which: Which,
    /// At most so many.
    pub limit: usize,
}

impl Handler<RecentRequests> for MetricsActor {
    type Result = MessageResult<RecentRequests>;

    fn handle(&mut self, asked: RecentRequests, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.table.lock().recent(asked.which, asked.limit))
    }
}

/// Forgets windows and lists. Counts stay: a counter never goes back.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Reset;

impl Handler<Reset> for MetricsActor {
    type Result = ();

    fn handle(&mut self, _: Reset, _: &mut Context<Self>) {
        self.table.lock().reset(clock::monotonic(), clock::now());
    }
}

#[cfg(test)]
#[path = "actor_tests.rs"]
mod tests;
