//! The phases of P14: normal, too much of everything, normal again.
//!
//! Owns: their order, what is counted in each, and the gateway's own counts before and after. What
//! must hold is the test's.

use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::time::{Duration, Instant};

use breakwater::clock::monotonic;

use crate::figures::samples;
use crate::growth::{Footprint, Trace};
use crate::open_loop::{Heard, Offer, OpenLoop};
use crate::slow_clients::{Churn, SlowClients};
use crate::support::gateway::Running;

const SLOW_CONNECTIONS: u32 = 2_000;
const COMING_AND_GOING: u32 = 200;
const NORMAL_FOR: Duration = Duration::from_secs(3);
/// The slow ones are all there after this, and the overload has filled every queue.
const GATHERS: Duration = Duration::from_secs(2);
const WATCHED_AFTER: Duration = Duration::from_secs(5);

/// What is offered.
pub(crate) struct Loads {
    /// The route that all but the slow clients ask on.
    pub(crate) route: &'static str,
    /// When all is well.
    pub(crate) normal: Offer,
    /// The same again afterwards; new questions, if those of `normal` were.
    pub(crate) normal_again: Offer,
    /// Three times what can be done.
    pub(crate) too_much: Offer,
    /// What those ask who come and go.
    pub(crate) passing: String,
}

/// What happened.
pub(crate) struct Overload {
    /// Before.
    pub(crate) normal: Heard,
    /// While there was too much.
    pub(crate) too_much: Heard,
    /// Those who came and went.
    pub(crate) passing: Heard,
    /// From the end of the overload on.
    pub(crate) again: Heard,
    /// The overload, its first seconds left out.
    pub(crate) from: Instant,
    /// Its end.
    pub(crate) to: Instant,
    /// Slow connections that were opened in all.
    pub(crate) slow: u64,
    /// The most it held in the first third, and in the rest.
    pub(crate) held: [Footprint; 2],
    /// What the gateway counted in all phases.
    pub(crate) counted: Counts,
    /// The same for the overload alone.
    pub(crate) counted_in_overload: Counts,
    /// Processor time of the gateway and of the load, in seconds of the overload.
    pub(crate) processor: [f64; 2],
}

impl Overload {
    /// Lets it come and go.
    pub(crate) fn of(gateway: &Running, loads: &Loads, lasting: Duration) -> Self {
        let count = || Counts::of(gateway, loads.route);
        let before = count();
        let normal = OpenLoop::run(&loads.normal, NORMAL_FOR);
        let slow = SlowClients::start(gateway.address, SLOW_CONNECTIONS);
        let churn = Churn::start(gateway.address, COMING_AND_GOING, loads.passing.clone());
        std::thread::sleep(GATHERS);
        let before_overload = count();
        let processor = [gateway.process.id(), std::process::id()].map(processor_seconds);
        let running = OpenLoop::start(&loads.too_much);
        std::thread::sleep(GATHERS);
        let from = monotonic();
        let held = [lasting / 3, lasting - lasting / 3].map(|part| {
            let trace = Trace::of(gateway.process.id());
            std::thread::sleep(part);
            trace.stop()
        });
        let to = monotonic();
        running.end();
        let spent = [gateway.process.id(), std::process::id()].map(processor_seconds);
        let [gateway_spent, load_spent] = spent;
        let processor = [gateway_spent - processor[0], load_spent - processor[1]];
        let normal_again = OpenLoop::start(&loads.normal_again);
        let slow = slow.stop();
        let passing = churn.stop();
        let too_much = running.stop();
        let counted_in_overload = count().since(&before_overload);
        std::thread::sleep((to + WATCHED_AFTER).saturating_duration_since(monotonic()));
        let again = normal_again.stop();
        let counted = count().since(&before);
        Self {
            normal,
            too_much,
            passing,
            again,
            from,
            to,
            slow,
            held,
            counted,
            counted_in_overload,
            processor,
        }
    }

    /// Good answers a second.
    pub(crate) fn good_per_second(&self) -> f64 {
        self.too_much.good_per_second(self.from, self.to)
    }

    /// Questions a second that were really sent.
    pub(crate) fn sent_per_second(&self) -> f64 {
        let sent = self.too_much.within(self.from, self.to).count();
        f64::from(u32::try_from(sent).unwrap()) / (self.to - self.from).as_secs_f64()
    }

    /// Every answer that any client counted, by status.
    pub(crate) fn statuses(&self) -> BTreeMap<u16, u64> {
        let all = [&self.normal, &self.too_much, &self.passing, &self.again];
        let mut statuses = BTreeMap::new();
        for sent in all.into_iter().flat_map(|heard| &heard.sent) {
            *statuses.entry(sent.status).or_default() += 1;
        }
        statuses
    }
}

/// What the gateway counted on the route.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Counts {
    /// Answers by status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Answers within 5 ms by its own clock.
    pub(crate) fast: u64,
}

impl Counts {
    /// Up to now.
    fn of(gateway: &Running, route: &str) -> Self {
        let text = gateway.connection().get("/metrics").expect("metrics answer").text();
        let of_route = |family: &str| {
            let samples = samples(&text, family).into_iter();
            let of_route = format!("route=\"{route}\"");
            samples.filter(|(labels, _)| labels.contains(&of_route)).collect::<Vec<_>>()
        };
        let mut statuses = BTreeMap::new();
        for (labels, value) in of_route("http_requests_total") {
            let (_, status) = labels.split_once("status=\"").expect("a status");
            let status = status.split('"').next().and_then(|status| status.parse().ok());
            *statuses.entry(status.expect("a number")).or_default() += whole(value);
        }
        let fast = of_route("http_request_duration_seconds_bucket");
        let fast = fast.iter().filter(|(labels, _)| labels.contains("le=\"0.005\""));
        Self { statuses, fast: fast.map(|(_, value)| whole(*value)).sum() }
    }

    fn since(&self, before: &Self) -> Self {
        let mut statuses = self.statuses.clone();
        for (status, count) in &before.statuses {
            *statuses.entry(*status).or_default() -= count;
        }
        statuses.retain(|_, count| *count > 0);
        Self { statuses, fast: self.fast - before.fast }
    }
}

/// A counter's value, which is a whole number written as any other.
fn whole(value: f64) -> u64 {
    format!("{value:.0}").parse().expect("a whole number")
}

/// Processor time that a process has used.
fn processor_seconds(process: u32) -> f64 {
    let stat = read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
