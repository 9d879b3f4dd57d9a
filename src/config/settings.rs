//! How a room declares its settings, and the values of one process.
//!
//! Owns: the form of a declaration: one line a setting, from which the struct, its defaults and the
//! declaration come ([`crate::settings!`]). `app` lists the sections of all rooms; the loader,
//! `check-config`, `GET /admin/config` and `docs/settings.md` work from that list. Also the text of each
//! setting that is set: hands a room the values of its section, and shows all without secrets, whose
//! texts are in memory only and never formatted.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

use super::Mistakes;
use super::kinds::{Kind, Refusal};

/// One setting: everything that the loader, `check-config` and the settings page need to know.
#[derive(Debug, Clone, Copy)]
pub struct Declaration {
    pub variable: &'static str,
    /// The section of the file, and the key in it.
    pub section: &'static str,
    pub key: &'static str,
    pub help: &'static str,
    /// The default in words, where its value would not say it.
    pub words: Option<&'static str>,
    /// The setting whose value it takes when only that one is set.
    pub follows: Option<&'static str>,
    /// Whether a reload takes it over; all others count from the next start.
    pub live: bool,
    /// What is accepted, to be read after "expected".
    pub expected: fn() -> String,
    /// A refused text as people may see it.
    pub quote: fn(&str) -> String,
    /// A text's value as people may see it; the reason when it is refused.
    pub show: fn(&str) -> Result<Option<String>, Refusal>,
    /// The default as people may see it.
    pub default: fn() -> Option<String>,
}

impl Declaration {
    pub const fn words(mut self, words: &'static str) -> Self {
        self.words = Some(words);
        self
    }

    pub const fn follows(mut self, variable: &'static str) -> Self {
        self.follows = Some(variable);
        self
    }

    pub const fn live(mut self) -> Self {
        self.live = true;
        self
    }

    /// `section.key`.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }
}

/// What [`crate::settings!`] writes for a struct of settings.
pub trait Declared: Default {
    const DECLARATIONS: &'static [Declaration];

    fn read(settings: &Settings) -> Self;
}

/// The rules of a section beyond those of its single values.
pub trait Section: Declared {
    /// Adds what does not belong together.
    fn check(&self, _settings: &Settings, _mistakes: &mut Mistakes) {}

    /// Whether its live settings can become these while running; else they count from the next start.
    fn can_become(&self, _next: &Self) -> bool {
        true
    }

    /// What is allowed and unwise, in a sentence.
    fn caution(&self) -> Option<String> {
        None
    }

    /// Looks at what the section names on this machine (files, addresses), for `check-config`: adds what
    /// `serve` could not start with.
    fn probe(&self, _mistakes: &mut Mistakes) {}
}

#[derive(Debug, Clone, Copy)]
pub struct Group {
    pub(super) declarations: &'static [Declaration],
    pub(super) check: fn(&Settings, &mut Mistakes),
    pub(super) caution: fn(&Settings) -> Option<String>,
    pub(super) probe: fn(&Settings, &mut Mistakes),
    pub(super) can_become: fn(&Settings, &Settings) -> bool,
}

impl Group {
    pub const fn of<S: Section>() -> Self {
        Self {
            declarations: S::DECLARATIONS,
            check: |settings, mistakes| S::read(settings).check(settings, mistakes),
            caution: |settings| S::read(settings).caution(),
            probe: |settings, mistakes| S::read(settings).probe(mistakes),
            can_become: |before, after| S::read(before).can_become(&S::read(after)),
        }
    }

    /// What is unwise about settings of several sections together.
    pub const fn caution(caution: fn(&Settings) -> Option<String>) -> Self {
        let (check, probe, can_become) =
            (|_: &_, _: &mut _| {}, |_: &_, _: &mut _| {}, |_: &_, _: &_| true);
        Self { declarations: &[], check, caution, probe, can_become }
    }
}

/// Every setting of the process, in the order of the page: the sections of the core and of each
/// service.
#[derive(Debug, Clone, Copy)]
pub struct Schema(pub &'static [&'static [Group]]);

impl Schema {
    pub(super) fn groups(self) -> impl Iterator<Item = &'static Group> {
        self.0.iter().copied().flatten()
    }

    pub(super) fn all(self) -> impl Iterator<Item = &'static Declaration> {
        self.groups().flat_map(|group| group.declarations)
    }

    /// The setting with this key in this section.
    pub(super) fn by_key(self, section: &str, key: &str) -> Option<&'static Declaration> {
        self.all().find(|setting| setting.section == section && setting.key == key)
    }

    pub(super) fn sections(self) -> Vec<&'static str> {
        let mut sections = Vec::new();
        for setting in self.all() {
            if !sections.contains(&setting.section) {
                sections.push(setting.section);
            }
        }
        sections
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
    /// Variables that look like settings and are none, in sentences.
    pub(super) near_misses: Vec<String>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.describe()).finish()
    }
}

impl Settings {
    /// Those of a process for which nothing is set.
    pub const fn unset(schema: Schema) -> Self {
        Self { schema, given: BTreeMap::new(), near_misses: Vec::new() }
    }

    pub fn of<S: Declared>(&self) -> S {
        S::read(self)
    }

