//! P14: overload stays flat.
//!
//! Three times what can be done is offered, first in questions that need the upstream, then in such
//! that are answered from memory, while 2,000 slow connections hang on and 200 a second come and go.
//! Holds when good answers stay at nine tenths of the measured peak, refusals come within 5 ms,
//! memory and sockets stay where they are, everything is normal two seconds after the end, and every
//! client's count equals the gateway's.
//!
//! The gateway has one worker and a core of its own; the load has the others ([`Cores`]). What counts as
//! offered is what was really sent, and it must be at least twice the peak. The time of a refusal
//! includes what the load takes to read it, so it is judged by the gateway's own histogram, too: one
//! of the two must hold.

use std::sync::Arc;
use std::time::Duration;

use breakwater::clock::monotonic;
use serde_json::json;

use crate::burst::make_room;
use crate::cores::Cores;
use crate::figures::{Table, mebibytes, millis};
use crate::fixture::{Fixture, page};
use crate::open_loop::{Offer, OpenLoop, Paths, Sent, time_of};
use crate::p14_phases::{Loads, Overload};
use crate::support::gateway::{Plan, Running};

/// Both overloads together, in seconds.
const SECONDS: u64 = 60;
const TIMES: u32 = 3;
/// Calls to the upstream a second, and how long each takes.
const PACE: u32 = 200;
const ANSWERS_AFTER_MS: u32 = 20;
const PEAK_FOR: Duration = Duration::from_secs(5);
/// Connections of the peak; many enough to keep every core busy, few enough not to queue.
const AT_PEAK: usize = 64;
/// The same before an upstream at a pace: they stand in a queue that is there for good, so no more
/// than fit into a quarter of a second of it.
const AT_PEAK_PACED: usize = 32;
const CONNECTIONS: usize = 2_000;
/// Questions a second that are more than the gateway can answer.
const BEYOND: u32 = 10_000;
/// Keys that are in memory.
const WARM: u32 = 200;

const LEAST_GOODPUT: f64 = 0.9;
/// So many times the peak must really be sent: less is no overload.
const LEAST_SENT: f64 = 2.0;
const REFUSED_WITHIN: Duration = Duration::from_millis(5);
/// What an allocator keeps to itself varies by so much.
const KIB_MORE: u64 = 16 * 1024;
/// Beside those of the slow, of the load, and of those who come and go.
const SOCKETS_MORE: u64 = 300;
const NORMAL_AFTER: Duration = Duration::from_secs(2);
/// How much slower than before counts as normal: so many times and so much more.
const SLOWER: (u32, Duration) = (2, Duration::from_millis(10));

#[test]
fn p14_overload_stays_flat() {
    make_room();
    let cores = Cores::split();
    let fixture = Fixture::set();
    fixture.upstream(&json!({"fault": "delay", "ms": ANSWERS_AFTER_MS}));
    let results = [("misses", misses(&fixture, &cores)), ("hits", hits(&fixture, &cores))];
    fixture.end();
    print(&results);
    let broken: Vec<String> =
        results.iter().flat_map(|(name, result)| result.broken(name)).collect();
    assert!(broken.is_empty(), "P14 does not hold:\n{}", broken.join("\n"));
}

/// What is asked.
#[derive(Clone, Copy)]
enum Questions {
    /// What nobody asked before: no good answer is faster than the upstream.
    New,
    /// What is in memory.
    Known,
}

/// An overload and what there was before it.
struct Measured {
    questions: Questions,
    peak: f64,
    offered: u32,
    overload: Overload,
}

/// A gateway with one worker on the first core.
fn gateway(fixture: &Fixture, cores: &Cores) -> Plan {
    fixture.plan().with("HTTP_WORKERS", "1").through(cores.first())
}

/// Every question is a new one, and the upstream is called at a pace.
fn misses(fixture: &Fixture, cores: &Cores) -> Measured {
    let plan = gateway(fixture, cores).with("UPSTREAM_RATE_PER_SECOND", PACE.to_string());
    let gateway = plan.with("UPSTREAM_BURST", "20").start();
    let of = |series: u32| -> Paths { Arc::new(move |number| page(series, number)) };
    let peak = peak(&offer(&gateway, PACE * 10, AT_PEAK_PACED, of(1)));
    let normal = offer(&gateway, PACE / 2, 256, of(2));
    let loads = Loads {
        route: "/api/products/search",
        normal: normal.clone(),
        normal_again: Offer { paths: of(3), ..normal.clone() },
        too_much: offer(&gateway, rate(peak, TIMES, 1), CONNECTIONS, of(4)),
        passing: page(2, 0),
    };
    measured(gateway, &loads, Questions::New, peak)
}

