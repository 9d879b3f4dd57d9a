//! What to ask the upstream for, and what to make of its answers.
//!
//! Owns: the forms clients fill in and their checks, products and their validation, quality, smart
//! search, links, categories, orders, the shapes of answers and the keys they are cached under.
//! Everything but [`service`] is a plain function of its arguments, without I/O, clock or chance.
//! For every operation there is a `request` (a valid query becomes an upstream call) and a `digest`
//! (the call's result becomes an answer); [`service`] joins them with cache and upstream. Refuses:
//! invalid input, naming every field and what is allowed. When the upstream is down the cache
//! answers; when neither can, a typed failure goes to the caller.

pub mod aliexpress;
pub mod answer;
pub mod catalogue;
pub mod categories;
pub mod check;
pub mod details;
pub mod dropped;
pub mod input;
pub mod invalid;
pub mod key;
pub mod last_resort;
pub mod links;
pub mod mark;
pub mod orders;
pub mod product;
pub mod quality;
pub mod query;
pub mod question;
pub mod search;
pub mod service;
pub mod simulator;
pub mod smart;
pub mod smart_match;
pub mod smart_query;
pub mod tags;

pub use invalid::InvalidField;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
