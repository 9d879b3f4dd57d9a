//! The settings in words: for `check-config`, `GET /admin/config` and the settings page.
//!
//! Owns: how settings are shown. Refuses to show a secret: only declarations turn values into
//! text, and theirs hide them. No neighbours.

use std::fmt::Write as _;

use serde::Serialize;
use utoipa::ToSchema;

use super::declared::{self, Declaration};
use super::{Settings, Source};

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

impl Settings {
    /// Every setting with its value and its source, secrets hidden, in the order of the page.
    #[must_use]
    pub fn describe(&self) -> Vec<Described> {
        declared::all()
            .map(|setting| Described {
                name: setting.variable,
                key: setting.path(),
                value: (setting.show)(self),
                source: self.sources.of(setting.variable),
            })
            .collect()
    }
}

/// The content of `docs/settings.md`.
#[must_use]
pub fn settings_page() -> String {
    let defaults = Settings::default();
    let mut page = String::from(PREFACE);
    for section in declared::sections() {
        push(&mut page, format_args!("\n## [{section}]\n\n{HEADER}"));
        for setting in declared::all().filter(|setting| setting.section == section) {
            push_row(&mut page, setting, &defaults);
        }
    }
    page
}

const HEADER: &str = "| variable | key | default | accepted | meaning |\n|---|---|---|---|---|\n";

const PREFACE: &str = "\
# Settings

Written by `cargo run -- settings > docs/settings.md`; a test fails when it is out of date.

Every setting is an environment variable and a key in the configuration file: the one named with
`--config FILE`, or `breakwater.toml` in the working directory if there is one. The environment
wins over the file, the file over the default. A variable that is empty counts as not set.
White space around a value is dropped. `breakwater check-config` names every mistake at once and
shows what is in force and where it came from.

```toml
[server]
port = 9000

[cache]
ttl = 600

[limits]
trusted_proxies = [\"10.0.0.0/8\"]
```
";

fn push_row(page: &mut String, setting: &Declaration, defaults: &Settings) {
    let default = setting
        .default
        .map(str::to_owned)
        .or_else(|| (setting.show)(defaults))
        .unwrap_or_else(|| "none".to_owned());
    push(
        page,
        format_args!(
            "| `{}` | `{}` | {} | {} | {} |\n",
            setting.variable,
            setting.key,
            cell(&default),
            cell(&(setting.expected)()),
            cell(setting.help),
        ),
    );
}

/// A bar would end the cell, and brackets would look like a link.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('[', "\\[").replace(']', "\\]")
}

fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail; there is nothing to do if it did.
    page.write_fmt(text).unwrap_or_default();
}
