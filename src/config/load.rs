//! From texts to settings: reads both sources, checks each value, then what belongs together.
//!
//! Owns: the form in which a mistake is named, and precedence (the environment wins over the file, the file
//! over the default). Refuses a start with any mistake and names all of them at once, with everything that
//! is allowed and unwise; a value in the file is checked even where the environment overrides it. A file
//! that was named and cannot be read is a mistake; a missing default file is none.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::file::{DEFAULT_FILE, FileText};
use super::near_miss::near_miss;
use super::removed::{REMOVED, is_removed};
use super::settings::{Declaration, Given};
use super::{Schema, Settings, Source, file};

#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of this process. A value that is not UTF-8 is kept with replacement characters, which
    /// the loader refuses.
    #[expect(clippy::disallowed_methods, reason = "this is the file that may")]
    pub fn of_process() -> Self {
        let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
        std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
    }

    /// The variable's value without surrounding white space and quotes; `None` when it is not set or
    /// blank. A file of variables that a shell reads has quotes, and `docker run --env-file` keeps them.
    pub(super) fn get(&self, variable: &str) -> Option<&str> {
        let value = self.0.get(variable)?.trim();
        let within = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
        let value = within('"').or_else(|| within('\'')).unwrap_or(value);
        (!value.is_empty()).then_some(value)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Reads the settings from the named file, or from `breakwater.toml` if there is one, and from the
/// environment, which wins.
///
/// # Errors
/// Every mistake in both, and a named file that cannot be read.
pub fn load(
    schema: Schema,
    named: Option<&Path>,
    environment: &Environment,
) -> Result<Settings, Mistakes> {
    Loader::read(schema, named, environment).finish()
}

/// The same, and looks at what the settings name on this machine (files, addresses): for who is about to
/// start.
///
/// # Errors
/// Those of [`load`], and what a start would fail at.
pub fn load_and_probe(
    schema: Schema,
    named: Option<&Path>,
    environment: &Environment,
) -> Result<Settings, Mistakes> {
    let mut loader = Loader::read(schema, named, environment);
    loader.settings.probe(&mut loader.mistakes);
    loader.finish()
}

/// The settings that a file's text and an environment make.
///
/// # Errors
/// Every mistake in both.
pub fn resolve(
    schema: Schema,
    file: Option<&FileText>,
    environment: &Environment,
) -> Result<Settings, Mistakes> {
    let mut loader = Loader::new(schema);
    loader.take_all(file, environment);
    loader.finish()
}

struct Loader {
    settings: Settings,
    mistakes: Mistakes,
}

impl Loader {
    fn new(schema: Schema) -> Self {
        Self { settings: Settings::unset(schema), mistakes: Mistakes::default() }
    }

    fn read(schema: Schema, named: Option<&Path>, environment: &Environment) -> Self {
        let mut loader = Self::new(schema);
        let file = FileText::read(named).unwrap_or_else(|error| {
            let name = named.unwrap_or(Path::new(DEFAULT_FILE)).display().to_string();
            loader.mistakes.add(name, None, format!("a readable text file ({error})"));
            None
        });
        loader.take_all(file.as_ref(), environment);
        loader
    }

    fn take_all(&mut self, file: Option<&FileText>, environment: &Environment) {
        if let Some(file) = file {
            self.take_file(file);
        }
        self.take_environment(environment);
        self.follow();
        for group in self.settings.schema.groups() {
            (group.check)(&self.settings, &mut self.mistakes);
        }
    }

    fn take_file(&mut self, file: &FileText) {
        for entry in file::entries(file, self.settings.schema, &mut self.mistakes) {
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
        for setting in self.settings.schema.all() {
            if let Some(text) = environment.get(setting.variable)
                && let Err(expected) = self.take(setting, text, Source::Environment)
            {
                self.mistakes.add(setting.variable, Some((setting.quote)(text)), expected);
            }
        }
        for removed in REMOVED.iter().filter(|one| environment.get(one.variable).is_some()) {
            self.mistakes.add(removed.variable, None, removed.expected());
        }
        let schema = self.settings.schema;
        let names = environment.names().filter(|name| !is_removed(name));
        self.settings.near_misses = names.filter_map(|name| near_miss(schema, name)).collect();
    }

    /// Keeps the text of a setting, or says what was expected. A refused text is kept too, so that the
    /// rules over several settings do not name the same mistake again.
    fn take(
        &mut self,
        setting: &'static Declaration,
        text: &str,
        source: Source,
    ) -> Result<(), String> {
        let given = Given { source, text: text.to_owned() };
        self.settings.given.insert(setting.variable, given);
        let unreadable = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
        let refusal = if text.contains(unreadable) {
            Some("in UTF-8, without control characters".to_owned())
        } else {
            match (setting.show)(text) {
                Ok(_) => return Ok(()),
                Err(refusal) => refusal,
            }
        };
        let expected = (setting.expected)();
        Err(refusal.map_or_else(|| expected.clone(), |reason| format!("{expected}; {reason}")))
    }

    fn finish(mut self) -> Result<Settings, Mistakes> {
        if self.mistakes.all.is_empty() {
            return Ok(self.settings);
        }
        self.mistakes.cautions = self.settings.cautions().collect();
        Err(self.mistakes)
    }

    /// A setting that is not set takes the value of the one that it follows.
    fn follow(&mut self) {
        let given = &mut self.settings.given;
        for setting in self.settings.schema.all() {
            let followed = setting.follows.and_then(|variable| given.get(variable)).cloned();
            if let Some(followed) = followed {
                given.entry(setting.variable).or_insert(followed);
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The environment variable, or the file, line and key.
    pub place: String,
    /// The value that was refused, without secrets; `None` where there is none.
    pub value: Option<String>,
    pub expected: String,
    /// Line of the file, 0 elsewhere: people correct a file from top to bottom.
    line: usize,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value}: expected {}", self.place, self.expected),
            None => write!(f, "{}: expected {}", self.place, self.expected),
        }
    }
}

/// Everything that is wrong, in the order in which it was met; never empty when returned as an
/// error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes {
    pub all: Vec<Mistake>,
    /// What is allowed and unwise beside them: who mends the mistakes can mend these with them.
    pub cautions: Vec<String>,
}

impl Mistakes {
    pub fn add(&mut self, place: impl Into<String>, value: Option<String>, expected: String) {
        self.all.push(Mistake { place: place.into(), value, expected, line: 0 });
    }

    pub(super) fn add_in_file(&mut self, place: Place, value: Option<String>, expected: String) {
        let Place { file, line, what } = place;
        let comma = if what.is_empty() { "" } else { ", " };
        let place = format!("{file} line {line}{comma}{what}");
        self.all.push(Mistake { place, value, expected, line });
    }

    /// Puts those of the file, which have to be all there are so far, into the order of its lines.
    pub(super) fn sort(&mut self) {
        self.all.sort_by_key(|mistake| mistake.line);
    }
}

pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: usize,
    /// The section, the key, or nothing.
    pub(super) what: String,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.all.len();
        write!(f, "{count} mistake{} in the configuration", if count == 1 { "" } else { "s" })?;
        self.all.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))?;
        self.cautions.iter().try_for_each(|caution| write!(f, "\nbut: {caution}"))
    }
}

impl std::error::Error for Mistakes {}
