//! Where settings come from: the process's environment and one file.
//!
//! Owns: reading both. Refuses: a file that was named and cannot be read. A missing default file is
//! no mistake.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// The file that is read when none is named, relative to the working directory.
pub const DEFAULT_FILE: &str = "breakwater.toml";

/// Environment variables.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of this process. A value that is not UTF-8 is kept with replacement characters, which
    /// the loader refuses.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the file that may")]
    pub fn of_process() -> Self {
        let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
        std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
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
