//! Where settings come from: the process's environment and one file.
//!
//! Owns: reading both, and remembering which of them gave a value. Refuses: a file that was named
//! and cannot be read. A missing default file is no mistake.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::Path;
use std::sync::LazyLock;

use serde::Serialize;
use utoipa::ToSchema;

use super::{declared, removed};

/// The file that is read when none is named, relative to the working directory.
pub const DEFAULT_FILE: &str = "breakwater.toml";

/// Environment variables, as far as they are settings.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of this process. A value that is not UTF-8 is kept with replacement characters, which
    /// the loader refuses.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the file that may")]
    pub fn of_process() -> Self {
        let removed = removed::REMOVED.iter().map(|setting| setting.variable);
        let known = declared::all().map(|setting| setting.variable).chain(removed);
        known
            .filter_map(|variable| {
                let value = std::env::var_os(variable)?;
                Some((variable.to_owned(), value.to_string_lossy().into_owned()))
            })
            .collect()
    }

    /// The variable's value without surrounding white space; `None` when it is not set or blank.
    pub(super) fn get(&self, variable: &str) -> Option<&str> {
        self.0.get(variable).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// A configuration file's name and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileText {
    /// As it was named; for messages.
    pub name: String,
    /// TOML.
    pub text: String,
}

impl FileText {
    /// Reads the file that was named, or the default one if there is one.
    ///
    /// # Errors
    /// When a named file, or a default file that exists, cannot be read as UTF-8 text.
    pub(super) fn read(named: Option<&Path>) -> io::Result<Option<Self>> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(Self { name: path.display().to_string(), text })),
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What gave a setting its value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SettingSource)]
pub enum Source {
    /// Nothing is set.
    #[default]
    Default,
    /// The configuration file.
    File,
    /// The environment, which wins.
    Environment,
}

impl Source {
    /// The word shown to people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
        }
    }
}

/// The source of every setting that is not a default, by variable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources(BTreeMap<&'static str, Given>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Given {
    source: Source,
    /// Tells texts apart within this process, also those that nobody may see.
    mark: u64,
}

impl Sources {
    /// What gave the variable's setting its value.
    #[must_use]
    pub fn of(&self, variable: &str) -> Source {
        self.0.get(variable).map(|given| given.source).unwrap_or_default()
    }

    pub(super) fn note(&mut self, variable: &'static str, source: Source, text: &str) {
        // Keyed at random: nothing about the text can be learned from it.
        static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        self.0.insert(variable, Given { source, mark: KEYS.hash_one(text) });
    }

    /// What tells the setting's text from another; `None` when nothing is set.
    pub(super) fn mark(&self, variable: &str) -> Option<u64> {
        self.0.get(variable).map(|given| given.mark)
    }

    /// Takes over what another knows of a variable's setting.
    pub(super) fn copy(&mut self, variable: &'static str, other: &Self) {
        match other.0.get(variable) {
            Some(given) => self.0.insert(variable, *given),
            None => self.0.remove(variable),
        };
    }

    /// Whether the file or the environment set the variable's setting.
    pub(super) fn is_set(&self, variable: &str) -> bool {
        self.of(variable) != Source::Default
    }
}
