//! From the words that somebody types to the products that have them.
//!
//! Owns: what a word is, which products have it, and what is meant by a word that none has: two that
//! belong together ("tshirt", "head phones") or one with a slip of the finger ("lapm"). Has no neighbour.

use std::cmp::Reverse;
use std::collections::HashMap;

/// More different words than this in one search are not looked at.
const MOST_WORDS: usize = 64;
/// Of so many words of a search the spelling is looked at: each costs a look at every word there is.
const MOST_SLIPS: usize = 4;
/// Shorter words have too many neighbours.
const SHORTEST_SLIP: usize = 4;

/// A product that has a word, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Occurrence {
    place: u32,
    in_title: bool,
}

/// A product that was found, and how many of the words its title has. The last word counts twice: it
/// names the thing, and those before it say which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) place: usize,
    pub(super) in_title: usize,
}

/// For each word the products that have it, places ascending.
#[derive(Debug, Default)]
pub(super) struct Index {
    words: HashMap<String, Vec<Occurrence>>,
    products: u32,
}

impl Index {
    /// Of the title of each product, and of what else it is found by.
    pub(super) fn of<'a>(texts: impl Iterator<Item = (&'a str, String)>) -> Self {
        let mut index = Self::default();
        for (title, more) in texts {
            for (text, in_title) in [(title, true), (&more, false)] {
                for word in words(text) {
                    let all = index.words.entry(word).or_default();
                    if all.last().is_none_or(|last| last.place != index.products) {
                        all.push(Occurrence { place: index.products, in_title });
                    }
                }
            }
            index.products += 1;
        }
        index
    }

    /// Products with all the words; when no product has all of them, those that share the most, if
    /// that is at least half of them. Nothing for a text without a word. Places ascend.
    pub(super) fn matching(&self, keywords: &str) -> Vec<Found> {
        let asked = words(keywords);
        let mut slips = MOST_SLIPS;
        let lists = (0..asked.len()).flat_map(|at| {
            let weight = if at + 1 == asked.len() { 2 } else { 1 };
            self.meant(&asked, at, &mut slips).into_iter().map(move |one| (one, weight))
        });
        let shared = counted(lists);
        let most = shared.values().map(|(words, _)| *words).max().unwrap_or(0);
        if most * 2 < asked.len() {
            return Vec::new();
        }
        let best = shared.into_iter().filter(|(_, (words, _))| *words == most);
        let mut found: Vec<_> =
            best.map(|(place, (_, in_title))| Found { place, in_title }).collect();
        found.sort_unstable_by_key(|found| found.place);
        found
    }

    /// Places of products that share any telling word with `text`, the most words first. A word that
    /// more than a tenth of the products have tells nothing.
    pub(super) fn like(&self, text: &str) -> Vec<usize> {
        let most = usize::try_from(self.products / 10 + 1).unwrap_or(usize::MAX);
        let words = words(text);
        let lists = words.iter().filter_map(|word| self.words.get(word));
        let telling = lists.filter(|list| list.len() <= most).flatten();
        let shared = counted(telling.map(|one| (*one, 1)));
        let mut found: Vec<_> = shared.into_iter().map(|(at, (words, _))| (at, words)).collect();
        found.sort_by_key(|(at, words)| (Reverse(*words), *at));
        found.into_iter().map(|(at, _)| at).collect()
    }

    /// The products that are meant by one of the words asked for.
    fn meant(&self, asked: &[String], at: usize, slips: &mut usize) -> Vec<Occurrence> {
        let pair = |first: usize| match asked.get(first..)? {
            [one, two, ..] => self.words.get(&format!("{one}{two}")),
            _ => None,
        };
        let own = asked.get(at).and_then(|word| self.words.get(word));
        let joined = [at.checked_sub(1).and_then(pair), pair(at)];
        let known: Vec<_> = [own].into_iter().chain(joined).flatten().collect();
        if !known.is_empty() {
            return merged(&known);
        }
        let Some(word) = asked.get(at) else { return Vec::new() };
        let split = self.split(word);
        if !split.is_empty() || *slips == 0 {
            return split;
        }
        *slips -= 1;
        self.slip(word).cloned().unwrap_or_default()
    }

    /// The products with both halves of a word, divided where the most products have both.
    fn split(&self, word: &str) -> Vec<Occurrence> {
        let halves = word.char_indices().skip(1).filter_map(|(at, _)| word.split_at_checked(at));
        let both = halves.filter_map(|(first, second)| {
            let (first, second) = (self.words.get(first)?, self.words.get(second)?);
            let has = |one: &Occurrence| second.binary_search_by_key(&one.place, |it| it.place);
            Some(first.iter().filter(|one| has(one).is_ok()).copied().collect::<Vec<_>>())
        });
        both.max_by_key(Vec::len).unwrap_or_default()
    }

    /// The products of the word that is one slip away: with the same first letter if there is one, and
    /// of several the one that most products have.
    fn slip(&self, word: &str) -> Option<&Vec<Occurrence>> {
        if word.chars().count() < SHORTEST_SLIP || word.contains(char::is_numeric) {
            return None;
        }
        // A letter has at most four bytes.
        let like = |known: &str| known.len().abs_diff(word.len()) <= 4 && is_one_slip(word, known);
        let near = self.words.iter().filter(|(known, _)| like(known));
        let best = near.max_by_key(|(known, list)| {
            (known.chars().next() == word.chars().next(), list.len(), Reverse(*known))
        });
        best.map(|(_, list)| list)
    }
}

