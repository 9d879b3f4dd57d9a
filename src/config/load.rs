//! From texts to settings: reads both sources, applies them, checks what belongs together.
//!
//! Owns: precedence (the environment wins over the file, the file over the default) and the rules
//! that span several settings. Refuses: a start with any mistake, all of them named at once; a value
//! in the file is judged even where the environment overrides it.

use std::path::Path;

use super::declared::{self, Declaration, Draft};
use super::removed::REMOVED;
use super::source::{FileText, Source};
use super::{AbuseMode, DEFAULT_FILE, Environment, Mistakes, Pacing, Settings, accounts, file};

const PACING: [&str; 3] = ["UPSTREAM_RATE_PER_SECOND", "UPSTREAM_BURST", "UPSTREAM_DAILY_BUDGET"];

/// Reads the settings from the named file, or from `breakwater.toml` if there is one, and from the
/// environment, which wins.
///
/// # Errors
/// Every mistake in both, and a named file that cannot be read.
pub fn load(named: Option<&Path>, environment: &Environment) -> Result<Settings, Mistakes> {
    match FileText::read(named) {
        Ok(file) => resolve(file.as_ref(), environment),
        Err(error) => {
            let mut mistakes = Mistakes::default();
            let name = named.unwrap_or(Path::new(DEFAULT_FILE)).display().to_string();
            mistakes.add(name, None, format!("a readable text file ({error})"));
            // What the environment has wrong is told in the same breath.
            if let Err(more) = resolve(None, environment) {
                mistakes.0.extend(more.0);
            }
            Err(mistakes)
        }
    }
}

/// The settings that a file's text and an environment make; touches nothing outside.
///
/// # Errors
/// Every mistake in both.
pub fn resolve(file: Option<&FileText>, environment: &Environment) -> Result<Settings, Mistakes> {
    let mut loader = Loader::default();
    if let Some(file) = file {
        loader.take_file(file);
    }
    loader.take_environment(environment);
    loader.finish()
}

#[derive(Default)]
struct Loader {
    draft: Draft,
    mistakes: Mistakes,
}

impl Loader {
    fn take_file(&mut self, file: &FileText) {
        for entry in file::entries(file, &mut self.mistakes) {
            let text = match entry.value {
                Ok(text) => text,
                Err(kind) => {
                    let expected = format!("{}, not a TOML {kind}", (entry.setting.expected)());
                    self.mistakes.add_in_file(entry.place, None, expected);
                    continue;
                }
            };
            // An empty text is not set, as in the environment.
            if !text.is_empty()
                && let Err(expected) = self.take(entry.setting, &text, Source::File)
            {
                let value = Some((entry.setting.quote)(&text));
                self.mistakes.add_in_file(entry.place, value, expected);
            }
        }
        self.mistakes.sort();
    }

    fn take_environment(&mut self, environment: &Environment) {
        for setting in declared::all() {
            if let Some(text) = environment.get(setting.variable)
                && let Err(expected) = self.take(setting, text, Source::Environment)
            {
                self.mistakes.add(setting.variable, Some((setting.quote)(text)), expected);
            }
        }
        for removed in REMOVED.iter().filter(|one| environment.get(one.variable).is_some()) {
            self.mistakes.add(removed.variable, None, removed.expected());
        }
    }

    /// Puts a text's value into the draft, or says what was expected. Notes the setting as set even
    /// then, so that the rules over several settings do not complain about the same slip again.
    fn take(
        &mut self,
        setting: &'static Declaration,
        text: &str,
        source: Source,
    ) -> Result<(), String> {
        self.draft.settings.sources.note(setting.variable, source, text);
        let unreadable =
            |letter: char| letter.is_control() || letter == char::REPLACEMENT_CHARACTER;
        let taken = if text.contains(unreadable) {
            Err(Some("in UTF-8, without control characters"))
        } else {
            (setting.set)(&mut self.draft, text)
        };
        taken.map_err(|reason| match reason {
            Some(reason) => format!("{}; {reason}", (setting.expected)()),
            None => (setting.expected)(),
        })
    }

    fn finish(mut self) -> Result<Settings, Mistakes> {
        accounts::check(&self.draft, &mut self.mistakes);
        self.check_delays();
        if !self.mistakes.0.is_empty() {
            return Err(self.mistakes);
        }
        self.draft.settings.upstream.accounts = accounts::join(&mut self.draft);
        self.join_pacing();
        self.watch_where_limited();
        self.spread_lifetime();
        Ok(self.draft.settings)
    }

    fn is_set(&self, variable: &str) -> bool {
        self.draft.settings.sources.is_set(variable)
    }

    fn check_delays(&mut self) {
        let upstream = &self.draft.settings.upstream;
        let (base, most) = (upstream.retry_base_delay, upstream.retry_max_delay);
        if most < base {
            let expected = format!("at least RETRY_BASE_DELAY_MS, which is {}", base.as_millis());
            self.mistakes.add("RETRY_MAX_DELAY_MS", Some(most.as_millis().to_string()), expected);
        }
    }

    /// The simulator inside is not paced unless somebody asked for it.
    fn join_pacing(&mut self) {
        let wanted = !self.draft.settings.upstream.accounts.is_empty()
            || PACING.iter().any(|variable| self.is_set(variable));
        let pacing = &self.draft.pacing;
        self.draft.settings.upstream.pacing = wanted.then_some(Pacing {
            per_second: pacing.per_second,
            burst: pacing.burst,
            daily_budget: pacing.daily_budget,
        });
    }

    /// Whoever wants no limits on clients does not want them throttled either, unless he says so.
    fn watch_where_limited(&mut self) {
        let limits = &mut self.draft.settings.limits;
        if !limits.enabled && !self.draft.settings.sources.is_set("ABUSE_DETECTION") {
            limits.abuse.mode = AbuseMode::Off;
        }
    }

    /// Whoever sets one lifetime means all that are not set by themselves.
    fn spread_lifetime(&mut self) {
        let settings = &mut self.draft.settings;
        let source = settings.sources.of("CACHE_TTL");
        if source == Source::Default {
            return;
        }
        let cache = &mut settings.cache;
        let lifetime = cache.default_ttl;
        for (variable, kind) in [
            ("CACHE_TTL_PRODUCT", &mut cache.product_ttl),
            ("CACHE_TTL_LINK", &mut cache.link_ttl),
            ("CACHE_TTL_SEARCH", &mut cache.search_ttl),
            ("CACHE_TTL_HOT", &mut cache.hot_ttl),
            ("CACHE_TTL_CATEGORY", &mut cache.category_ttl),
        ] {
            if !settings.sources.is_set(variable) {
                *kind = lifetime;
                settings.sources.note(variable, source, "");
            }
        }
    }
}
