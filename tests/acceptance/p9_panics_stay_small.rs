//! P9: panics, storms, hangs and stops of every actor under 1,000 requests a second.
//!
//! Holds when the process stays, no request fails, and a struck actor is back within 50 ms. Beyond
//! the restart intensity actors back off and are gone around; what is in a tier is still answered,
//! and only what nobody asked for before may be told when to come back. Each phase has a gateway of
//! its own, in front of one simulator and one Redis, so that one does not hide the next.

use std::sync::Arc;
use std::time::Duration;

use breakwater::clock::monotonic;
use breakwater::supervision::RestartPolicy;

use crate::catalogue_file::Catalogue;
use crate::figures::{Table, millis, quantile, samples};
use crate::load::{Load, Paths, Sample};
use crate::p9_phases::Operator;
use crate::support::gateway::{Plan, Running, simulate};
use crate::support::redis::Redis;
use crate::survey::{ask_all, assert_all_good, searches};

const RATE: u32 = 1_000;
const CONNECTIONS: u32 = 64;
const WARM_KEYS: usize = 200;
/// One request in so many asks for something new.
const COLD_EVERY: u32 = 50;
/// So many panics more than restarts that happen at once.
const EXCESS: usize = 5;
/// A struck actor has to be back within this.
const BACK_WITHIN: Duration = Duration::from_millis(50);
/// How long the actors may take to come back from a storm.
const STORM_OVER_WITHIN: Duration = Duration::from_secs(60);

/// What one phase showed.
struct Phase {
    name: &'static str,
    samples: Vec<Sample>,
    /// From each fault to the next incarnation; empty where the fault itself takes its time.
    back_after: Vec<Duration>,
    restarts: Vec<(String, u64)>,
    remark: String,
}

/// The words that only the cold requests of a phase ask for.
fn words_of(phase: &str) -> String {
    phase.replace(' ', "+")
}

#[test]
fn p9_panics_stay_small() {
    let catalogue = Catalogue::read();
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start();
    let simulator = simulate(folder.path(), crate::catalogue_file::named().as_deref());
    let plan = Plan::in_folder(folder.path())
        .before(simulator.address)
        .with("REDIS_URL", redis.url())
        .with("CHAOS_ENABLED", "true")
        // The limiter decides about every request; nobody reaches these limits.
        .with("RATE_LIMIT_ENABLED", "true")
        .with("RATE_LIMIT_SEARCH_PER_MINUTE", "1000000")
        .with("RATE_LIMIT_SEARCH_BURST", "1000000")
        .with("MAX_REQUESTS_PER_SECOND", "0")
        .with("RATE_LIMIT_BURST", "0")
        .with("MAX_REQUESTS_PER_MINUTE", "0")
        .with("ABUSE_DETECTION", "off")
        .with("LOG_LEVEL", "warning");
    let warm = searches(&catalogue, WARM_KEYS);
    let bench = Bench { plan, warm };

    let phases = [
        bench.phase("no faults", no_faults),
        bench.phase("each panics once a second", panics),
        bench.phase("50 panics at once in each", storm),
        bench.phase("each hangs for a second", hangs),
        bench.phase("each stops", stops),
        bench.phase("more panics than restarts", beyond_intensity),
    ];
    simulator.stop();
    redis.stop();

    print(&phases);
    for phase in &phases {
        let failed = phase.samples.iter().filter_map(|sample| sample.failure.as_ref());
        let failed: Vec<_> = failed.collect();
        let shown = failed.iter().take(5).map(|failure| (&failure.path, &failure.text));
        let shown: Vec<_> = shown.collect();
        assert!(failed.is_empty(), "{}: {} failed: {shown:#?}", phase.name, failed.len());
        let late: Vec<_> = phase.back_after.iter().filter(|time| **time > BACK_WITHIN).collect();
        assert!(late.is_empty(), "{}: back later than {BACK_WITHIN:?}: {late:?}", phase.name);
    }
}

/// Faults of one phase while the load runs: times to the next incarnation, and a remark.
type Faults = fn(&mut Operator) -> (Vec<Duration>, String);

struct Bench {
    plan: Plan,
    warm: Vec<String>,
}

impl Bench {
    fn phase(&self, name: &'static str, faults: Faults) -> Phase {
        let mut gateway = self.plan.start();
        assert_all_good("warming", &ask_all(gateway.address, &self.warm));
        let mut operator = Operator::of(&gateway);
        let load = Load::start(gateway.address, RATE, CONNECTIONS, &self.paths(name));
        std::thread::sleep(Duration::from_secs(1));
        let (back_after, remark) = faults(&mut operator);
        std::thread::sleep(Duration::from_secs(1));
        let samples = load.stop();
        assert!(gateway.process.is_running(), "{name}: the process stays");
        let restarts = restarts(&mut operator, &gateway);
        gateway.stop();
        Phase { name, samples, back_after, restarts, remark }
    }