/// All questions are answered from memory.
fn hits(fixture: &Fixture, cores: &Cores) -> Measured {
    let gateway = gateway(fixture, cores).start();
    let mut connection = gateway.connection();
    for number in 0..WARM {
        assert_eq!(connection.get(&known(number)).expect("an answer").status, 200);
    }
    let warm: Paths = Arc::new(|number| known(number % WARM));
    // Put together and compressed for every client anew, and small: it costs the gateway much more than
    // it costs the load.
    let packed = |rate, connections| Offer {
        headers: "Accept-Encoding: gzip\r\n",
        ..offer(&gateway, rate, connections, Arc::clone(&warm))
    };
    let peak = peak(&packed(BEYOND, AT_PEAK));
    let normal = packed(rate(peak, 1, 4), AT_PEAK);
    let loads = Loads {
        route: "/api/products/smart-search",
        normal: normal.clone(),
        normal_again: normal,
        too_much: packed(rate(peak, TIMES, 1), CONNECTIONS),
        passing: known(0),
    };
    measured(gateway, &loads, Questions::Known, peak)
}

fn offer(gateway: &Running, rate: u32, connections: usize, paths: Paths) -> Offer {
    Offer { address: gateway.address, rate, connections, threads: 1, paths, headers: "" }
}

/// `peak` times `times` by `by`, a second.
fn rate(peak: f64, times: u32, by: u32) -> u32 {
    let rate = peak * f64::from(times) / f64::from(by);
    format!("{rate:.0}").parse().expect("a whole number")
}

/// A page that is in memory.
fn known(number: u32) -> String {
    let bound = 10_000 + number;
    format!("/api/products/smart-search?keywords=black&page_size=20&max_sale_price={bound}")
}

/// Good answers a second at most: by this offer, which keeps all of its connections busy.
fn peak(offer: &Offer) -> f64 {
    let running = OpenLoop::start(offer);
    std::thread::sleep(Duration::from_secs(1));
    let from = monotonic();
    std::thread::sleep(PEAK_FOR);
    let to = monotonic();
    let heard = running.stop();
    let bad = heard.sent.iter().filter(|sent| !sent.is_good()).count();
    assert_eq!(bad, 0, "at its peak it refuses nothing");
    heard.good_per_second(from, to)
}

fn measured(gateway: Running, loads: &Loads, questions: Questions, peak: f64) -> Measured {
    let lasting = Duration::from_secs((seconds() / 2).max(3));
    let overload = Overload::of(&gateway, loads, lasting);
    gateway.stop();
    Measured { questions, peak, offered: loads.too_much.rate, overload }
}

impl Measured {
    fn refused(&self) -> impl Iterator<Item = &Sent> {
        let Overload { too_much, from, to, .. } = &self.overload;
        too_much.within(*from, *to).filter(|sent| sent.is_refused())
    }

    /// Whether the gateway's own histogram proves it: what was fast and cannot have been a good
    /// answer was a refusal.
    fn refusals_are_fast_by_its_own_clock(&self) -> bool {
        let counted = &self.overload.counted_in_overload;
        let of = |status| counted.statuses.get(&status).copied().unwrap_or_default();
        let passing = self.overload.passing.sent.iter().filter(|sent| sent.is_good()).count();
        let good_and_fast = match self.questions {
            Questions::New => u64::try_from(passing).unwrap(),
            Questions::Known => of(200),
        };
        counted.fast.saturating_sub(good_and_fast) * 100 >= (of(429) + of(503)) * 99
    }

