//! What a process holds while something goes on: sockets, threads, memory.
//!
//! Owns: looking into `/proc` a few times a second and keeping the most that was seen of each.

use std::fs::{read_dir, read_link, read_to_string};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(200);

/// Figures of one process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Footprint {
    /// Open sockets.
    pub(crate) sockets: u64,
    /// Threads.
    pub(crate) threads: u64,
    /// Resident memory in KiB.
    pub(crate) resident_kib: u64,
}

impl Footprint {
    fn of(process: u32) -> Self {
        let descriptors = read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        let is_socket = |place: &std::fs::DirEntry| {
            read_link(place.path()).is_ok_and(|what| what.to_string_lossy().starts_with("socket:"))
        };
        let sockets = u64::try_from(descriptors.filter(is_socket).count()).unwrap();
        let status = read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let figure = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let figure = line.and_then(|rest| rest.split_whitespace().next());
            figure.and_then(|figure| figure.parse().ok()).unwrap_or_default()
        };
        Self { sockets, threads: figure("Threads:"), resident_kib: figure("VmRSS:") }
    }

    /// The larger of each.
    pub(crate) fn or_more(self, other: Self) -> Self {
        Self {
            sockets: self.sockets.max(other.sockets),
            threads: self.threads.max(other.threads),
            resident_kib: self.resident_kib.max(other.resident_kib),
        }
    }
}

/// A watch over a process that runs.
pub(crate) struct Trace {
    end: Sender<()>,
    thread: JoinHandle<Footprint>,
}

impl Trace {
    /// Starts looking.
    pub(crate) fn of(process: u32) -> Self {
        let (end, ended) = channel();
        let thread = std::thread::spawn(move || {
            let mut most = Footprint::default();
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                most = most.or_more(Footprint::of(process));
            }
            most
        });
        Self { end, thread }
    }

    /// Stops looking; the most of each that was seen.
    pub(crate) fn stop(self) -> Footprint {
        drop(self.end);
        self.thread.join().unwrap()
    }
}
