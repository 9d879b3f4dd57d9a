//! Names that a form does not have, and what was probably meant.
//!
//! Owns: the refusal of such names, with a suggestion. However many were sent, only [`LISTED`] are told in
//! full: an answer must not be much larger than what it answers. A leaf.

use super::{InvalidField, shown};

/// Mistakes that are told; of more only the number.
pub const LISTED: usize = 20;
/// Longer names are not compared.
const LONGEST: usize = 40;

/// The refusal of all `names`, of a form that has the `known` ones.
pub(super) fn refuse<'a>(
    names: impl Iterator<Item = &'a str>,
    known: &[String],
) -> Vec<InvalidField> {
    let allowed = if known.is_empty() { "no fields".to_owned() } else { known.join(", ") };
    let refusal = |(place, name): (usize, &str)| {
        if place >= LISTED {
            // Only counted.
            return InvalidField::new("", "", "");
        }
        let problem = match nearest(name, known) {
            Some(meant) => format!("is not a known field, `{meant}` is"),
            None => "is not a known field".to_owned(),
        };
        InvalidField::new(shown(name), problem, allowed.as_str())
    };
    names.enumerate().map(refusal).collect()
}

/// The known name that is most like this one, if it is alike at all: shorter, longer, misspelt, or with
/// the same beginning.
pub fn nearest<'a, T: AsRef<str>>(name: &str, known: &'a [T]) -> Option<&'a T> {
    let given = letters(name);
    if given.len() < 3 || given.len() > LONGEST {
        return None;
    }
    let alike = known.iter().filter_map(|known| {
        let letters = letters(known.as_ref());
        let edits = edits(&given, &letters);
        let beginning = given.iter().zip(&letters).take_while(|(one, other)| one == other).count();
        let is_alike = edits <= given.len().min(letters.len()) / 3
            || beginning >= 4
            || is_within(&given, &letters)
            || is_within(&letters, &given);
        is_alike.then_some((edits, known))
    });
    alike.min_by_key(|(edits, _)| *edits).map(|(_, known)| known)
}

/// What tells names apart, whatever the style they are written in.
fn letters(name: &str) -> Vec<char> {
    let letters = name.chars().filter(|letter| letter.is_alphanumeric());
    letters.take(LONGEST + 1).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Whether all letters of `short` stand in `long`, in their order.
fn is_within(short: &[char], long: &[char]) -> bool {
    let mut rest = long.iter();
    short.iter().all(|letter| rest.any(|one| one == letter))
}

/// Letters to be added, dropped or changed to make one of the other (Levenshtein).
fn edits(one: &[char], other: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, letter) in one.iter().enumerate() {
        let (mut diagonal, mut left) = (place, place + 1);
        let mut next = vec![left];
        for (known, above) in other.iter().zip(row.iter().skip(1)) {
            let changed = diagonal + usize::from(known != letter);
            left = changed.min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<String> {
        ["keywords", "category_ids", "min_sale_price", "page_no", "page_size", "ship_to_country"]
            .map(str::to_owned)
            .to_vec()
    }

    #[test]
    fn what_was_meant_is_suggested() {
        for (given, meant) in [
            ("page", Some("page_no")),
            ("pageNo", Some("page_no")),
            ("page_number", Some("page_no")),
            ("pagesize", Some("page_size")),
            ("size", Some("page_size")),
            ("keyword", Some("keywords")),
            ("kewyords", Some("keywords")),
            ("category_ids[]", Some("category_ids")),
            ("category", Some("category_ids")),
            ("min_price", Some("min_sale_price")),
            ("country", Some("ship_to_country")),
            ("utm_source", None),
            ("q", None),
            ("", None),
            (&"page".repeat(40), None),
            ("💥💥💥💥", None),
        ] {
            assert_eq!(nearest(given, &known()).map(String::as_str), meant, "{given}");
        }
    }

    #[test]
    fn many_names_are_counted_and_a_few_are_told() {
        let names: Vec<_> = (0..1_000).map(|number| format!("x{number}")).collect();
        let refused = refuse(names.iter().map(String::as_str), &known());
        let told = refused.iter().filter(|mistake| !mistake.field.is_empty()).count();
        assert_eq!((refused.len(), told), (1_000, LISTED));
    }

    #[test]
    fn edits_are_counted() {
        let of = |one: &str, other: &str| edits(&letters(one), &letters(other));
        assert_eq!((of("", "abc"), of("abc", ""), of("kitten", "sitting")), (3, 3, 3));
        assert_eq!((of("abc", "abc"), of("ab", "ba")), (0, 2));
    }
}