    fn broken(&self, name: &str) -> Vec<String> {
        let overload = &self.overload;
        let mut broken = Vec::new();
        let sent = overload.sent_per_second();
        if sent < LEAST_SENT * self.peak {
            broken.push(format!("only {sent:.0}/s were sent, of {}/s", self.offered));
        }
        let goodput = overload.good_per_second();
        if goodput < LEAST_GOODPUT * self.peak {
            broken.push(format!("goodput is {goodput:.0}/s of {:.0}/s at the peak", self.peak));
        }
        let refused = time_of(self.refused(), 0.99);
        if refused > REFUSED_WITHIN && !self.refusals_are_fast_by_its_own_clock() {
            broken.push(format!("p99 of refusals is {refused:?}"));
        }
        let [first, rest] = overload.held;
        if rest.resident_kib > first.resident_kib + KIB_MORE {
            broken.push(format!("memory grows: {first:?}, later {rest:?}"));
        }
        let sockets = 2_000 + u64::try_from(CONNECTIONS).unwrap() + SOCKETS_MORE;
        if first.or_more(rest).sockets > sockets {
            broken.push(format!("it holds more than {sockets} sockets: {first:?}, {rest:?}"));
        }
        broken.extend(self.not_normal());
        let (ours, its) = (overload.statuses(), &overload.counted.statuses);
        if ours != *its {
            broken.push(format!("clients count {ours:?}, the gateway {its:?}"));
        }
        broken.into_iter().map(|text| format!("{name}: {text}")).collect()
    }

    /// What is not as before, two seconds after the end.
    fn not_normal(&self) -> Option<String> {
        let overload = &self.overload;
        let bad = self.again().filter(|sent| !sent.is_good()).count();
        let all = self.again().count();
        let before = time_of(overload.normal.sent.iter(), 0.99);
        let after = time_of(self.again(), 0.99);
        let (times, more) = SLOWER;
        let is_normal = all > 0 && bad == 0 && after <= (before * times).max(before + more);
        (!is_normal).then(|| {
            format!("after 2 s {bad} of {all} are not good, p99 {after:?}, {before:?} before")
        })
    }

    fn again(&self) -> impl Iterator<Item = &Sent> {
        let normal_from = self.overload.to + NORMAL_AFTER;
        self.overload.again.sent.iter().filter(move |sent| sent.at >= normal_from)
    }
}

fn print(results: &[(&str, Measured)]) {
    let columns = [
        "",
        "peak/s",
        "offered/s",
        "sent/s",
        "unsent/s",
        "good/s",
        "to peak",
        "refused/s",
        "refused p50 ms",
        "p99 ms",
        "its own <= 5 ms",
        "good p99 ms",
        "normal p99 ms",
        "again",
        "MiB",
        "later",
        "sockets",
        "slow opened",
        "gateway s",
        "load s",
    ];
    let mut table =
        Table::new("P14: three times what can be done, 2,000 slow connections", &columns);
    for (name, result) in results {
        table.row(std::iter::once((*name).to_owned()).chain(row(result)));
    }
    table.print();
}

fn row(result: &Measured) -> Vec<String> {
    let overload = &result.overload;
    let lasting = (overload.to - overload.from).as_secs_f64();
    let a_second = |count: usize| f64::from(u32::try_from(count).unwrap()) / lasting;
    let sent = overload.too_much.within(overload.from, overload.to);
    let good = overload.too_much.within(overload.from, overload.to).filter(|sent| sent.is_good());
    let counted = &overload.counted_in_overload;
    let rates = [
        result.peak,
        f64::from(result.offered),
        a_second(sent.count()),
        a_second(usize::try_from(overload.too_much.unsent).unwrap()),
        overload.good_per_second(),
    ];
    let mut cells: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
    cells.push(format!("{:.2}", overload.good_per_second() / result.peak));
    cells.push(format!("{:.0}", a_second(result.refused().count())));
    cells.extend([0.5, 0.99].map(|share| millis(time_of(result.refused(), share))));
    cells.push(format!("{} of {}", counted.fast, counted.statuses.values().sum::<u64>()));
    cells.push(millis(time_of(good, 0.99)));
    cells.push(millis(time_of(overload.normal.sent.iter(), 0.99)));
    cells.push(millis(time_of(result.again(), 0.99)));
    let [first, rest] = overload.held;
    cells.extend([first, rest].map(|held| mebibytes(held.resident_kib)));
    cells.push(first.or_more(rest).sockets.to_string());
    cells.push(overload.slow.to_string());
    cells.extend(overload.processor.map(|seconds| format!("{seconds:.1}")));
    cells
}

/// `OVERLOAD_SECONDS` shortens it while the test itself is worked on.
fn seconds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test is told by its caller how long to take")]
    let named = std::env::var("OVERLOAD_SECONDS");
    named.ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(SECONDS)
}