    /// Warm keys, and now and then one that nobody asked for before.
    fn paths(&self, phase: &str) -> Paths {
        let warm = self.warm.clone();
        let words = words_of(phase);
        Arc::new(move |number| {
            if number % COLD_EVERY == COLD_EVERY - 1 {
                return format!("/api/products/search?keywords={words}+{number}&page_size=20");
            }
            let places = u32::try_from(warm.len()).unwrap();
            let place = usize::try_from(number.wrapping_mul(7) % places).unwrap();
            warm.get(place).expect("a place within the list").clone()
        })
    }
}

/// Restarts of every actor, as the admin sees them; the metric must agree.
fn restarts(operator: &mut Operator, gateway: &Running) -> Vec<(String, u64)> {
    let metrics = gateway.connection().get("/metrics").expect("metrics answer").text();
    let counted: f64 =
        samples(&metrics, "actor_restarts_total").iter().fold(0.0, |sum, (_, n)| sum + n);
    let restarts: Vec<(String, u64)> =
        operator.actors().into_iter().map(|(name, actors)| (name, actors.restarts)).collect();
    let listed: u64 = restarts.iter().map(|(_, count)| count).sum();
    assert_eq!(format!("{counted:.0}"), listed.to_string(), "metric and list of restarts agree");
    restarts
}

fn no_faults(_: &mut Operator) -> (Vec<Duration>, String) {
    std::thread::sleep(Duration::from_secs(3));
    (Vec::new(), String::new())
}

fn panics(operator: &mut Operator) -> (Vec<Duration>, String) {
    let names: Vec<String> = operator.actors().into_keys().collect();
    let mut back_after = Vec::new();
    for _ in 0..10 {
        let round = monotonic();
        for name in &names {
            back_after.push(operator.strike_and_time(name, "panic"));
        }
        std::thread::sleep((round + Duration::from_secs(1)).saturating_duration_since(monotonic()));
    }
    (back_after, String::new())
}

fn storm(operator: &mut Operator) -> (Vec<Duration>, String) {
    panics_at_once(operator, 50)
}

fn beyond_intensity(operator: &mut Operator) -> (Vec<Duration>, String) {
    panics_at_once(operator, RestartPolicy::default().intensity + EXCESS)
}

fn panics_at_once(operator: &mut Operator, count: usize) -> (Vec<Duration>, String) {
    let names: Vec<String> = operator.actors().into_keys().collect();
    let began = monotonic();
    for name in &names {
        (0..count).for_each(|_| operator.strike(name, "panic"));
    }
    let back = operator.all_running(began, began + STORM_OVER_WITHIN);
    let remark = match back {
        Some(time) => format!("all running again after {} ms", millis(time)),
        None => format!("not all running again within {STORM_OVER_WITHIN:?}"),
    };
    (Vec::new(), remark)
}

fn hangs(operator: &mut Operator) -> (Vec<Duration>, String) {
    for name in operator.actors().into_keys() {
        operator.strike(&name, "hang?ms=1000");
        std::thread::sleep(Duration::from_millis(1_500));
    }
    (Vec::new(), String::new())
}

fn stops(operator: &mut Operator) -> (Vec<Duration>, String) {
    let mut back_after = Vec::new();
    for name in operator.actors().into_keys() {
        back_after.push(operator.strike_and_time(&name, "stop"));
        std::thread::sleep(Duration::from_millis(500));
    }
    (back_after, String::new())
}

fn print(phases: &[Phase]) {
    let title = format!("P9: {RATE} requests a second, {CONNECTIONS} connections; times in ms");
    let columns =
        ["phase", "requests", "failed", "degraded", "p50", "p99", "max", "back p50", "back max"];
    let mut table = Table::new(title, &columns);
    let mut remarks = Table::new("restarts by actor", &["phase", "restarts"]);
    for phase in phases {
        let mut times: Vec<_> = phase.samples.iter().map(|sample| sample.took).collect();
        times.sort_unstable();
        let mut back = phase.back_after.clone();
        back.sort_unstable();
        let failed = phase.samples.iter().filter(|sample| sample.failure.is_some()).count();
        let degraded = phase.samples.iter().filter(|sample| sample.degraded).count();
        let of_back = |share| match back.is_empty() {
            true => "-".to_owned(),
            false => millis(quantile(&back, share)),
        };
        table.row([
            phase.name.to_owned(),
            times.len().to_string(),
            failed.to_string(),
            degraded.to_string(),
            millis(quantile(&times, 0.5)),
            millis(quantile(&times, 0.99)),
            millis(quantile(&times, 1.0)),
            of_back(0.5),
            of_back(1.0),
        ]);
        let restarts: Vec<String> =
            phase.restarts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        remarks.row([phase.name.to_owned(), format!("{}  {}", restarts.join(", "), phase.remark)]);
    }
    table.print();
    remarks.print();
}