    /// What the variable's setting is set to; `None` when it is not set.
    pub fn value<K: Kind>(&self, variable: &str, kind: &K) -> Option<K::Value> {
        self.given.get(variable).and_then(|given| kind.read(&given.text).ok())
    }

    pub fn is_set(&self, variable: &str) -> bool {
        self.given.contains_key(variable)
    }

    /// The texts of those of these settings that are set.
    pub fn texts<'a>(
        &'a self,
        variables: &'a [&'a str],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let text = |variable: &&'a str| Some((*variable, self.given.get(*variable)?.text.as_str()));
        variables.iter().filter_map(text)
    }

    /// What is allowed and unwise, in sentences.
    pub fn cautions(&self) -> impl Iterator<Item = String> {
        let of_sections = self.sound_groups().filter_map(|group| (group.caution)(self));
        of_sections.chain(self.near_misses.iter().cloned())
    }

    /// Adds what is wrong with what the settings name on this machine.
    pub(super) fn probe(&self, mistakes: &mut Mistakes) {
        self.sound_groups().for_each(|group| (group.probe)(self, mistakes));
    }

    /// Those without a refused value: a default in its place would be judged instead. A group without
    /// settings of its own judges those of all.
    fn sound_groups(&self) -> impl Iterator<Item = &'static Group> {
        let is_refused = |setting: &Declaration| {
            self.given
                .get(setting.variable)
                .is_some_and(|given| (setting.show)(&given.text).is_err())
        };
        let any_is_refused = self.schema.all().any(is_refused);
        self.schema.groups().filter(move |group| match group.declarations {
            [] => !any_is_refused,
            own => !own.iter().any(is_refused),
        })
    }

    /// Every setting with its value and its source, secrets hidden, in the order of the page.
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

/// The text of `docs/settings.md`: every setting with its default, what is accepted and what it is for.
pub fn settings_page(schema: Schema) -> String {
    let mut page = String::from(PREFACE);
    for section in schema.sections() {
        page.push_str(&format!("\n## [{section}]\n\n{HEADER}"));
        page.extend(schema.all().filter(|setting| setting.section == section).map(row));
    }
    page
}

const HEADER: &str =
    "| variable | key | default | accepted | meaning | reload |\n|---|---|---|---|---|---|\n";

const PREFACE: &str = "\
# Settings

Written by `cargo run -- settings > docs/settings.md`; a test fails when it is out of date.

Every setting is an environment variable and a key in the configuration file: the one named with
`--config FILE`, or `breakwater.toml` in the working directory if there is one. The environment
wins over the file, the file over the default. A variable that is empty counts as not set.
White space around a value is dropped. `breakwater check-config` names every mistake at once and
shows what is in force and where it came from.

`reload` says which settings a reload takes over (`POST /admin/config/reload`, SIGHUP, or the button of the
operator's page); the others count from the next start, and the answer names those that changed.

```toml
[server]
port = 9000

[cache]
ttl = 600

[limits]
trusted_proxies = [\"10.0.0.0/8\"]

[[upstream.accounts]]
app_key = \"500002\"
app_secret = \"…\"
```
";

fn row(setting: &Declaration) -> String {
    let default = setting.words.map(str::to_owned).or_else(setting.default);
    format!(
        "| `{}` | `{}` | {} | {} | {} | {} |\n",
        setting.variable,
        setting.key,
        cell(default.as_deref().unwrap_or("none")),
        cell(&(setting.expected)()),
        cell(setting.help),
        if setting.live { "yes" } else { "" },
    )
}

/// A bar would end the cell, and brackets would look like a link.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('[', "\\[").replace(']', "\\]")
}

/// Declares a section: a struct, its defaults and its settings. A line is
/// `field: type = default, "VARIABLE", "key", kind, "what it is for";`, and may end with
/// `words("…")`, `follows("VARIABLE")` or `live()`.
#[macro_export]
macro_rules! settings {
    ($(#[$meta:meta])* $vis:vis struct $name:ident in $section:literal {
        $($field:ident: $type:ty = $default:expr, $variable:literal, $key:literal, $kind:expr,
          $help:literal $(, $option:ident($($argument:expr)?))*;)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $name {
            $(#[doc = $help] $vis $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::config::Declared for $name {
            const DECLARATIONS: &'static [$crate::config::Declaration] = &[$(
                {
                    use $crate::config::kinds::Kind;
                    // Typed by the field: a number alone would be an `i32`.
                    const fn kind() -> impl Kind<Value = $type> {
                        $kind
                    }
                    $crate::config::Declaration {
                    variable: $variable,
                    section: $section,
                    key: $key,
                    help: $help,
                    words: None,
                    follows: None,
                    live: false,
                    expected: || kind().expected(),
                    quote: |text| kind().quote(text),
                    show: |text| kind().read(text).map(|value| kind().show(&value)),
                    default: || kind().show(&$default),
                    }$(.$option($($argument)?))*
                },
            )*];

            fn read(settings: &$crate::config::Settings) -> Self {
                Self { $($field: settings.value($variable, &$kind).unwrap_or_else(|| $default),)* }
            }
        }
    };
}
