//! The settings of the database.
//!
//! Owns: their declaration, which addresses are served, and the look at a file that cannot be one. The
//! gateway starts without a database, so that is a caution and no mistake.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::postgres::PostgresAddress;
use crate::config::kinds::{Kind, Refusal, Whole, millis, quoted_address};
use crate::config::{Mistakes, Section, Settings, redact};
use crate::settings;

settings! {
    #[derive(Eq)]
    pub struct DatabaseSettings in "database" {
        address: Address = Address::Sqlite(PathBuf::from("breakwater.db")), "DATABASE_URL", "url", DatabaseAddress,
            "the third cache tier and everything that survives a restart; a path without a slash in front is relative to the working directory";
        replicas: Vec<PostgresAddress> = Vec::new(), "DATABASE_REPLICA_URLS", "replica_urls", ReplicaAddresses,
            "standbys of the Postgres that `DATABASE_URL` names: stored answers are read from the one that is least behind";
        pool_size: u32 = 4, "DATABASE_POOL_SIZE", "pool_size", Whole(1, 100),
            "connections to the database that are kept, to each replica as many";
        pool_overflow: u32 = 4, "DATABASE_POOL_OVERFLOW", "pool_overflow", Whole(0, 100),
            "connections beyond these while they are needed; for Postgres only";
        pool_wait: Duration = Duration::from_millis(200), "DATABASE_POOL_WAIT_MS", "pool_wait_ms",
            millis(1, 5_000), "longest wait for a free connection";
    }
}

impl Section for DatabaseSettings {
    fn check(&self, _settings: &Settings, mistakes: &mut Mistakes) {
        if let (Address::Sqlite(_), [_, ..]) = (&self.address, &*self.replicas) {
            let expected = "none while DATABASE_URL is a file, which has no replicas; for a Postgres set \
                 DATABASE_URL=postgres://…, its primary";
            mistakes.add("DATABASE_REPLICA_URLS", None, expected.to_owned());
        }
    }

    fn caution(&self) -> Option<String> {
        let Address::Sqlite(path) = &self.address else { return None };
        let why = unusable(path)?;
        let name = path.display();
        Some(format!("DATABASE_URL: nothing is stored until `{name}` can be used: {why}"))
    }
}

impl DatabaseSettings {
    /// The usual ones, for this database.
    pub fn at(address: impl Into<Address>) -> Self {
        Self { address: address.into(), ..Self::default() }
    }

    /// The file of certificates that the connection is verified by, if one is named.
    pub fn authorities(&self) -> Option<PathBuf> {
        match &self.address {
            Address::Sqlite(_) => None,
            Address::Postgres(address) => address.authorities(),
        }
    }

    /// A file beside which the process needs room: that of the database, or any in the working directory.
    pub fn file(self) -> PathBuf {
        match self.address {
            Address::Sqlite(path) => path,
            Address::Postgres(_) => PathBuf::new(),
        }
    }
}

/// Which database. Shown without its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A file.
    Sqlite(PathBuf),
    Postgres(PostgresAddress),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(address) => f.write_str(&redact(address.expose())),
        }
    }
}

impl<P: AsRef<Path>> From<P> for Address {
    fn from(path: P) -> Self {
        Self::Sqlite(path.as_ref().to_owned())
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

/// The file of the database, as `sqlite://PATH` or `sqlite:PATH`, or a server of Postgres.
struct DatabaseAddress;

impl Kind for DatabaseAddress {
    type Value = Address;

    fn expected(&self) -> String {
        "sqlite://PATH or postgres://[user[:password]@]host[:port]/database[?sslmode=…]".to_owned()
    }

    fn read(&self, text: &str) -> Result<Address, Refusal> {
        let (scheme, rest) = text.split_once(':').ok_or(None)?;
        let refused = |reason: &str| Err(Some(reason.to_owned()));
        match scheme.to_ascii_lowercase().as_str() {
            "sqlite" => {}
            "postgres" | "postgresql" => {
                return PostgresAddress::read(text, false).map(Address::Postgres).map_err(Some);
            }
            _ => return Err(None),
        }
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path.is_empty() || path.ends_with('/') {
            return refused("the path of a file is missing");
        }
        if path.contains(":memory:") {
            return refused("what is in memory only would not survive a restart");
        }
        if path.contains(['?', '#']) {
            return refused("without options");
        }
        Ok(Address::Sqlite(path.into()))
    }

    fn show(&self, value: &Address) -> Option<String> {
        Some(match value {
            Address::Sqlite(path) => format!("sqlite://{}", path.display()),
            Address::Postgres(_) => value.to_string(),
        })
    }

    fn quote(&self, text: &str) -> String {
        quoted_address(text)
    }
}

/// Servers of Postgres that follow another one. An address may name several hosts, with commas, too.
struct ReplicaAddresses;

/// Each has connections, a task and a series of its own.
const MOST_REPLICAS: usize = 16;

impl Kind for ReplicaAddresses {
    type Value = Vec<PostgresAddress>;

    fn expected(&self) -> String {
        "none, or a list, separated by commas, of postgres://[user[:password]@]host[:port]/database[?sslmode=…]"
            .to_owned()
    }

    fn read(&self, text: &str) -> Result<Self::Value, Refusal> {
        if text.eq_ignore_ascii_case("none") {
            return Ok(Vec::new());
        }
        let mut addresses: Vec<String> = Vec::new();
        let pieces = text.split(|letter: char| letter == ',' || letter.is_whitespace());
        for piece in pieces.filter(|piece| !piece.is_empty()) {
            match addresses.last_mut() {
                Some(last) if !piece.contains("://") => last.extend([",", piece]),
                Some(_) | None => addresses.push(piece.to_owned()),
            }
        }
        let is_postgres = |address: &String| {
            let scheme = address.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
            matches!(scheme.as_deref(), Some("postgres" | "postgresql"))
        };
        if !addresses.iter().all(is_postgres) {
            return Err(None);
        }
        let read = addresses.iter().map(|address| PostgresAddress::read(address, true));
        let read = read.collect::<Result<Vec<_>, String>>().map_err(Some)?;
        let names: BTreeSet<_> = read.iter().map(PostgresAddress::servers).collect();
        if names.len() < read.len() {
            return Err(Some("one of them is named twice".to_owned()));
        }
        if read.len() > MOST_REPLICAS {
            return Err(Some(format!("at most {MOST_REPLICAS}")));
        }
        Ok(read)
    }

    fn show(&self, value: &Self::Value) -> Option<String> {
        let texts: Vec<_> = value.iter().map(|address| redact(address.expose())).collect();
        (!texts.is_empty()).then(|| texts.join(", "))
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
        let caution = |name: &str| DatabaseSettings::at(folder.path().join(name)).caution();
        assert!(caution("").unwrap().ends_with("Is a directory (os error 21)"));
        assert!(caution("none/x.db").unwrap().contains("there is no folder"));
        assert_eq!(caution("x.db"), None);
        std::fs::write(folder.path().join("x.db"), "").unwrap();
        assert_eq!(caution("x.db"), None);
        assert_eq!(DatabaseSettings::at("x.db").caution(), None);
    }
}
