//! The stops of a request; `pipeline.rs` lists them in order.

pub mod admin_key;
pub(super) mod answer;
pub(super) mod caller;
pub(super) mod rate_limit;
pub(super) mod record;
pub(super) mod storing;
