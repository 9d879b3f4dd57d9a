//! Which series a family has: its labels, and the words that may stand in them.
//!
//! Owns: the list of families as it was declared, and the words of each set as rooms name them. Every series
//! whose words are known exists from then on, at 0: a counter whose first value is 1 has no increase.
//! A family whose series nobody can name beforehand says why. Nothing here can fail.

use std::collections::BTreeMap;
use std::fmt;

/// Words that are known when the process has started, by those who bring them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Set {
    Actors,
    /// Owners of tasks, actors among them.
    Tasks,
    /// Upstream credentials.
    Accounts,
    Breakers,
    /// What can be asked of an upstream.
    Operations,
    Outcomes,
    /// Kinds of cache entries.
    CacheTypes,
    /// Tiers behind memory, as far as they are configured.
    Stores,
    /// What holds a load back.
    Holds,
    Invalidations,
    /// Classes of routes.
    Classes,
    /// What refuses in a limiter.
    Rules,
    AbusePatterns,
    AbuseModes,
    AdminRefusals,
    DeniedBy,
    /// What sheds requests.
    Shed,
    /// What was refused before it was a request.
    Unread,
    /// What ends a connection.
    Cut,
    /// Why spans are dropped.
    SpanDrops,
    /// What a statement of the database does.
    QueryTypes,
}

/// What may stand in a label: the words of a set, and some more.
#[derive(Debug, Clone)]
pub struct Words {
    set: Option<Set>,
    more: Vec<&'static str>,
}

impl Words {
    pub const fn of(set: Set) -> Self {
        Self { set: Some(set), more: Vec::new() }
    }

    pub fn these(words: impl IntoIterator<Item = &'static str>) -> Self {
        Self { set: None, more: words.into_iter().collect() }
    }

    pub fn and(mut self, word: &'static str) -> Self {
        self.more.push(word);
        self
    }
}

/// A family as an operator may know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Without the `_total` of a counter.
    pub name: &'static str,
    /// Its labels; none when it is a single series.
    pub labels: Vec<&'static str>,
    pub series: Series,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Series {
    /// All of them, each with the values of its labels.
    Bounded(Vec<Vec<&'static str>>),
    /// They come with what they count, and why.
    Open(&'static str),
}

/// Makes the series with these values, in the order of the labels.
type Make = Box<dyn Fn(&[&'static str]) + Send>;

struct Family {
    name: &'static str,
    labels: Vec<&'static str>,
    kind: Kind,
}

enum Kind {
    Bounded { words: Vec<Words>, make: Make },
    Open(&'static str),
}

#[derive(Default)]
pub(super) struct Catalogue {
    families: Vec<Family>,
    words: BTreeMap<Set, Vec<&'static str>>,
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

impl Catalogue {
    pub(super) fn bounded(
        &mut self,
        name: &'static str,
        labels: Vec<(&'static str, Words)>,
        make: Make,
    ) {
        let (labels, words) = labels.into_iter().unzip();
        let family = Family { name, labels, kind: Kind::Bounded { words, make } };
        family.fill(&self.words);
        self.families.push(family);
    }

    pub(super) fn open(&mut self, name: &'static str, labels: &[&'static str], why: &'static str) {
        self.families.push(Family { name, labels: labels.to_vec(), kind: Kind::Open(why) });
    }

    /// These words belong to the set from now on.
    pub(super) fn add(&mut self, set: Set, words: impl IntoIterator<Item = &'static str>) {
        let known = self.words.entry(set).or_default();
        let before = known.len();
        for word in words {
            if !known.contains(&word) {
                known.push(word);
            }
        }
        if known.len() > before {
            self.families.iter().filter(|one| one.names(set)).for_each(|one| one.fill(&self.words));
        }
    }

    pub(super) fn list(&self) -> Vec<Listed> {
        let listed = |family: &Family| Listed {
            name: family.name,
            labels: family.labels.clone(),
            series: match &family.kind {
                Kind::Bounded { words, .. } => Series::Bounded(combined(words, &self.words)),
                Kind::Open(why) => Series::Open(why),
            },
        };
        self.families.iter().map(listed).collect()
    }
}

impl Family {
    fn names(&self, set: Set) -> bool {
        let Kind::Bounded { words, .. } = &self.kind else { return false };
        words.iter().any(|words| words.set == Some(set))
    }

    fn fill(&self, known: &BTreeMap<Set, Vec<&'static str>>) {
        if let Kind::Bounded { words, make } = &self.kind {
            combined(words, known).iter().for_each(|values| make(values));
        }
    }
}

/// Every combination of what may stand in the labels.
fn combined(labels: &[Words], known: &BTreeMap<Set, Vec<&'static str>>) -> Vec<Vec<&'static str>> {
    labels.iter().fold(vec![Vec::new()], |before, label| {
        let of_set = label.set.and_then(|set| known.get(&set)).into_iter().flatten();
        let words: Vec<&'static str> = of_set.chain(&label.more).copied().collect();
        let with = |values: Vec<&'static str>| {
            words.iter().map(move |word| [values.as_slice(), &[*word]].concat())
        };
        before.into_iter().flat_map(with).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    type Made = Arc<Mutex<Vec<String>>>;

    fn noting(made: &Made) -> Make {
        let made = Arc::clone(made);
        Box::new(move |values| made.lock().unwrap().push(values.join("/")))
    }

    #[test]
    fn a_series_is_made_when_all_its_words_are_known() {
        let (mut catalogue, made) = (Catalogue::default(), Made::default());
        let labels = vec![
            ("actor", Words::of(Set::Actors)),
            ("reason", Words::these(["panic"]).and("stop")),
        ];
        catalogue.bounded("restarts", labels, noting(&made));
        assert!(made.lock().unwrap().is_empty());
        catalogue.add(Set::Actors, ["cache"]);
        assert_eq!(*made.lock().unwrap(), ["cache/panic", "cache/stop"]);
        catalogue.add(Set::Actors, ["cache"]);
        catalogue.add(Set::Stores, ["memory"]);
        assert_eq!(made.lock().unwrap().len(), 2, "nothing new");
        catalogue.bounded("up", vec![("actor", Words::of(Set::Actors))], noting(&made));
        assert_eq!(
            made.lock().unwrap().last().unwrap(),
            "cache",
            "words come before families, too"
        );
        catalogue.open("requests", &["route"], "for a reason");
        let listed = catalogue.list();
        assert_eq!(
            listed[0].series,
            Series::Bounded(vec![vec!["cache", "panic"], vec!["cache", "stop"]])
        );
        assert_eq!(listed[2].series, Series::Open("for a reason"));
    }

    #[test]
    fn without_labels_there_is_one_series() {
        assert_eq!(combined(&[], &BTreeMap::new()), [Vec::<&str>::new()]);
    }
}
