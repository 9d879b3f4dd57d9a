//! The simulator while a load runs: the fault in force, and the calls it receives in each second.
//!
//! Owns: sampling its counter once a second. Shared with the outage bench. Refuses: nothing; a
//! sample that fails is an error of the run.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use breakwater::clock::monotonic;
use serde_json::Value;

use crate::http::Connection;

/// Puts this fault (the JSON of a rule, or nothing) in force for every call.
pub(crate) fn set_fault(simulator: SocketAddr, rule: &str) -> io::Result<()> {
    let body = format!("[{rule}]");
    let answer = Connection::to(simulator).send("PUT", "/__simulator/faults", body.as_bytes())?;
    if answer.status == 200 { Ok(()) } else { Err(io::Error::other(answer.text())) }
}

/// A watch that runs.
pub(crate) struct Watch {
    end: Sender<()>,
    thread: JoinHandle<io::Result<Vec<u64>>>,
}

impl Watch {
    /// Starts counting.
    pub(crate) fn start(simulator: SocketAddr) -> Self {
        let (end, ended) = channel();
        let thread = std::thread::spawn(move || {
            let mut connection = Connection::to(simulator);
            let began = monotonic();
            let mut before = calls(&mut connection)?;
            let mut by_second = Vec::new();
            for second in 1_u32.. {
                let due = began + Duration::from_secs(1) * second;
                let left = due.saturating_duration_since(monotonic());
                let is_over = ended.recv_timeout(left) != Err(RecvTimeoutError::Timeout);
                let now = calls(&mut connection)?;
                by_second.push(now.saturating_sub(before));
                before = now;
                if is_over {
                    break;
                }
            }
            Ok(by_second)
        });
        Self { end, thread }
    }

    /// Ends it; the calls received in each second, the last of which may have been shorter.
    pub(crate) fn stop(self) -> io::Result<Vec<u64>> {
        drop(self.end);
        self.thread.join().map_err(|_| io::Error::other("the watch panicked"))?
    }
}

fn calls(simulator: &mut Connection) -> io::Result<u64> {
    let stats = simulator.get("/__simulator/stats")?.json();
    if stats.get("bad_signatures").and_then(Value::as_u64) != Some(0) {
        return Err(io::Error::other("signatures do not fit"));
    }
    let calls = stats.get("calls").and_then(Value::as_object);
    let calls = calls.map(|calls| calls.values().filter_map(Value::as_u64));
    calls.map(Iterator::sum).ok_or_else(|| io::Error::other("no statistics"))
}
