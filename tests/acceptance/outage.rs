//! The fixture of P3 and P4: a gateway with 200 warm keys before a simulator that breaks.
//!
//! Owns: the phases. A normal one starts when the gateway is well again; one with a fault starts when
//! every key is past its fresh time. Both ask over 64 connections as fast as answers come, and a
//! watch counts the calls that reach the simulator in each second.

use std::time::Duration;

use breakwater::clock::monotonic;

use crate::closed_loop::{Course, Tally, run};
use crate::figures::{Table, millis, quantile};
use crate::growth::{Footprint, Trace};
use crate::support::gateway::{Plan, Running, simulate};
use crate::upstream_watch::{Watch, set_fault};

const KEYS: usize = 200;
const CONNECTIONS: usize = 64;
/// Seconds that an answer is fresh.
const FRESH: &str = "2";
/// No key is fresh after this, jitter included.
const PAST_FRESH: Duration = Duration::from_secs(3);
const RECOVERED_WITHIN: Duration = Duration::from_secs(180);
/// Normal and outage alternate so often: what slows the machine down for a while hits both.
const ROUNDS: u64 = 3;
/// All outage phases of one fault together, in seconds.
const SECONDS: u64 = 30;

/// The gateway and its upstream.
pub(crate) struct Fixture {
    simulator: Running,
    gateway: Running,
    course: Course,
    _folder: tempfile::TempDir,
}

/// One phase.
pub(crate) struct Phase {
    /// What became of the requests.
    pub(crate) tally: Tally,
    /// Calls to the upstream in each second.
    pub(crate) calls: Vec<u64>,
    /// The most that the gateway held at once.
    pub(crate) most: Footprint,
    /// Calls to the upstream that were under way, or waited to be, at the end.
    pub(crate) tasks: f64,
}

/// A normal phase and the outage after it.
pub(crate) struct Round {
    /// How long it took until most answers were fresh, after the fault before or the start.
    pub(crate) recovery: Duration,
    /// The upstream is well.
    pub(crate) normal: Phase,
    /// It is not.
    pub(crate) outage: Phase,
}

impl Fixture {
    /// Starts both; the first phase warms.
    pub(crate) fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let simulator = simulate(folder.path(), None);
        let plan = Plan::in_folder(folder.path())
            .before(simulator.address)
            .with("HTTP_WORKERS", "2")
            .with("LOG_LEVEL", "error")
            .with("UPSTREAM_TIMEOUT_MS", "2000")
            // Short, so that every phase meets a probe and the recovery after it is soon.
            .with("BREAKER_OPEN_SECONDS", "5")
            .with("CACHE_TTL_SEARCH", FRESH)
            .with("CACHE_STALE_SECONDS", "86400");
        let gateway = plan.start();
        let path = |number: usize| {
            let bound = 10_000 + number;
            format!("/api/products/search?keywords=black&page_size=20&max_sale_price={bound}")
        };
        let course = Course {
            address: gateway.address,
            paths: (0..KEYS).map(path).collect(),
            connections: CONNECTIONS,
            good: "\"success\":true".to_owned(),
            stale: "\"stale\":true".to_owned(),
        };
        Self { simulator, gateway, course, _folder: folder }
    }

    /// Normal and outage in turn.
    pub(crate) fn rounds(&self, fault: &str) -> Vec<Round> {
        let lasting = Duration::from_secs((seconds() / ROUNDS).max(1));
        let round = |_| {
            let recovery = self.recover();
            let normal = self.phase(lasting, Duration::ZERO);
            set_fault(self.simulator.address, fault).unwrap();
            let outage = self.phase(lasting, PAST_FRESH);
            set_fault(self.simulator.address, "").unwrap();
            Round { recovery, normal, outage }
        };
        (0..ROUNDS).map(round).collect()
    }

    /// Ends both, as an operator would.
    pub(crate) fn strike(self) {
        self.gateway.stop();
        self.simulator.stop();
    }

    /// Counts calls from now on, and asks for so long after a pause.
    fn phase(&self, lasting: Duration, pause: Duration) -> Phase {
        let watch = Watch::start(self.simulator.address);
        std::thread::sleep(pause);
        let trace = Trace::of(self.gateway.process.id());
        let tally = run(&self.course, lasting).unwrap();
        let tasks = ["upstream_in_flight", "upstream_waiting"]
            .map(|family| crate::fixture::metric(&self.gateway, family, ""));
        Phase {
            tally,
            calls: watch.stop().unwrap(),
            most: trace.stop(),
            tasks: tasks.into_iter().sum(),
        }
    }

    /// Asks until most answers are fresh again.
    fn recover(&self) -> Duration {
        let began = monotonic();
        loop {
            let tally = run(&self.course, Duration::from_secs(1)).unwrap();
            if tally.good == tally.asked() && tally.stale * 2 < tally.good {
                return monotonic() - began;
            }
            let is_late = monotonic() - began > RECOVERED_WITHIN;
            assert!(!is_late, "not well within {RECOVERED_WITHIN:?}: {tally:?}");
        }
    }
}

impl Phase {
    /// Most calls that reached the upstream in one second.
    pub(crate) fn most_calls(&self) -> u64 {
        self.calls.iter().max().copied().unwrap_or_default()
    }
}

/// The median over the rounds.
pub(crate) fn median(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The median of a time over the rounds.
pub(crate) fn median_time(rounds: &[Round], time: impl Fn(&Round) -> Duration) -> Duration {
    let mut times: Vec<Duration> = rounds.iter().map(time).collect();
    times.sort_unstable();
    quantile(&times, 0.5)
}

/// Good answers a second in the outage, for each in the normal phase before it.
pub(crate) fn throughput_to_normal(rounds: &[Round]) -> f64 {
    median(rounds, |round| {
        round.outage.tally.good_per_second() / round.normal.tally.good_per_second()
    })
}

/// Everything that was measured, a row for each phase.
pub(crate) fn print(title: &str, results: &[(&str, Vec<Round>)]) {
    let columns = [
        "",
        "good/s",
        "asked",
        "good",
        "stale",
        "p50 ms",
        "p99 ms",
        "calls",
        "most/s",
        "waiting",
        "sockets",
        "threads",
        "MiB",
        "tasks",
        "well after s",
    ];
    let mut table = Table::new(title, &columns);
    for (name, rounds) in results {
        for (number, round) in (1..).zip(rounds) {
            let mut normal = row(format!("{name} {number}, normal"), &round.normal);
            normal.push(round.recovery.as_secs().to_string());
            table.row(normal);
            table.row(row(format!("{name} {number}, outage"), &round.outage));
        }
    }
    table.print();
}

fn row(name: String, phase: &Phase) -> Vec<String> {
    let tally = &phase.tally;
    let mut cells = vec![name, format!("{:.0}", tally.good_per_second())];
    cells.extend([tally.asked(), tally.good, tally.stale].map(|count| count.to_string()));
    cells.extend([0.5, 0.99].map(|share| millis(tally.time(share))));
    let calls = [phase.calls.iter().sum(), phase.most_calls(), tally.left_waiting];
    cells.extend(calls.map(|count| count.to_string()));
    cells.extend([phase.most.sockets.to_string(), phase.most.threads.to_string()]);
    cells.push((phase.most.resident_kib / 1024).to_string());
    cells.push(phase.tasks.to_string());
    cells
}

/// `OUTAGE_SECONDS` shortens the outages while the test itself is worked on.
fn seconds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test is told by its caller how long to take")]
    let named = std::env::var("OUTAGE_SECONDS");
    named.ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(SECONDS)
}
