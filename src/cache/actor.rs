//! CacheActor: one per HTTP worker, over tables they all share.
//!
//! Owns: nothing but its way to the tables; a new incarnation is as good as the old one. Accepts:
//! [`Lookup`], [`Fly`], [`Invalidate`]. Every handler decides at once; flights run as watched tasks.
//! When overloaded or dead, [`CacheClient`](super::CacheClient) does the same on the tables.

use std::sync::Arc;

use actix::{Actor, Context, Handler, Message, MessageResult, ResponseFuture};

use super::clearing::Cleared;
use super::entry::Entry;
use super::flight::{Boarded, take_off};
use super::freshness::Freshness;
use super::invalidations::{Mode, Subject};
use super::key::CacheKey;
use super::plan::Plan;
use super::tables::CacheTables;
use crate::clock;

/// The actor.
#[derive(Debug)]
pub struct CacheActor {
    tables: CacheTables,
}

impl std::fmt::Debug for CacheTables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheTables").field("memory", &self.memory.len()).finish_non_exhaustive()
    }
}

impl CacheActor {
    /// An incarnation over `tables`.
    #[must_use]
    pub const fn new(tables: CacheTables) -> Self {
        Self { tables }
    }
}

impl Actor for CacheActor {
    type Context = Context<Self>;
}

/// Asks for what memory holds under a key.
#[derive(Debug, Message)]
#[rtype(result = "Option<(Arc<Entry>, Freshness)>")]
pub struct Lookup(pub CacheKey);

/// Asks for places on the flights of these keys; starts those that are not under way.
#[derive(Debug, Message)]
#[rtype(result = "Vec<Boarded>")]
pub(super) struct Fly {
    pub(super) keys: Vec<(usize, CacheKey)>,
    pub(super) plan: Plan,
}

/// Invalidates what was stored until now.
#[derive(Debug, Message)]
#[rtype(result = "Cleared")]
pub(super) struct Invalidate {
    pub(super) subject: Subject,
    pub(super) mode: Mode,
    pub(super) reason: &'static str,
}

impl Handler<Lookup> for CacheActor {
    type Result = MessageResult<Lookup>;

    fn handle(&mut self, message: Lookup, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.tables.look(&message.0, clock::now()))
    }
}

impl Handler<Fly> for CacheActor {
    type Result = MessageResult<Fly>;

    fn handle(&mut self, message: Fly, _: &mut Self::Context) -> Self::Result {
        MessageResult(take_off(&self.tables, &message.keys, &message.plan))
    }
}

impl Handler<Invalidate> for CacheActor {
    type Result = ResponseFuture<Cleared>;

    fn handle(&mut self, message: Invalidate, _: &mut Self::Context) -> Self::Result {
        let tables = self.tables.clone();
        let Invalidate { subject, mode, reason } = message;
        Box::pin(async move { tables.invalidate(subject, mode, reason).await })
    }
}
