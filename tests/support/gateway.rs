//! The binary itself: a gateway, or the simulator alone, on a port of its own.
//!
//! Owns: which settings the process gets (none but those named here; the environment of whoever
//! runs the tests does not leak in) and reading the address it prints.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use super::http::Connection;
use super::process::Process;

/// How long a start may take; a large catalogue is read in it.
const START_WITHIN: Duration = Duration::from_secs(60);
const BINARY: &str = env!("CARGO_BIN_EXE_breakwater");
/// The key that opens the admin endpoints of a gateway started here.
pub(crate) const ADMIN_KEY: &str = "acceptance-admin-key";

/// The settings of a gateway to be started.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    folder: PathBuf,
    settings: Vec<(&'static str, String)>,
    through: &'static [&'static str],
}

impl Plan {
    /// A gateway whose database and log lie in `folder`; any free port, no limits on clients.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        let database = format!("sqlite://{}", folder.join("gateway.db").display());
        let plan = Self { folder: folder.to_owned(), settings: Vec::new(), through: &[] };
        plan.with("API_PORT", "0")
            .with("DATABASE_URL", database)
            .with("ADMIN_API_KEY", ADMIN_KEY)
            .with("RATE_LIMIT_ENABLED", "false")
    }

    /// With this setting; a later one wins over an earlier one.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value.into()));
        self
    }

    /// Started through another command, which has to become the binary.
    pub(crate) const fn through(mut self, command: &'static [&'static str]) -> Self {
        self.through = command;
        self
    }

    /// In front of a simulator that runs by itself, as fast as it can.
    pub(crate) fn before(self, simulator: SocketAddr) -> Self {
        self.with("ALIEXPRESS_APP_KEY", breakwater::services::products::simulator::DEMO_APP_KEY)
            .with(
                "ALIEXPRESS_APP_SECRET",
                breakwater::services::products::simulator::DEMO_APP_SECRET,
            )
            .with(
                "ALIEXPRESS_TRACKING_ID",
                breakwater::services::products::simulator::DEMO_TRACKING_ID,
            )
            .with("ALIEXPRESS_GATEWAY_URL", format!("http://{simulator}/sync"))
            .with("UPSTREAM_RATE_PER_SECOND", "10000")
            .with("UPSTREAM_BURST", "10000")
            .with("UPSTREAM_DAILY_BUDGET", "0")
    }

    /// Every setting, for a gateway that is no process of its own.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.settings.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The process, which need not answer yet.
    pub(crate) fn spawn(&self) -> Process {
        let mut command = match self.through {
            [] => breakwater(&self.folder),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(BINARY).env_clear().current_dir(&self.folder);
                command
            }
        };
        command.arg("serve").envs(self.settings.iter().map(|(name, value)| (name, value)));
        Process::start("gateway", &mut command, &self.folder.join("gateway.log"))
    }

    /// A gateway that answers.
    pub(crate) fn start(&self) -> Running {
        let mut process = self.spawn();
        let address = process.line(START_WITHIN, address_in);
        Running { process, address }
    }
}

/// The simulator alone, with a catalogue file or the built-in one.
pub(crate) fn simulate(folder: &Path, catalogue: Option<&Path>) -> Running {
    let mut command = breakwater(folder);
    command.args(["simulate", "--listen", "127.0.0.1:0"]);
    if let Some(file) = catalogue {
        command.arg("--catalog").arg(file);
    }
    let mut process = Process::start("simulator", &mut command, &folder.join("simulator.log"));
    let address = process.line(START_WITHIN, address_in);
    Running { process, address }
}

/// A demo on any free port: the process, its admin's key, and the link that it prints.
pub(crate) fn demo(folder: &Path) -> (Running, String, String) {
    let mut command = breakwater(folder);
    command.arg("demo").envs([("API_PORT", "0"), ("TMPDIR", &folder.display().to_string())]);
    let mut process = Process::start("demo", &mut command, &folder.join("demo.log"));
    let address = process.line(START_WITHIN, address_in);
    let key = process
        .line(START_WITHIN, |line| Some(line.split_once("key of this run is ")?.1.to_owned()));
    let link =
        process.line(START_WITHIN, |line| line.contains("#login=").then(|| line.trim().to_owned()));
    (Running { process, address }, key, link)
}

/// A process that answers at an address.
pub(crate) struct Running {
    /// The process.
    pub(crate) process: Process,
    /// Where it answers.
    pub(crate) address: SocketAddr,
}

impl Running {
    /// A new connection.
    pub(crate) const fn connection(&self) -> Connection {
        Connection::to(self.address)
    }

    /// A new connection that may use the admin endpoints.
    pub(crate) fn admin(&self) -> Connection {
        self.connection().with_header("x-admin-key", ADMIN_KEY)
    }

    /// Stops it as an operator would; it must end well.
    pub(crate) fn stop(self) {
        let status: ExitStatus = self.process.terminate();
        assert!(status.success(), "stopping ended with {status}");
    }
}

/// The binary, in `folder` and without any setting from outside.
pub(crate) fn breakwater(folder: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear().current_dir(folder);
    command
}

/// The address in a line such as `listening on http://127.0.0.1:8080`.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://")?;
    rest.split(['/', ' ', ',', ';', '"']).next()?.parse().ok()
}
