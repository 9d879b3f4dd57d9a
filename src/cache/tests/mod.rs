//! The cache as its clients see it: real tables, real actor, a loader that is made up.

mod deadlines;
pub(in crate::cache) mod fixture;
mod invalidation;
mod loads;
mod many;
mod staleness;
mod survey;
mod warming;
