//! The settings of the database.
//!
//! Owns: their declaration, and which addresses are served. Opens nothing.

use std::path::PathBuf;

use crate::config::Section;
use crate::config::kinds::{Kind, Refusal, quoted_address};
use crate::settings;

settings! {
    #[derive(Eq)]
    pub struct DatabaseSettings in "database" {
        path: PathBuf = PathBuf::from("breakwater.db"), "DATABASE_URL", "url", DatabaseAddress,
            "the third cache tier and everything that survives a restart; a path without a slash in front is relative to the working directory";
    }
}

impl Section for DatabaseSettings {}

/// The file of the database, as `sqlite://PATH` or `sqlite:PATH`.
struct DatabaseAddress;

impl Kind for DatabaseAddress {
    type Value = PathBuf;

    fn expected(&self) -> String {
        "sqlite://PATH".to_owned()
    }

    fn read(&self, text: &str) -> Result<PathBuf, Refusal> {
        let (scheme, rest) = text.split_once(':').ok_or(None)?;
        let refused = |reason: &str| Err(Some(reason.to_owned()));
        match scheme.to_ascii_lowercase().as_str() {
            "sqlite" => {}
            "postgres" | "postgresql" => return refused("this build serves SQLite only"),
            _ => return Err(None),
        }
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path.is_empty() || path.ends_with('/') {
            return refused("the path of a file is missing");
        }
        if path.contains(":memory:") {
            return refused("what is in memory only would not survive a restart");
        }
        if path.contains(['?', '#']) { refused("without options") } else { Ok(path.into()) }
    }

    fn show(&self, value: &PathBuf) -> Option<String> {
        Some(format!("sqlite://{}", value.display()))
    }

    fn quote(&self, text: &str) -> String {
        quoted_address(text)
    }
}