/// Of each product how many of the lists it is in, and the weights of those that it is in by its title.
fn counted(lists: impl Iterator<Item = (Occurrence, usize)>) -> HashMap<usize, (usize, usize)> {
    let mut shared = HashMap::<_, (usize, usize)>::new();
    for (Occurrence { place, in_title }, weight) in lists {
        let (words, titles) =
            shared.entry(usize::try_from(place).unwrap_or(usize::MAX)).or_default();
        *words += 1;
        *titles += if in_title { weight } else { 0 };
    }
    shared
}

/// Every product of the lists once.
fn merged(lists: &[&Vec<Occurrence>]) -> Vec<Occurrence> {
    let mut all: Vec<Occurrence> = lists.iter().copied().flatten().copied().collect();
    if lists.len() > 1 {
        all.sort_unstable_by_key(|one| (one.place, Reverse(one.in_title)));
        all.dedup_by_key(|one| one.place);
    }
    all
}

/// Whether one letter was added, left out or mistaken, or two were swapped.
fn is_one_slip(typed: &str, meant: &str) -> bool {
    let is_same = |(left, right): &(char, char)| left == right;
    let before =
        typed.chars().zip(meant.chars()).take_while(is_same).map(|(one, _)| one.len_utf8());
    let before = before.sum::<usize>();
    let (typed, meant) =
        (typed.get(before..).unwrap_or_default(), meant.get(before..).unwrap_or_default());
    let after = typed.chars().rev().zip(meant.chars().rev()).take_while(is_same);
    let after = after.count();
    let left = |text: &str| text.chars().count() - after;
    match (left(typed), left(meant)) {
        (0 | 1, 1) | (1, 0) => true,
        (2, 2) => {
            let (mut typed, mut meant) = (typed.chars(), meant.chars());
            let (first, second) = (typed.next(), typed.next());
            (second, first) == (meant.next(), meant.next())
        }
        _ => false,
    }
}

