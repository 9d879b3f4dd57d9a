//! The inverted index: from a word to the products that have it.
//!
//! Owns: matching of keywords the way a shop does it. Products with all the words match; when no
//! product has all of them, those that share the most words match, if that is at least half of
//! them. Built once; a look-up costs the length of the lists of its words. Has no neighbour.

use std::collections::HashMap;

use super::words::words;

/// More different words than this in one search are not looked at.
const MOST_WORDS: usize = 64;

/// For each word the products that have it, ascending.
#[derive(Debug, Default)]
pub(crate) struct Index {
    lists: HashMap<String, Vec<usize>>,
    products: usize,
}

impl Index {
    /// Builds the index of these texts; a product is its place in them.
    pub(crate) fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut index = Self::default();
        for text in texts {
            for word in words(text) {
                let list = index.lists.entry(word).or_default();
                if list.last() != Some(&index.products) {
                    list.push(index.products);
                }
            }
            index.products += 1;
        }
        index
    }

    /// Products that match `keywords`, ascending; `None` when there is no word in them.
    pub(crate) fn matching(&self, keywords: &str) -> Option<Vec<usize>> {
        let asked = distinct(keywords);
        if asked.is_empty() {
            return None;
        }
        let shares = self.count(asked.iter().filter_map(|word| self.lists.get(word)));
        let most = shares.iter().copied().max().unwrap_or(0);
        if most == 0 || usize::from(most) * 2 < asked.len() {
            return Some(Vec::new());
        }
        let with_most = shares.iter().enumerate().filter(|(_, share)| **share == most);
        Some(with_most.map(|(at, _)| at).collect())
    }

    /// Products that share any telling word with `text`, the most words first. A word that more
    /// than a tenth of the products have tells nothing.
    pub(crate) fn sharing_words(&self, text: &str) -> Vec<usize> {
        let telling = |list: &&Vec<usize>| list.len() <= self.products / 10 + 1;
        let asked = distinct(text);
        let lists = asked.iter().filter_map(|word| self.lists.get(word)).filter(telling);
        let shares = self.count(lists);
        let mut found: Vec<(u8, usize)> = shares
            .iter()
            .enumerate()
            .filter(|(_, share)| **share > 0)
            .map(|(at, n)| (*n, at))
            .collect();
        found.sort_by_key(|(share, at)| (std::cmp::Reverse(*share), *at));
        found.into_iter().map(|(_, at)| at).collect()
    }

    /// For every product, how many of the lists it is on.
    fn count<'a>(&self, lists: impl Iterator<Item = &'a Vec<usize>>) -> Vec<u8> {
        let mut shares = vec![0_u8; self.products];
        for list in lists {
            for &at in list {
                if let Some(share) = shares.get_mut(at) {
                    *share = share.saturating_add(1);
                }
            }
        }
        shares
    }
}

fn distinct(text: &str) -> Vec<String> {
    let mut found = words(text);
    found.sort_unstable();
    found.dedup();
    found.truncate(MOST_WORDS);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        Index::of(
            ["red usb cable", "usb cable", "red usb lamp", "green tea", "Usb USB hub"].into_iter(),
        )
    }

    #[test]
    fn all_words_first() {
        assert_eq!(index().matching("CABLES usb"), Some(vec![0, 1]));
        assert_eq!(index().matching("usb usb"), Some(vec![0, 1, 2, 4]));
    }

    #[test]
    fn then_most_words_but_at_least_half() {
        assert_eq!(index().matching("red usb stapler"), Some(vec![0, 2]));
        assert_eq!(index().matching("green stapler"), Some(vec![3]));
        assert_eq!(index().matching("green stapler thing"), Some(vec![]));
        assert_eq!(index().matching("stapler"), Some(vec![]));
    }

    #[test]
    fn nothing_asked_is_not_nothing_found() {
        assert_eq!(index().matching(" !"), None);
        assert_eq!(Index::default().matching("usb"), Some(vec![]));
    }

    #[test]
    fn likeness_is_by_telling_words() {
        let texts: Vec<String> =
            (0..20).map(|n| format!("thing {}", if n < 2 { "lamp" } else { "other" })).collect();
        let index = Index::of(texts.iter().map(String::as_str));
        assert_eq!(index.sharing_words("thing lamp"), [0, 1]);
    }
}
