//! What is wrong with one field that a client sent.
//!
//! Owns: the three things a client needs to correct it: which field, what is wrong, what is
//! allowed. Refuses: to repeat more than a few characters of what was sent.

use serde::Serialize;
use utoipa::ToSchema;

/// Longest part of a value or a name that is repeated to its sender, in characters.
const SHOWN: usize = 40;

/// One mistake in what a client sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct InvalidField {
    /// The field, as the client named it; `body` for the body as a whole.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
    /// What would be right.
    pub allowed: String,
}

impl InvalidField {
    pub fn new(
        field: impl Into<String>,
        problem: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        Self { field: field.into(), problem: problem.into(), allowed: allowed.into() }
    }
}

impl std::fmt::Display for InvalidField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; allowed: {}", self.field, self.problem, self.allowed)
    }
}

/// All mistakes, for tests: parted by what no mistake holds.
#[cfg(test)]
pub fn sentence(mistakes: &[InvalidField]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

/// A bounded, escaped form of something a client sent, fit to be shown to it.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut escaped: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        escaped.push('…');
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_reads_as_a_sentence() {
        let mistakes = [
            InvalidField::new("page_no", "is below 1", "1 or more"),
            InvalidField::new("a", "b", "c"),
        ];
        assert_eq!(
            sentence(&mistakes),
            "page_no: is below 1; allowed: 1 or more | a: b; allowed: c"
        );
    }

    #[test]
    fn what_is_shown_is_short_and_harmless() {
        assert_eq!(shown("a\u{0}\n"), "a\\0\\n");
        assert_eq!(shown(&"x".repeat(50)), format!("{}…", "x".repeat(40)));
    }
}
