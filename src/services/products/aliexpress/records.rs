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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

    /// Whether a page without records is one that is not served. Counts promise more pages than there
    /// are (some searches count 50,000 and serve 10,000), so of any page but the first an empty list is
    /// believed. One that lost its list says so by its number or by its own count.
    fn is_past_the_end(&self, result: &Value, page: u64) -> bool {
        let page = page.max(read::id(result, "current_page_no").unwrap_or(page));
        let last = read::id(result, "total_page_no");
        let is_believed = match read::count(result, "current_record_count") {
            Some(records) => records == 0,
            None => self.is_there(result),
        };
        page > 1 && (is_believed || last.is_some_and(|last| page > last))
    }

    /// What the `result` of a call for this page holds, the first being 1.
    #[must_use]
    pub fn contents(&self, result: &Value, page: u64) -> Contents {
        let items = self.list(result);
        if items.iter().any(|item| self.has(item)) {
            return Contents::Records;
        }
        if !items.is_empty() {
            let count = items.len();
            return Contents::Hollow(format!("none of {count} {} can be read", self.outer));
        }
        match COUNTS.iter().filter_map(|count| read::count(result, count)).max() {
            Some(promised) if promised > 0 && !self.is_past_the_end(result, page) => {
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
