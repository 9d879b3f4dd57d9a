//! Settings that no longer exist, and what to do instead.
//!
//! Owns: their names. Refuses: a start with one of them set, in the environment or in the file; the
//! mistake names the replacement. An entry stays for one version after the setting went.

/// A setting that was removed.
pub(super) struct Removed {
    pub(super) variable: &'static str,
    /// `section.key` in the file.
    pub(super) path: &'static str,
    /// A clause: the replacement, or the constant that stands now.
    pub(super) instead: &'static str,
}

const fn removed(variable: &'static str, path: &'static str, instead: &'static str) -> Removed {
    Removed { variable, path, instead }
}

/// One line a setting: variable, `section.key`, what replaces it.
pub(super) const REMOVED: &[Removed] = &[
    removed("BREAKER_WINDOW_SECONDS", "breaker.window_seconds", "shares of calls look back 30 s"),
    removed("BREAKER_MIN_CALLS", "breaker.min_calls", "a share counts from 20 calls on"),
    removed("BREAKER_PROBES", "breaker.probes", "three probes must succeed"),
    removed(
        "BREAKER_SLOW_MS",
        "breaker.slow_ms",
        "time-outs open the breaker, slow answers do not",
    ),
    removed(
        "BREAKER_SLOW_PERCENT",
        "breaker.slow_percent",
        "time-outs open the breaker, slow answers do not",
    ),
    removed(
        "BREAKER_RAMP_SECONDS",
        "breaker.ramp_seconds",
        "the rate grows by itself after closing",
    ),
    removed(
        "MEMORY_LIMIT_BYTES",
        "server.memory_limit_bytes",
        "what the container or the machine has is the bound",
    ),
    removed("RATE_LIMIT_PRESSURE", "limits.pressure", "limits are halved under pressure, always"),
    removed("ABUSE_SEQUENCE", "limits.abuse_sequence", "20 ids in a row in a minute are allowed"),
    removed(
        "ABUSE_PAGES",
        "limits.abuse_pages",
        "20 further pages of a search in a minute are allowed",
    ),
    removed(
        "ABUSE_KEY_PERCENT",
        "limits.abuse_key_percent",
        "a key may spend half of its limit on one pattern",
    ),
];

impl Removed {
    /// What a mistake says, to be read after "expected".
    pub(super) fn expected(&self) -> String {
        format!("it not to be set; this setting was removed: {}", self.instead)
    }
}

pub(super) fn by_path(section: &str, key: &str) -> Option<&'static Removed> {
    REMOVED.iter().find(|one| one.path.split_once('.') == Some((section, key)))
}

#[cfg(test)]
mod tests {
    use super::super::{FileText, declared, resolve};
    use super::REMOVED;

    #[test]
    fn a_removed_setting_is_a_mistake_that_names_the_replacement() {
        for removed in REMOVED {
            let (section, key) = removed.path.split_once('.').unwrap();
            let name = "test.toml".to_owned();
            let file = FileText { name, text: format!("[{section}]\n{key} = 1\n") };
            let environment = [(removed.variable, "1")].into_iter().collect();
            let mistakes = resolve(Some(&file), &environment).unwrap_err();
            let told: Vec<_> = mistakes.0.iter().map(ToString::to_string).collect();
            let because =
                format!("expected it not to be set; this setting was removed: {}", removed.instead);
            assert_eq!(
                told,
                [
                    format!("test.toml line 2, {}: {because}", removed.path),
                    format!("{}: {because}", removed.variable),
                ]
            );
        }
    }

    #[test]
    fn nothing_removed_is_still_declared() {
        for removed in REMOVED {
            let declared = |one: &declared::Declaration| {
                one.variable == removed.variable || one.path() == removed.path
            };
            assert!(!declared::all().any(declared), "{}", removed.variable);
        }
    }
}
