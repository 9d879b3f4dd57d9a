//! What to ask the upstream for, and what to make of its answers.
//!
//! Owns: the forms clients fill in and their checks, products and their validation, quality, smart
//! search, links, categories, orders, the shapes of answers and the keys they are cached under.
//! Everything here is a plain function of its arguments, without I/O, clock or chance. For every
//! operation there is a `request` (a valid query becomes an upstream call) and a `digest` (the
//! call's result becomes an answer). Refuses: invalid input, naming every field and what is
//! allowed. When the upstream or the cache is down nothing here notices.

pub mod answer;
pub mod categories;
pub mod check;
pub mod details;
pub mod dropped;
pub mod input;
pub mod invalid;
pub mod key;
pub mod links;
pub mod orders;
pub mod product;
pub mod quality;
pub mod query;
pub mod search;
pub mod smart;
pub mod smart_match;
pub mod smart_query;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
