//! A real Postgres of a test's own.
//!
//! Owns: a cluster in a folder of its own, on a free port of the loopback address, and its processes. It
//! refuses to run as root: then it runs as `nobody`. Refuses: to share anything with a server that may run
//! on this machine already.

use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::{Process, wait_until};
use super::redis::free_address;

const NOBODY: u32 = 65_534;
const USER: &str = "breakwater";
/// The database that [`Postgres::url`] names.
const DATABASE: &str = "gateway";
pub(crate) const PASSWORD: &str = "hunter2";

/// A running server.
pub(crate) struct Postgres {
    process: Process,
    address: SocketAddr,
    folder: TempDir,
}

impl Postgres {
    /// Starts one with an empty database and waits until it answers.
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts a standby that follows this one.
    pub(crate) fn replica(&self) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        if is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        let made = program("pg_basebackup", folder.path())
            .args(["-D", "data", "-R", "-c", "fast", "--no-sync", "-d"])
            .arg(self.url())
            .output()
            .expect("pg_basebackup runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self::start_in(folder, free_address())
    }

    /// The same with this certificate and its key.
    pub(crate) fn start_with_tls(certificate: &Path, key: &Path) -> Self {
        Self::start_with(Some((certificate, key)))
    }

    fn start_with(tls: Option<(&Path, &Path)>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        if is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).expect("a file");
        std::fs::set_permissions(&password, PermissionsExt::from_mode(0o644)).expect("its own");
        let made = program("initdb", folder.path())
            .args(["-D", "data", "-U", USER, "-A", "scram-sha-256", "--no-sync", "-E", "UTF8"])
            .args(["--locale", "C.UTF-8", "--pwfile", "password"])
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let conf = folder.path().join("data/postgresql.conf");
        let mut all = std::fs::read_to_string(&conf).expect("initdb made it");
        all.push_str("\nfsync = off\nunix_socket_directories = ''\nmax_connections = 50\n");
        if let Some((certificate, key)) = tls {
            for (from, name) in [(certificate, "server.crt"), (key, "server.key")] {
                let to = folder.path().join("data").join(name);
                std::fs::copy(from, &to).expect("a file");
                std::fs::set_permissions(&to, PermissionsExt::from_mode(0o600)).expect("its own");
                if is_root() {
                    chown(&to, Some(NOBODY), Some(NOBODY)).expect("root may");
                }
            }
            all.push_str("ssl = on\n");
        }
        std::fs::write(&conf, all).expect("a file");
        let server = Self::start_in(folder, free_address());
        server.in_database("postgres", "CREATE DATABASE gateway").expect("it is empty");
        server
    }

    fn start_in(folder: TempDir, address: SocketAddr) -> Self {
        let mut command = program("postgres", folder.path());
        command.args(["-D", "data", "-p", &address.port().to_string()]);
        let process = Process::start("postgres", &mut command, &folder.path().join("log"));
        let server = Self { process, address, folder };
        let ready = || server.in_database("postgres", "SELECT 1").is_some();
        wait_until("postgres answers", Duration::from_secs(20), ready);
        server
    }

    /// Ends it at once, without a farewell to anybody.
    pub(crate) fn killed(self) -> Stopped {
        self.process.signal("QUIT");
        self.process.wait();
        Stopped { address: self.address, folder: self.folder }
    }

    /// Stops it as an operator would who does not wait for clients.
    pub(crate) fn stop(self) {
        self.process.signal("INT");
        self.process.wait();
    }

    /// Sends a signal (`STOP`) to all of its processes.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.process.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        for child in children.unwrap_or_default().split_whitespace() {
            // One may have ended by now.
            drop(Command::new("kill").args([&format!("-{name}"), child]).output());
        }
        self.process.signal(name);
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// As `DATABASE_URL` wants it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://{USER}:{PASSWORD}@{}/{DATABASE}", self.address)
    }

    /// What a statement answers, without decoration.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let done = self.in_database(DATABASE, sql);
        done.unwrap_or_else(|| panic!("postgres does not do: {sql}"))
    }

    /// Adds settings for new connections.
    pub(crate) fn configure(&self, lines: &str) {
        let conf = self.folder.path().join("data/postgresql.conf");
        let all = std::fs::read_to_string(&conf).expect("initdb made it");
        std::fs::write(&conf, format!("{all}\n{lines}")).expect("a file");
        self.sql("SELECT pg_reload_conf()");
    }

    /// All that it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("its own log")
    }

    fn in_database(&self, database: &str, sql: &str) -> Option<String> {
        let mut psql = Command::new(binary("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        psql.arg(self.url().replace(&format!("/{DATABASE}"), &format!("/{database}")));
        let done = psql.output().expect("psql runs");
        let said = String::from_utf8_lossy(&done.stdout).trim().to_owned();
        done.status.success().then_some(said)
    }
}

/// One that does not run, and what it had stored.
pub(crate) struct Stopped {
    address: SocketAddr,
    folder: TempDir,
}

impl Stopped {
    /// Starts it again at the same address.
    pub(crate) fn start(self) -> Postgres {
        Postgres::start_in(self.folder, self.address)
    }
}

fn is_root() -> bool {
    // Who may not read this is not root.
    std::fs::read_dir("/root").is_ok()
}

fn program(name: &str, folder: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    }
    command.arg(binary(name)).current_dir(folder);
    command
}

/// Debian keeps the server's programs beside the path, a folder for each version.
fn binary(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut found: Vec<_> = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin").join(name)))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| name.into())
}
