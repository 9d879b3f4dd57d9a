//! Words that stand in paths, as the document describes them.
//!
//! Owns: the words. Handlers read them themselves; nothing is read with these.

use utoipa::ToSchema;

/// What can be done with a breaker.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum BreakerAction {
    /// Refuse every call until closed or reset.
    Open,
    /// Let calls flow.
    Close,
    /// Let calls flow and forget what was counted.
    Reset,
}

/// A fault that can be asked for.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Fault {
    /// Panic in the next message.
    Panic,
    /// Stop.
    Stop,
    /// Do nothing for a while.
    Hang,
}
