//! What an expression names: its selectors with their labels, and the labels it groups by.
//!
//! Owns: just enough of PromQL to tell names from keywords, as a pure function of the text. It refuses
//! nothing; whether the text is PromQL is for Prometheus to say.

use std::collections::BTreeSet;

const LABEL_LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Each selector without its range, and the labels it matches.
    pub(crate) selectors: Vec<(String, BTreeSet<String>)>,
    /// The labels in lists such as `by (job)`.
    pub(crate) grouped_by: BTreeSet<String>,
    /// The same expression with thresholds that answer 0 or 1 instead of filtering.
    pub(crate) unfiltered: String,
}

/// Reads an expression.
pub(crate) fn named(expression: &str) -> Named {
    let mut named = Named::default();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            'a'..='z' | 'A'..='Z' | '_' | ':' => word(rest, &mut named),
            '0'..='9' => span(rest, |c| c.is_ascii_alphanumeric() || c == '.'),
            '[' => rest.find(']').map_or(rest.len(), |end| end + 1),
            '<' | '>' | '=' | '!' => {
                let length = span(rest, |c| "<>=!".contains(c));
                named.unfiltered.push_str(&format!("{} bool ", &rest[..length]));
                rest = &rest[length..];
                continue;
            }
            other => other.len_utf8(),
        };
        named.unfiltered.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    named
}

/// A word at the beginning of `rest`, with what belongs to it; how long both are.
fn word(rest: &str, named: &mut Named) -> usize {
    let length = span(rest, |c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    let (name, behind) = rest.split_at(length);
    let blank = behind.len() - behind.trim_start().len();
    let next = behind.trim_start();
    if LABEL_LISTS.contains(&name) {
        let Some(end) = next.find(')').filter(|_| next.starts_with('(')) else { return length };
        let labels = next[1..end].split(',').map(str::trim).filter(|label| !label.is_empty());
        named.grouped_by.extend(labels.map(str::to_owned));
        return length + blank + end + 1;
    }
    if OPERATORS.contains(&name) || next.starts_with('(') || is_aggregation(name, next) {
        return length;
    }
    let matchers = if next.starts_with('{') { closing(next) } else { 0 };
    let length = if matchers == 0 { length } else { length + blank + matchers };
    named.selectors.push((rest[..length].to_owned(), labels(&next[..matchers])));
    length
}

/// An aggregation may have its list before its argument: `sum by (job) (…)`.
fn is_aggregation(name: &str, next: &str) -> bool {
    ["sum", "count", "max", "min", "avg"].contains(&name)
        && (next.starts_with("by") || next.starts_with("without"))
}

fn span(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// Where the braces that begin here end; a brace in quotes is none.
fn closing(text: &str) -> usize {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '}' if !quoted => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The labels of matchers in braces: what stands before each quoted value.
fn labels(matchers: &str) -> BTreeSet<String> {
    let outside = matchers.split('"').step_by(2);
    let names = outside.map(|text| text.trim_matches(|c: char| !c.is_alphanumeric() && c != '_'));
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The labels in texts such as `{{instance}}` and `{{ $labels.actor }}`.
pub(crate) fn labels_in_text(text: &str) -> BTreeSet<String> {
    let placeholders = text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    let names = placeholders.map(str::trim).filter(|name| !name.starts_with("$value"));
    names.map(|name| name.trim_start_matches("$labels.").to_owned()).collect()
}

#[test]
fn names_are_told_from_keywords_functions_and_durations() {
    let read = named(
        "sum by (job, le) (rate(a_total{job=\"b\",code=~\"{5}..\"}[5m])) > 0.5 and on (job) c == 1e3",
    );
    let set = |labels: &[&str]| labels.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let a = ("a_total{job=\"b\",code=~\"{5}..\"}".to_owned(), set(&["job", "code"]));
    assert_eq!(read.selectors, [a, ("c".to_owned(), set(&[]))]);
    assert_eq!(read.grouped_by, set(&["job", "le"]));
    assert!(read.unfiltered.ends_with("[5m])) > bool  0.5 and on (job) c == bool  1e3"));
    assert_eq!(labels_in_text("{{ $labels.a }} {{b}} {{ $value | humanize }}"), set(&["a", "b"]));
}
