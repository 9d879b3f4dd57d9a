//! A process that a test started.
//!
//! Owns: its id, what it says on standard output, and its end. Only what was started here is ever
//! signalled, by its id. Refuses: being forgotten; a process that is dropped while it runs is
//! killed and fails the test.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use breakwater::clock::monotonic;

/// How long a process may take to end after it was asked to.
const END_WITHIN: Duration = Duration::from_secs(20);

/// A started process.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    lines: Receiver<String>,
    ended: bool,
}

impl Process {
    /// Starts `command`; its standard error goes to the file `log`.
    pub(crate) fn start(name: &'static str, command: &mut Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("a log file");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let said = child.stdout.take().expect("standard output is piped");
        let (sender, lines) = channel();
        // Reads to the end, so that the process never waits for a reader.
        std::thread::spawn(move || {
            BufReader::new(said).lines().map_while(Result::ok).for_each(|line| {
                drop(sender.send(line));
            });
        });
        Self { name, child, lines, ended: false }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line of standard output that `wanted` makes something of.
    pub(crate) fn line<T>(&mut self, within: Duration, wanted: impl Fn(&str) -> Option<T>) -> T {
        let deadline = monotonic() + within;
        loop {
            let left = deadline.saturating_duration_since(monotonic());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(found) = wanted(&line) {
                        return found;
                    }
                }
                Err(error) => {
                    let state = self.state();
                    panic!("{} did not say what was waited for ({error}); it {state}", self.name);
                }
            }
        }
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn state(&mut self) -> String {
        match self.child.try_wait() {
            Ok(None) => "still runs".to_owned(),
            Ok(Some(status)) => format!("ended with {status}"),
            Err(error) => format!("cannot be asked after: {error}"),
        }
    }

    /// Asks it to end, as an operator would, and waits for that.
    pub(crate) fn terminate(self) -> ExitStatus {
        self.ask_to_end();
        self.wait()
    }

    /// Asks it to end.
    pub(crate) fn ask_to_end(&self) {
        let signalled = Command::new("kill").arg("-TERM").arg(self.id().to_string()).status();
        assert!(signalled.is_ok_and(|status| status.success()), "{} was gone", self.name);
    }

    /// Waits for the end of what was asked to end.
    pub(crate) fn wait(mut self) -> ExitStatus {
        let deadline = monotonic() + END_WITHIN;
        while monotonic() < deadline {
            if let Some(status) = self.child.try_wait().expect("its own child") {
                self.ended = true;
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{} did not end within {END_WITHIN:?} of SIGTERM", self.name);
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("its own child");
        self.child.wait().expect("its own child");
        self.ended = true;
    }

    /// Sends it a signal, by name (`STOP`).
    pub(crate) fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{} was gone", self.name);
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(&path).expect("Linux tells about processes");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let figure = line.and_then(|rest| rest.split_whitespace().next());
        figure.and_then(|kib| kib.parse().ok()).expect("a figure in KiB")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let ran = self.is_running();
        drop(self.child.kill());
        drop(self.child.wait());
        // A second panic while the first unwinds would hide the reason of the first.
        if ran && !std::thread::panicking() {
            panic!("{} was left running", self.name);
        }
    }
}

/// Calls `ready` every few milliseconds until it says yes.
pub(crate) fn wait_until(what: &str, within: Duration, mut ready: impl FnMut() -> bool) -> Instant {
    let deadline = monotonic() + within;
    while !ready() {
        assert!(monotonic() < deadline, "{what}: not within {within:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
    monotonic()
}
