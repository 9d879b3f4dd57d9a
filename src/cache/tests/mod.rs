//! The cache as its clients see it: real tables, real actor, a loader that is made up.

mod deadlines;
mod invalidation;
mod loads;
mod many;
pub(in crate::cache) mod stage;
mod staleness;
mod warming;
