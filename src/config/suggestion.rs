//! "Did you mean": the known name nearest to an unknown one.
//!
//! Owns: what is near. Refuses to guess when nothing is. No neighbours.

/// The candidate nearest to `name`, when it is near enough to be what was meant: at most a third
/// of the name's letters inserted, deleted, replaced or swapped with their neighbour.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let bound = (name.chars().count() / 3).max(1);
    let name = name.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (distance(&name, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(far, _)| *far <= bound)
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance (Damerau 1964, adjacent letters swapped count once).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    let mut previous = None;
    for (row, letter) in left.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let replaced = at(&last, column) + usize::from(letter != *other);
            let mut best = replaced.min(at(&last, column + 1) + 1).min(at(&current, column) + 1);
            let swapped = column > 0
                && previous == Some(*other)
                && right.get(column.saturating_sub(1)) == Some(&letter);
            if swapped {
                best = best.min(at(&before, column - 1).saturating_add(1));
            }
            current.push(best);
        }
        before = std::mem::replace(&mut last, current);
        previous = Some(letter);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn distances_are_those_of_the_definition() {
        for (left, right, far) in [
            ("", "", 0),
            ("", "abc", 3),
            ("port", "prot", 1),
            ("port", "sport", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(left, right), far, "{left} {right}");
            assert_eq!(distance(right, left), far, "{right} {left}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["host", "port", "workers"];
        assert_eq!(nearest("prot", known), Some("port"));
        assert_eq!(nearest("WORKER", known), Some("workers"));
        assert_eq!(nearest("colour", known), None);
    }
}
