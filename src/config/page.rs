//! The settings page: every setting with its default, what is accepted and what it is for.
//!
//! Owns: the text of `docs/settings.md`, which comes from the declarations. No neighbours.

use super::Schema;
use super::settings::Declaration;

pub fn settings_page(schema: Schema) -> String {
    let mut page = String::from(PREFACE);
    for section in schema.sections() {
        page.push_str(&format!("\n## [{section}]\n\n{HEADER}"));
        page.extend(schema.all().filter(|setting| setting.section == section).map(row));
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

[[upstream.accounts]]
app_key = \"500002\"
app_secret = \"…\"
```
";

fn row(setting: &Declaration) -> String {
    let default = setting.words.map(str::to_owned).or_else(setting.default);
    format!(
        "| `{}` | `{}` | {} | {} | {} |\n",
        setting.variable,
        setting.key,
        cell(default.as_deref().unwrap_or("none")),
        cell(&(setting.expected)()),
        cell(setting.help),
    )
}

/// A bar would end the cell, and brackets would look like a link.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('[', "\\[").replace(']', "\\]")
}
