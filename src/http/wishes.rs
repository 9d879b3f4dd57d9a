//! What a request's `Cache-Control` asks of the cache (RFC 9111, 5.2.1).
//!
//! Nobody may be made to pay for a stranger's wish: what may cost an upstream call (`no-cache`, `max-age`)
//! is followed for clients with a key only, `only-if-cached` for all. Other directives, and what cannot be
//! read, are as if they were not there. A leaf.

use std::time::Duration;

use actix_web::http::header::{self, HeaderMap};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Nothing may be loaded for the answer.
    pub only_stored: bool,
    /// The client takes nothing that is older.
    no_older_than: Option<Duration>,
}

impl Wishes {
    pub(super) fn of(headers: &HeaderMap, has_key: bool) -> Self {
        let mut wishes = Self::default();
        let given = headers.get_all(header::CACHE_CONTROL).filter_map(|value| value.to_str().ok());
        for directive in given.flat_map(|list| list.split(',')) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let most = match name.trim().to_ascii_lowercase().as_str() {
                "only-if-cached" => {
                    wishes.only_stored = true;
                    continue;
                }
                "no-cache" => Some(0),
                "max-age" => value.trim().trim_matches('"').parse().ok(),
                _ => None,
            };
            if let Some(most) = most.map(Duration::from_secs).filter(|_| has_key) {
                let least = wishes.no_older_than.map_or(most, |known| known.min(most));
                wishes.no_older_than = Some(least);
            }
        }
        wishes
    }

    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an answer of this age is too old. At no age at all everything is.
    #[must_use]
    pub fn refuses(&self, age: Duration) -> bool {
        self.no_older_than.is_some_and(|most| most.is_zero() || age > most)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn of(value: &str, has_key: bool) -> Wishes {
        let value = HeaderValue::from_str(value).unwrap();
        Wishes::of(&[(header::CACHE_CONTROL, value)].into_iter().collect(), has_key)
    }

    #[test]
    fn a_key_may_ask_for_something_newer_and_a_stranger_may_not() {
        for (said, second, minute) in [
            ("no-cache", true, true),
            ("max-age=0", true, true),
            ("Max-Age = \"30\"", false, true),
            ("max-age=600, max-age=30", false, true),
            ("no-store, max-age=600", false, false),
            ("max-age=-1", false, false),
            ("max-age=99999999999999999999", false, false),
            ("no-cache-at-all", false, false),
            ("max-stale, min-fresh=9, ,=,", false, false),
        ] {
            let age = |seconds| Duration::from_secs(seconds);
            let refuses = |wishes: Wishes| (wishes.refuses(age(1)), wishes.refuses(age(60)));
            assert_eq!(refuses(of(said, true)), (second, minute), "{said}");
            assert_eq!(refuses(of(said, false)), (false, false), "{said}");
        }
    }

    #[test]
    fn all_may_ask_for_what_is_stored() {
        assert!(
            of("only-if-cached", false).only_stored && of("a, ONLY-IF-CACHED", true).only_stored
        );
        assert_eq!(Wishes::of(&HeaderMap::new(), true), Wishes::default());
    }
}
