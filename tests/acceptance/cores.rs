//! Gives the gateway a core of its own, so that the load of a test does not take its time.
//!
//! Without this a load of three times the capacity takes the processor from what it measures, and
//! most of it is never sent. On a machine with one core nothing is moved.

use std::process::Command;
use std::thread::available_parallelism;

/// The test's process has every core but the first until this is dropped.
pub(crate) struct Cores {
    count: usize,
}

impl Cores {
    /// Moves the test's process away from the first core.
    pub(crate) fn split() -> Self {
        let count = available_parallelism().map_or(1, usize::from);
        if count > 1 {
            stay_on(&format!("1-{}", count - 1));
        }
        Self { count }
    }

    /// What a gateway is started through to have the first core for itself.
    pub(crate) const fn first(&self) -> &'static [&'static str] {
        if self.count > 1 { &["taskset", "-c", "0"] } else { &[] }
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        if self.count > 1 {
            stay_on(&format!("0-{}", self.count - 1));
        }
    }
}

/// Every thread of this process stays on these cores, and so do threads that it starts later.
fn stay_on(cores: &str) {
    let process = std::process::id().to_string();
    let moved = Command::new("taskset").args(["-acp", cores, &process]).output();
    let moved = moved.expect("taskset comes with util-linux");
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
}
