//! Variables of the environment that look like settings and are none.
//!
//! Owns: what counts as looking like one, and which settings were probably meant. No neighbours.

use super::Schema;

/// Container platforms write variables with these parts for every service they run.
const PLATFORM: [&str; 3] = ["_SERVICE_", "_PORT_", "_TCP"];
/// Names that other programs give a meaning to.
const KNOWN_ELSEWHERE: [&str; 2] = ["HTTP_PROXY", "REDIS_PORT"];
/// Settings that are named as probably meant, at most.
const NAMED: usize = 3;

/// Says of a variable that it is no setting though it begins like one, and which settings share most of
/// its words; `None` for all others.
pub(super) fn near_miss(schema: Schema, variable: &str) -> Option<String> {
    let known = || schema.all().map(|setting| setting.variable);
    let first = |name: &str| name.split('_').next().map(str::to_owned);
    let is_platform = PLATFORM.iter().any(|part| variable.contains(part));
    let is_ours = variable.contains('_') && known().any(|name| first(name) == first(variable));
    if !is_ours
        || is_platform
        || KNOWN_ELSEWHERE.contains(&variable)
        || known().any(|name| name == variable)
    {
        return None;
    }
    let shared = |name: &str| {
        let words: Vec<_> = name.split('_').collect();
        variable.split('_').filter(|word| words.contains(word)).count()
    };
    let most = known().map(shared).max()?;
    let meant: Vec<_> = known().filter(|name| shared(name) == most).take(NAMED).collect();
    Some(format!(
        "{variable} is no setting and changes nothing; did you mean {}?",
        meant.join(" or ")
    ))
}

#[cfg(test)]
mod tests {
    use super::super::tests::SCHEMA;
    use super::near_miss;

    #[test]
    fn a_variable_that_begins_like_a_setting_is_named_with_what_was_meant() {
        for (variable, meant) in [("ADMIN_KEY", "ADMIN_API_KEY"), ("API_PROT", "API_PORT")] {
            let said = near_miss(SCHEMA, variable).unwrap();
            assert!(said.starts_with(variable) && said.contains(meant), "{said}");
        }
    }

    #[test]
    fn settings_and_what_others_wrote_are_not_named() {
        for other in ["API_PORT", "PATH", "HTTP_PROXY", "API_PORT_6379_TCP", "API_SERVICE_HOST"] {
            assert_eq!(near_miss(SCHEMA, other), None);
        }
    }
}
