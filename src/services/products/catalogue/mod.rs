//! A catalogue of products: read from a file, found by words, categories and prices.
//!
//! Owns: everything a catalogue holds, read once at the start and never changed after, so every thread
//! reads it without a lock. The simulator serves one as if it were the upstream's; the gateway may hold
//! one to answer from when everything else has failed. Refuses: a file that cannot be read to its end,
//! and one without a single good line. It has no neighbour that could be down.

mod index;
mod load;
pub(crate) mod money;
mod product;
mod search;

pub use load::{LoadReport, SkippedLine};
pub(crate) use product::{Categories, Category, Price, Product};
pub(crate) use search::{Bounds, Catalogue, Query, Sort};

#[cfg(test)]
mod tests;
