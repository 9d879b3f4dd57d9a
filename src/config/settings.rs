//! The settings of one process, read and valid: the text of each setting that is set, and what set it.
//!
//! Owns: handing a room the values of its section, and showing all without secrets. Texts of secrets
//! are in memory only and never formatted.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

use super::kinds::Kind;
use super::section::Declaration;
use super::{Declared, Schema};

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
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
        }
    }
}

/// One setting as people may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Setting)]
pub struct Described {
    /// The environment variable.
    #[schema(value_type = String)]
    pub name: &'static str,
    /// The key in the file, `section.key`.
    pub key: String,
    /// The value, secrets hidden; `None` when there is none.
    pub value: Option<String>,
    /// What gave it.
    pub source: Source,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) source: Source,
    pub(super) text: String,
}

/// Every setting that is not a default.
#[derive(Clone)]
pub struct Settings {
    pub(super) schema: Schema,
    pub(super) given: BTreeMap<&'static str, Given>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.describe()).finish()
    }
}

impl Settings {
    /// Those of a process for which nothing is set.
    #[must_use]
    pub const fn unset(schema: Schema) -> Self {
        Self { schema, given: BTreeMap::new() }
    }

    /// The values of a room's section.
    #[must_use]
    pub fn of<S: Declared>(&self) -> S {
        S::read(self)
    }

    /// What the variable's setting is set to; `None` when it is not set.
    #[must_use]
    pub fn value<K: Kind>(&self, variable: &str, kind: &K) -> Option<K::Value> {
        self.given.get(variable).and_then(|given| kind.read(&given.text).ok())
    }

    #[must_use]
    pub fn is_set(&self, variable: &str) -> bool {
        self.given.contains_key(variable)
    }

    /// What is allowed and unwise, in sentences.
    pub fn cautions(&self) -> impl Iterator<Item = String> {
        self.schema.groups().filter_map(|group| (group.caution)(self))
    }

    /// Every setting with its value and its source, secrets hidden, in the order of the page.
    #[must_use]
    pub fn describe(&self) -> Vec<Described> {
        let described = |setting: &'static Declaration| Described {
            name: setting.variable,
            key: setting.path(),
            value: self.shown(setting).or_else(|| setting.words.map(str::to_owned)),
            source: self.given.get(setting.variable).map(|given| given.source).unwrap_or_default(),
        };
        self.schema.all().map(described).collect()
    }

    pub(super) fn shown(&self, setting: &Declaration) -> Option<String> {
        match self.given.get(setting.variable) {
            Some(given) => (setting.show)(&given.text).ok().flatten(),
            None => (setting.default)(),
        }
    }
}
