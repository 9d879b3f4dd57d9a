//! The settings of the database.
//!
//! Owns: their declaration, which addresses are served, and the look at a file that cannot be one. The
//! gateway starts without a database, so that is a caution and no mistake.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;

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

impl Section for DatabaseSettings {
    fn caution(&self) -> Option<String> {
        let why = unusable(&self.path)?;
        let name = self.path.display();
        Some(format!("DATABASE_URL: nothing is stored until `{name}` can be used: {why}"))
    }
}

/// Why no database can be kept in this file, as far as a look tells. It is never opened for that: to
/// close a file drops all locks this process has on it, SQLite's too, and the next process that looks
/// into the database would take the log away from under the gateway.
fn unusable(path: &Path) -> Option<String> {
    if path.exists() {
        let writable = access(path, Access::READ_OK | Access::WRITE_OK);
        let usable = writable.and(if path.is_dir() { Err(Errno::ISDIR) } else { Ok(()) });
        return usable.err().map(|error| std::io::Error::from(error).to_string());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty())?;
    (!folder.is_dir()).then(|| format!("there is no folder `{}`", folder.display()))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_database_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let caution = |name: &str| DatabaseSettings { path: folder.path().join(name) }.caution();
        assert!(caution("").unwrap().ends_with("Is a directory (os error 21)"));
        assert!(caution("none/x.db").unwrap().contains("there is no folder"));
        assert_eq!(caution("x.db"), None);
        std::fs::write(folder.path().join("x.db"), "").unwrap();
        assert_eq!(caution("x.db"), None);
        assert_eq!(DatabaseSettings { path: "x.db".into() }.caution(), None);
    }
}
