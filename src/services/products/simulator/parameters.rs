//! The parameters of one call, wherever they were sent.
//!
//! Owns: reading query string and form body into one sorted set, and reading single values with
//! the gateway's own complaints. Refuses: a name sent twice (which of the two was signed would be
//! anybody's guess). Empty values count as not sent, as upstream, and so do the words that clients make
//! of a value that is not set; these are signed all the same. Has no neighbour.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::RangeInclusive;

use url::form_urlencoded;

use super::refusal::Refusal;
use crate::services::products::catalogue::money::Currency;

/// What a value that is not set becomes when it is written as text.
const NOTHING: [&str; 5] = ["None", "null", "undefined", "NaN", "<nil>"];

/// The sent set: every parameter with a value, sorted by name.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    sent: BTreeMap<String, String>,
    repeated: Option<String>,
}

impl Parameters {
    /// Reads both places; anything unreadable becomes a value that no signature fits.
    pub(super) fn read(query: &str, body: &[u8]) -> Self {
        let mut read = Self::default();
        let pairs = form_urlencoded::parse(query.as_bytes()).chain(form_urlencoded::parse(body));
        for (name, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            match read.sent.entry(name.into_owned()) {
                Entry::Vacant(place) => {
                    place.insert(value.into_owned());
                }
                Entry::Occupied(known) => {
                    read.repeated.get_or_insert_with(|| known.key().clone());
                }
            }
        }
        read
    }

    pub(super) fn repeated(&self) -> Option<&str> {
        self.repeated.as_deref()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.sent.get(name).map(String::as_str);
        value.filter(|value| !NOTHING.contains(value))
    }

    /// Every pair but the signature itself, sorted by name.
    pub(super) fn signed(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.sent.iter().filter(|(name, _)| *name != "sign");
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::missing(name))
    }

    pub(super) fn integer(
        &self,
        name: &str,
        default: usize,
        allowed: RangeInclusive<usize>,
    ) -> Result<usize, Refusal> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let value = text.parse().ok().filter(|value| allowed.contains(value));
        value.ok_or_else(|| {
            let range = format!("a whole number from {} to {}", allowed.start(), allowed.end());
            Refusal::invalid(name, &range)
        })
    }

    /// A price bound: a whole number of the currency's smallest unit.
    pub(super) fn smallest_units(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let expected = "a whole number of the currency's smallest unit";
        text.parse().map(Some).map_err(|_| Refusal::invalid(name, expected))
    }

    pub(super) fn one_of(&self, name: &str, allowed: &[&str]) -> Result<Option<&str>, Refusal> {
        match self.get(name) {
            Some(value) if !allowed.contains(&value) => {
                Err(Refusal::invalid(name, &format!("one of {}", allowed.join(", "))))
            }
            value => Ok(value),
        }
    }

    /// A list separated by commas, blanks around its members dropped.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        let whole = self.get(name).unwrap_or_default();
        whole.split(',').map(str::trim).filter(|member| !member.is_empty()).collect()
    }

    pub(super) fn identifiers(&self, name: &str) -> Result<Vec<u64>, Refusal> {
        let read = self.list(name).into_iter().map(str::parse).collect::<Result<_, _>>();
        read.map_err(|_| Refusal::invalid(name, "whole numbers separated by commas"))
    }

    /// `target_currency`, US dollars where nothing is said.
    pub(super) fn currency(&self) -> Result<Currency, Refusal> {
        let code = self.one_of("target_currency", &Currency::target_codes())?;
        Ok(code.and_then(Currency::named).unwrap_or(Currency::DOLLAR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_places_make_one_sorted_set_without_the_signature() {
        let read = Parameters::read("sign=X&b=2&empty=", b"a=usb+cable%21&c=%D1%8F");
        let signed: Vec<_> = read.signed().collect();
        assert_eq!(signed, [("a", "usb cable!"), ("b", "2"), ("c", "я")]);
        assert_eq!(read.get("sign"), Some("X"));
        assert_eq!(read.get("empty"), None);
        assert_eq!(read.repeated(), None);
    }

    #[test]
    fn words_that_mean_nothing_are_signed_and_not_read() {
        let read = Parameters::read("delivery_days=None&keywords=null&page_no=undefined", b"");
        assert_eq!(read.signed().count(), 3);
        assert_eq!(read.get("keywords"), None);
        assert_eq!(read.one_of("delivery_days", &["3"]), Ok(None));
        assert_eq!(read.integer("page_no", 1, 1..=50), Ok(1));
        assert!(read.required("keywords").is_err());
        assert_eq!(Parameters::read("keywords=none", b"").get("keywords"), Some("none"));
    }

    #[test]
    fn a_name_sent_twice_is_noticed() {
        assert_eq!(Parameters::read("a=1", b"a=1").repeated(), Some("a"));
    }

    #[test]
    fn values_are_read_with_the_gateways_complaints() {
        let read = Parameters::read("page_no=0&ids=1,+2,,3&bound=3.14&target_currency=CNY", b"");
        assert!(read.integer("page_no", 1, 1..=50).is_err());
        assert_eq!(read.integer("page_size", 20, 1..=50), Ok(20));
        assert_eq!(read.identifiers("ids"), Ok(vec![1, 2, 3]));
        assert!(read.smallest_units("bound").is_err());
        assert!(read.currency().is_err());
        assert_eq!(read.required("nothing"), Err(Refusal::missing("nothing")));
        assert!(read.one_of("page_no", &["1", "2"]).is_err());
    }

    #[test]
    fn unreadable_bytes_are_no_panic() {
        let read = Parameters::read("%zz=%", b"\xff\xfe=\xff&=&&&==");
        assert!(read.signed().count() <= 3);
    }
}
