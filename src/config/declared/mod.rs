//! What may be set: one declaration for each setting.
//!
//! Owns: the list, in the order in which people read it. Refuses nothing. No neighbours.

mod access;
pub(super) mod accounts;
mod operation;
mod server;
mod storage;
mod upstream;

use super::kinds::Refusal;
use super::{MOST_ACCOUNTS, Pacing, Secret, Settings};

/// One setting: everything that the loader, `check-config` and the settings page need to know.
pub(super) struct Declaration {
    /// The environment variable.
    pub(super) variable: &'static str,
    /// The section of the file.
    pub(super) section: &'static str,
    /// The key in that section.
    pub(super) key: &'static str,
    /// What it is for, in one line.
    pub(super) help: &'static str,
    /// The default in words, where the value of [`Settings::default`] would not say it.
    pub(super) default: Option<&'static str>,
    /// What is accepted, to be read after "expected".
    pub(super) expected: fn() -> String,
    /// A refused text as people may see it.
    pub(super) quote: fn(&str) -> String,
    /// Puts a text's value into the draft, or says why not.
    pub(super) set: fn(&mut Draft, &str) -> Result<(), Refusal>,
    /// The value as people may see it.
    pub(super) show: fn(&Settings) -> Option<String>,
}

impl Declaration {
    /// `section.key`.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }
}

/// Settings in the making. What becomes one value out of several settings waits beside them.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) settings: Settings,
    pub(super) accounts: [DraftAccount; MOST_ACCOUNTS],
    pub(super) pacing: DraftPacing,
}

/// An upstream account in the making. The first one's tracking id is the shop's own, which counts
/// without an account, too, and is no part of it.
#[derive(Default)]
pub(super) struct DraftAccount {
    pub(super) app_key: Option<String>,
    pub(super) app_secret: Option<Secret>,
    pub(super) tracking_id: Option<String>,
}

/// Outbound pacing in the making; it exists only where credentials or a part of it are set.
pub(super) struct DraftPacing {
    pub(super) per_second: f64,
    pub(super) burst: u32,
    pub(super) daily_budget: u64,
}

impl Default for DraftPacing {
    fn default() -> Self {
        let Pacing { per_second, burst, daily_budget } = super::defaults::PACING;
        Self { per_second, burst, daily_budget }
    }
}

/// Declares a setting. `in` names the field of the draft; `show` is needed only where the value
/// does not stand at the same place of the finished settings.
macro_rules! setting {
    ($variable:expr, $section:literal, $key:expr, in settings.$($field:ident).+,
     $kind:expr, $help:expr $(, default $default:literal)?) => {
        $crate::config::declared::Declaration {
            show: |settings| $kind.show(&settings.$($field).+),
            ..setting!($variable, $section, $key, in (settings.$($field).+), $kind, $help,
                show |_| None $(, default $default)?)
        }
    };
    ($variable:expr, $section:literal, $key:expr, in ($($field:tt)+),
     $kind:expr, $help:expr, show $show:expr $(, default $default:literal)?) => {
        $crate::config::declared::Declaration {
            variable: $variable,
            section: $section,
            key: $key,
            help: $help,
            default: [$($default,)?].first().copied(),
            expected: || $kind.expected(),
            quote: |text| $kind.quote(text),
            set: |draft, text| {
                draft.$($field)+ = $kind.read(text)?;
                Ok(())
            },
            show: $show,
        }
    };
}
use setting;

/// Every setting.
pub(super) fn all() -> impl Iterator<Item = &'static Declaration> {
    [
        server::SETTINGS,
        accounts::SETTINGS,
        upstream::SETTINGS,
        storage::SETTINGS,
        access::SETTINGS,
        operation::SETTINGS,
    ]
    .into_iter()
    .flatten()
}

/// The setting with this key in this section.
pub(super) fn by_key(section: &str, key: &str) -> Option<&'static Declaration> {
    all().find(|setting| setting.section == section && setting.key == key)
}

/// Every section, once, in order.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    all().map(|setting| setting.section).filter(move |section| {
        let new = *section != last;
        last = section;
        new
    })
}