/// The different words of a text, in lower case and singular, in the order in which they come.
fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase().replace(['\'', '’'], "");
    let mut words = Vec::new();
    for word in text.split(|letter: char| !letter.is_alphanumeric()).filter(|one| !one.is_empty()) {
        let word = singular(word);
        if words.len() < MOST_WORDS && !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// Drops the plural's ending; what is left need not be a word, only be the same on both sides.
fn singular(word: &str) -> String {
    let ends = |word: &str| ["ss", "x", "z", "ch", "sh"].iter().any(|end| word.ends_with(end));
    match word.strip_suffix('s').filter(|_| word.len() > 3 && !word.ends_with("ss")) {
        None => word.to_owned(),
        Some(rest) => match (rest.strip_suffix("ie"), rest.strip_suffix('e')) {
            (Some(stem), _) if stem.len() > 1 => format!("{stem}y"),
            (_, Some(stem)) if ends(stem) => stem.to_owned(),
            _ => rest.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(texts: &[&str]) -> Index {
        Index::of(texts.iter().map(|text| (*text, String::new())))
    }

    fn places(index: &Index, keywords: &str) -> Vec<usize> {
        index.matching(keywords).iter().map(|found| found.place).collect()
    }

    #[test]
    fn titles_and_keywords_agree() {
        assert_eq!(words("USB-C Cables, 2m usb"), ["usb", "c", "cable", "2m"]);
        assert_eq!(words("glass dresses is"), ["glass", "dress", "is"]);
        assert_eq!(words("Men's watches, batteries"), ["men", "watch", "battery"]);
        assert_eq!(words("ÉCOUTEURS"), words("écouteur"));
        assert!(words(" \u{0}—!? 🎧👍🏽").is_empty());
    }

    #[test]
    fn all_words_first_then_most_words_but_at_least_half() {
        let index = index(&["red usb cable", "usb cable", "red usb lamp", "green tea", "Usb hub"]);
        assert_eq!(places(&index, "CABLES usb"), [0, 1]);
        assert_eq!(places(&index, "usb usb"), [0, 1, 2, 4]);
        assert_eq!(places(&index, "red usb stapler"), [0, 2]);
        assert_eq!(places(&index, "green stapler"), [3]);
        assert!(places(&index, "green stapler thing").is_empty());
        assert!(places(&index, " !").is_empty());
        assert!(places(&Index::default(), "usb").is_empty());
    }

    #[test]
    fn words_are_found_joined_and_divided() {
        let index = index(&["Cotton T-Shirt", "Linen Shirt", "Headphones", "Power Bank", "Head"]);
        for (keywords, found) in [
            ("tshirt", &[0][..]),
            ("T-shirts", &[0]),
            ("head phones", &[2]),
            ("powerbanks", &[3]),
            ("head", &[4]),
            // Both halves are there, and no product has both.
            ("cottonbank", &[]),
        ] {
            assert_eq!(places(&index, keywords), found, "{keywords}");
        }
    }

    #[test]
    fn one_slip_of_the_finger_is_forgiven_where_no_product_has_the_word() {
        let index = index(&["Lamp", "Headphones K100", "Shoes", "Running shoes", "Hose", "Café"]);
        for (keywords, found) in [
            ("lapm", &[0][..]),
            ("lam", &[]),
            ("hedphones", &[1]),
            ("headphonnes", &[1]),
            ("heafphones", &[1]),
            ("hedfones", &[]),
            ("k101", &[]),
            // A shoe, by the first letter; the hose is as near.
            ("shose", &[2, 3]),
            ("hose", &[4]),
            ("cafe", &[5]),
            ("lapm hedphones", &[0, 1]),
        ] {
            assert_eq!(places(&index, keywords), found, "{keywords}");
        }
    }

    #[test]
    fn slips() {
        for (typed, meant, is) in [
            ("lapm", "lamp", true),
            ("lmp", "lamp", true),
            ("llamp", "lamp", true),
            ("lump", "lamp", true),
            ("lamp", "lamp", false),
            ("lpam", "lamp", false),
            ("plam", "lamp", false),
            ("", "a", true),
            ("aa", "aaa", true),
            ("é", "e", true),
        ] {
            assert_eq!(is_one_slip(typed, meant), is, "{typed} {meant}");
            assert_eq!(is_one_slip(meant, typed), is, "{meant} {typed}");
        }
    }

    #[test]
    fn likeness_is_by_telling_words() {
        let texts = (0..20).map(|n| (if n < 2 { "thing lamp" } else { "thing" }, "other".into()));
        assert_eq!(Index::of(texts).like("thing lamp"), [0, 1]);
    }
}
