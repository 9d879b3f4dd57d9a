//! Query strings of searches that were read before.
//!
//! Owns: a bounded memo a worker, from the raw query string to the checked search and its keys, so
//! that a popular search is parsed, checked and hashed once. Refuses: to remember what is long or
//! wrong; both are read each time.

use std::cell::RefCell;

use cached::{Cached, LruCache};

use super::error::ApiError;
use crate::services::products::aliexpress::methods::Target;
use crate::services::products::input;
use crate::services::products::query::{self, RawSearch};
use crate::services::products::search::{Among, Prepared};

/// Searches remembered for each place to search.
const REMEMBERED: usize = 2_048;
/// Longest query string that is remembered, in bytes.
const LONGEST: usize = 512;

/// The memo of one worker.
pub struct PreparedSearches {
    all: RefCell<LruCache<String, Prepared>>,
    hot: RefCell<LruCache<String, Prepared>>,
}

impl Default for PreparedSearches {
    fn default() -> Self {
        let memo = || RefCell::new(LruCache::new(REMEMBERED));
        Self { all: memo(), hot: memo() }
    }
}

impl PreparedSearches {
    /// The search that a query string asks for.
    ///
    /// # Errors
    /// Every field that is not as allowed.
    pub fn of(&self, text: &str, among: Among, defaults: &Target) -> Result<Prepared, ApiError> {
        let memo = match among {
            Among::All => &self.all,
            Among::Hot => &self.hot,
        };
        if let Some(prepared) = memo.borrow_mut().cache_get(text) {
            return Ok(prepared.clone());
        }
        let raw: RawSearch = input::from_query(text)?;
        let prepared = Prepared::new(query::validate(&raw, defaults)?, among);
        if text.len() <= LONGEST {
            memo.borrow_mut().cache_set(text.to_owned(), prepared.clone());
        }
        Ok(prepared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::products::aliexpress::terms::{Currency, Language};

    fn defaults() -> Target {
        Target { currency: Currency::USD, language: Language::EN, ship_to: None, tracking_id: None }
    }

    #[test]
    fn the_second_reading_is_the_first() {
        let memo = PreparedSearches::default();
        let read = |text, among| memo.of(text, among, &defaults()).unwrap();
        let first = read("keywords=usb", Among::All);
        assert_eq!(first.key, read("keywords=usb", Among::All).key);
        assert_ne!(first.key, read("keywords=usb", Among::Hot).key);
        assert_ne!(first.key, read("keywords=usc", Among::All).key);
        assert_eq!(memo.all.borrow().cache_size(), 2);
    }

    #[test]
    fn what_is_wrong_or_long_is_not_remembered() {
        let memo = PreparedSearches::default();
        assert!(memo.of("page_no=0", Among::All, &defaults()).is_err());
        let long = format!("keywords=usb&unknown={}", "x".repeat(LONGEST));
        assert!(memo.of(&long, Among::All, &defaults()).is_ok());
        assert_eq!(memo.all.borrow().cache_size(), 0);
    }
}
