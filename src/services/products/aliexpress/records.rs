//! Whether a `result` holds what its method is asked for.
//!
//! Owns: where the records of an answer lie, and the difference between "there is nothing" and an
//! answer that lost its list. Refuses: to take the latter for the former; a search whose products
//! are missing would otherwise be kept as one that finds none.

use serde_json::Value;

use super::read;

/// What a `result` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// At least one record that can be told from others, and used.
    Records,
    /// It says that there are none.
    Nothing,
    /// Neither; why, for the log.
    Hollow(String),
}

/// Where the records of a method lie, and what makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Records {
    /// The list is under `outer.inner`.
    pub outer: &'static str,
    pub inner: &'static str,
    /// Fields that must be ids.
    pub ids: &'static [&'static str],
    /// Fields that must be texts: one of each group.
    pub texts: &'static [&'static [&'static str]],
}

impl Records {
    /// Products with what nobody can buy without; whatever else is missing is missing.
    pub const PRODUCTS: Self = Self {
        outer: "products",
        inner: "product",
        ids: &["product_id"],
        texts: &[&["product_title"], &["target_sale_price", "sale_price"]],
    };

    /// The records in a `result`.
    #[must_use]
    pub fn list<'a>(&self, result: &'a Value) -> Vec<&'a Value> {
        read::list(result, self.outer, self.inner)
    }

    fn has(&self, item: &Value) -> bool {
        let is_text = |name: &&str| read::text(item, name).is_some();
        self.ids.iter().all(|name| read::id(item, name).is_some())
            && self.texts.iter().all(|names| names.iter().any(is_text))
    }

    /// Whether the list is there, be it empty, in any form that [`read::list`] reads.
    fn is_there(&self, result: &Value) -> bool {
        if result.is_array() {
            return true;
        }
        let Some(outer) = result.get(self.outer).or_else(|| result.get(self.inner)) else {
            return false;
        };
        let list = outer.get(self.inner).unwrap_or(outer);
        list.is_array() || list.is_object()
    }

    /// What a `result` holds.
    #[must_use]
    pub fn contents(&self, result: &Value) -> Contents {
        let items = self.list(result);
        if items.iter().any(|item| self.has(item)) {
            return Contents::Records;
        }
        if !items.is_empty() {
            let count = items.len();
            return Contents::Hollow(format!("none of {count} {} can be read", self.outer));
        }
        match COUNTS.iter().filter_map(|count| read::count(result, count)).max() {
            Some(promised) if promised > 0 && !is_past_the_end(result) => {
                Contents::Hollow(format!("{promised} {} promised, none there", self.outer))
            }
            Some(_) => Contents::Nothing,
            None if self.is_there(result) => Contents::Nothing,
            None => Contents::Hollow(format!("a result without {}", self.outer)),
        }
    }
}

/// The counts beside a list, any of which says how many there should be.
const COUNTS: [&str; 3] = ["total_record_count", "total_result_count", "current_record_count"];

/// A page behind the last is empty whatever the counts say.
fn is_past_the_end(result: &Value) -> bool {
    let page = read::id(result, "current_page_no");
    let last = read::id(result, "total_page_no");
    page.zip(last).is_some_and(|(page, last)| page > last)
}
