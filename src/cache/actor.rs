//! CacheActor: one for each HTTP worker, over tables that all share.
//!
//! Owns: nothing but its way to the tables; a new incarnation is as good as the old one. Every handler
//! decides at once; loads run as watched tasks. While the actor is down,
//! [`CacheClient`](super::CacheClient) does the same on the tables.

use actix::{Actor, Context, Handler, Message, MessageResult, ResponseFuture};

use super::get::{Get, GetMany};
use super::invalidations::{Cleared, Mode, Subject};
use super::tables::CacheTables;

/// The actor.
#[derive(Debug)]
pub struct CacheActor {
    tables: CacheTables,
}

impl CacheActor {
    /// An incarnation over `tables`.
    pub const fn new(tables: CacheTables) -> Self {
        Self { tables }
    }
}

impl Actor for CacheActor {
    type Context = Context<Self>;
}

/// Invalidates what was stored until now.
#[derive(Debug, Message)]
#[rtype(result = "Cleared")]
pub(super) struct Invalidate {
    pub(super) subject: Subject,
    pub(super) mode: Mode,
    pub(super) reason: &'static str,
}

impl Handler<Get> for CacheActor {
    type Result = MessageResult<Get>;

    fn handle(&mut self, message: Get, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.tables.get(&message))
    }
}

impl Handler<GetMany> for CacheActor {
    type Result = MessageResult<GetMany>;

    fn handle(&mut self, message: GetMany, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.tables.get_many(&message))
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
