//! What the `result` of an AliExpress answer says, read without trusting its shape.
//!
//! Owns: every way the same thing is spelled (a list under a key of its own or bare, one object
//! for a list of one, numbers as strings and strings as numbers, anything missing). Refuses
//! nothing and never panics: what cannot be read is `None` or left out, and the code that makes products
//! of it decides whether that is enough. Ids are exact up to 64 bits; a number that lost digits on
//! its way (a float beyond 2^53) is no id.

mod contents;
mod lists;
mod product;
pub mod read;

pub use contents::{Contents, contents};
pub use lists::{Category, Link, Order, OrderPage, category_list, link_list, order_page};
pub use product::{CategoryName, Money, Product, ProductPage, product_page};

#[cfg(test)]
mod tests;
