//! How soon a gateway answers after its start, and how much memory it holds.
//!
//! Times depend on the machine, so they are printed beside their goals; only memory is asserted.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use breakwater::clock::monotonic;

use crate::catalogue_file::Catalogue;
use crate::figures::{Table, mebibytes, millis, quantile};
use crate::support::gateway::Plan;
use crate::support::http::Connection;
use crate::support::process::{Process, wait_until};
use crate::support::redis::free_address;
use crate::survey::searches;

const STARTS: usize = 5;
const SEARCH: &str = "/api/products/search?keywords=lamp&page_size=20";
const IDLE_GOAL_KIB: u64 = 64 * 1024;
const LOADED_GOAL_KIB: u64 = 150 * 1024;
/// A machine with other cores or another allocator may need more than the goal.
const SLACK: u64 = 2;
const LOAD: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 32;

#[test]
fn start_and_memory() {
    let mut first_starts = Vec::new();
    let mut later_starts = Vec::new();
    for _ in 0..STARTS {
        let folder = tempfile::tempdir().unwrap();
        first_starts.push(time_start(folder.path()));
        later_starts.push(time_start(folder.path()));
    }
    print_starts(&first_starts, &later_starts);

    let folder = tempfile::tempdir().unwrap();
    let (process, address) = start(folder.path());
    assert!(Connection::to(address).get(SEARCH).is_ok_and(|answer| answer.status == 200));
    std::thread::sleep(Duration::from_secs(2));
    let idle = process.resident_kib();
    let (answers, bad) = load(address);
    std::thread::sleep(Duration::from_secs(2));
    let loaded = process.resident_kib();
    assert!(process.terminate().success());

    let mut table = Table::new("memory, simulator inside", &["", "MiB", "goal"]);
    table.row(["idle".to_owned(), mebibytes(idle), mebibytes(IDLE_GOAL_KIB)]);
    let after = format!("after {answers} answers in {LOAD:?}");
    table.row([after, mebibytes(loaded), mebibytes(LOADED_GOAL_KIB)]);
    table.print();
    assert_eq!(bad, 0, "failed requests");
    assert!(idle < IDLE_GOAL_KIB * SLACK, "idle: {idle} KiB");
    assert!(loaded < LOADED_GOAL_KIB * SLACK, "after the load: {loaded} KiB");
}

/// From the start of the process to its first answers.
struct Start {
    live: Duration,
    search: Duration,
}

fn time_start(folder: &Path) -> Start {
    let began = monotonic();
    let (process, address) = start(folder);
    let live = monotonic() - began;
    let answer = Connection::to(address).get(SEARCH).expect("a search is answered");
    let search = monotonic() - began;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(process.terminate().success());
    Start { live, search }
}

/// Starts a gateway with the simulator inside, and returns at its first answer.
fn start(folder: &Path) -> (Process, SocketAddr) {
    let address = free_address();
    let plan = Plan::in_folder(folder).with("API_PORT", address.port().to_string());
    let process = plan.with("LOG_LEVEL", "warning").spawn();
    wait_until("the first answer", Duration::from_secs(10), || {
        let answer = Connection::to(address).get("/health/live");
        answer.is_ok_and(|answer| answer.status == 200)
    });
    (process, address)
}

/// Asks as fast as it can; returns how many answers there were and how many were bad.
fn load(address: SocketAddr) -> (u64, u64) {
    let paths = Arc::new(searches(&Catalogue::read(), 1_000));
    let until: Instant = monotonic() + LOAD;
    let (answers, bad) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    std::thread::scope(|scope| {
        for place in 0..CONNECTIONS {
            let (paths, answers, bad) =
                (Arc::clone(&paths), Arc::clone(&answers), Arc::clone(&bad));
            scope.spawn(move || {
                let mut connection = Connection::to(address);
                for path in paths.iter().cycle().skip(place * 31) {
                    if monotonic() >= until {
                        break;
                    }
                    let good = connection.get(path).is_ok_and(|answer| answer.status == 200);
                    answers.fetch_add(1, Ordering::Relaxed);
                    bad.fetch_add(u64::from(!good), Ordering::Relaxed);
                }
            });
        }
    });
    (answers.load(Ordering::Relaxed), bad.load(Ordering::Relaxed))
}

fn print_starts(first: &[Start], later: &[Start]) {
    let title = format!("start, simulator inside; median and worst of {STARTS}, ms; goal 150");
    let mut table = Table::new(title, &["", "live", "worst", "search", "worst"]);
    for (name, starts) in [("empty folder", first), ("database there", later)] {
        let sorted = |of: fn(&Start) -> Duration| {
            let mut times: Vec<_> = starts.iter().map(of).collect();
            times.sort_unstable();
            times
        };
        let (live, search) = (sorted(|start| start.live), sorted(|start| start.search));
        let cells = [&live, &live, &search, &search].into_iter().zip([0.5, 1.0, 0.5, 1.0]);
        let cells = cells.map(|(times, share)| millis(quantile(times, share)));
        table.row(std::iter::once(name.to_owned()).chain(cells));
    }
    table.print();
}
