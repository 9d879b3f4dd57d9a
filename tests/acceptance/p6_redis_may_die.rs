//! P6: Redis dies in every way while warm keys, keys that only Redis and SQL hold, and keys that
//! nobody asked for before are asked for.
//!
//! Holds when no request fails; the first few calls that meet the fault take at most the tier's
//! time-out longer and those after them no longer than usual; health tells within a second what is
//! and when it is over; and when it is over, Redis answers again without anybody doing anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use breakwater::clock::monotonic;
use breakwater::redis::DEFAULT_TIMEOUT as TIMEOUT;

use crate::figures::{Table, millis};
use crate::fixture::{Fixture, health_of, page};
use crate::p6_ways_to_die::{Bench, PAUSE, WAYS, Way};
use crate::support::gateway::Running;
use crate::support::process::wait_until;
use crate::survey::{ask_all, assert_all_good};
use crate::traffic::{Asked, Questions, Traffic, assert_no_failure, time_of, within};

const RATE: u32 = 120;
const CONNECTIONS: u32 = 24;
const WARM_KEYS: u32 = 16;
/// Many more than memory holds.
const KEYS_BEHIND: u32 = 300;
const MEMORY_ITEMS: &str = "48";
/// How long a fault is on; the calls of the first second are the first few.
const LASTS: Duration = PAUSE;
/// How long it is watched before.
const USUAL: Duration = Duration::from_secs(2);
const FIRST: Duration = Duration::from_secs(1);
/// Calls that may find out: until the breaker opens, and what is under way beside them.
const FIRST_FEW: usize = 12;
/// Health tells the truth within this.
const TOLD_WITHIN: Duration = Duration::from_secs(1);
/// What a machine shared with others adds now and then.
const NOISE: Duration = Duration::from_millis(30);
/// Kinds that go behind memory.
const BEHIND: [&str; 2] = ["behind", "cold"];
const PATIENCE: Duration = Duration::from_secs(10);

/// What one way showed.
struct Shown {
    name: &'static str,
    told: Option<Duration>,
    healed: Duration,
    redis_again: Duration,
    usual: Duration,
    first: Duration,
    waited: usize,
    after: Duration,
    warm: Duration,
    /// The slowest that a process without Redis was meanwhile.
    control: Duration,
    /// Answers from Redis before and during the fault.
    from_redis: [usize; 2],
    asked: Vec<Asked>,
}

#[test]
fn p6_redis_may_die() {
    let fixture = Fixture::set();
    let mut bench = Bench::start();
    let plan =
        fixture.plan().with("REDIS_URL", bench.url()).with("MAX_MEMORY_CACHE_ITEMS", MEMORY_ITEMS);
    let gateway = plan.start();
    let series = AtomicU32::new(100);
    let mut all: Vec<Shown> =
        WAYS.iter().map(|way| run(&fixture, &gateway, &mut bench, way, &series)).collect();
    let flapping = Way { name: "flapping", silences: false, strike: flap, mend: |_| {} };
    all.push(run(&fixture, &gateway, &mut bench, &flapping, &series));
    gateway.stop();
    bench.end();
    fixture.end();

    print(&all);
    for shown in &all {
        assert_no_failure(shown.name, &shown.asked);
        let Shown { name, usual, first, waited, after, control, .. } = shown;
        // Warm requests never go to Redis: what they take is the machine's doing too.
        let noise = NOISE + (*control).max(shown.warm);
        assert!(*first <= *usual + TIMEOUT + noise, "{name}: {first:?}, usually {usual:?}");
        if *name != "flapping" {
            assert!(*waited <= FIRST_FEW, "{name}: {waited} calls waited for Redis");
            assert!(
                *after <= *usual + noise,
                "{name}: after the first {after:?}, usually {usual:?}"
            );
        }
        let in_time = TOLD_WITHIN + noise;
        assert!(shown.told.is_none_or(|told| told <= in_time), "{name}: told {:?}", shown.told);
        assert!(shown.healed <= in_time, "{name}: well again told after {:?}", shown.healed);
    }
}

fn run(
    fixture: &Fixture,
    gateway: &Running,
    bench: &mut Bench,
    way: &Way,
    series: &AtomicU32,
) -> Shown {
    let own = series.fetch_add(3, Ordering::Relaxed);
    let warm: Vec<String> = (0..WARM_KEYS).map(|number| page(own, number)).collect();
    let behind: Vec<String> = (0..KEYS_BEHIND).map(|number| page(own + 1, number)).collect();
    assert_all_good(way.name, &ask_all(gateway.address, &behind));
    for _ in 0..3 {
        assert_all_good(way.name, &ask_all(gateway.address, &warm));
    }
    let traffic = Traffic::start(gateway.address, RATE, CONNECTIONS, &questions(warm, behind, own));
    let control = Traffic::control(fixture.address());
    std::thread::sleep(USUAL);
    let struck = monotonic();
    (way.strike)(bench);
    let told = way.silences.then(|| {
        wait_until("health tells it", PATIENCE, || health_of(gateway, "redis") != "healthy")
            - struck
    });
    std::thread::sleep((struck + LASTS).saturating_duration_since(monotonic()));
    let mended = monotonic();
    (way.mend)(bench);
    // A server takes its time to start; the fault is over when it answers.
    let over = monotonic();
    let healthy =
        wait_until("health is well", PATIENCE, || health_of(gateway, "redis") == "healthy");
    let redis_again = until_redis_answers(gateway, series);
    let (asked, control) = (traffic.stop(), control.stop());
    let slice = |kinds, from, to| within(&asked, kinds, from, to);
    let usual = time_of(slice(&BEHIND, struck - USUAL, struck), 0.99);
    let slow =
        |kinds| slice(kinds, struck, mended).filter(|one| one.took > usual + TIMEOUT / 2).count();
    Shown {
        name: way.name,
        told,
        healed: healthy.saturating_duration_since(over),
        redis_again: redis_again.saturating_duration_since(over),
        usual,
        first: time_of(slice(&BEHIND, struck, struck + FIRST), 1.0),
        // A warm request never goes to Redis: when it is slow, so are two of the others for nothing.
        waited: slow(&BEHIND).saturating_sub(2 * slow(&["warm"])),
        after: time_of(slice(&BEHIND, struck + FIRST, mended), 0.99),
        warm: time_of(slice(&["warm"], struck, mended), 0.99),
        control: time_of(within(&control, &["control"], struck, mended), 1.0),
        from_redis: [(struck - USUAL, struck), (struck, mended)]
            .map(|(from, to)| slice(&BEHIND, from, to).filter(|one| one.tier == "redis").count()),
        asked,
    }
}

/// A third each: what memory holds, what only the tiers behind it hold, what nobody asked for.
fn questions(warm: Vec<String>, behind: Vec<String>, series: u32) -> Questions {
    let pick = |paths: &[String], number: u32| {
        let place = usize::try_from(number).unwrap_or_default() % paths.len();
        paths[place].clone()
    };
    Arc::new(move |number| match number % 3 {
        0 => ("warm", pick(&warm, number / 3)),
        1 => ("behind", pick(&behind, number / 3)),
        _ => ("cold", page(series + 2, number)),
    })
}

/// New keys are stored and come back from Redis when memory has let go of them. One after the
/// other: a crowd would make a busy machine too late for the tier's time-out.
fn until_redis_answers(gateway: &Running, series: &AtomicU32) -> Instant {
    let mut connection = gateway.connection();
    let mut ask = move |path: &str| {
        let answer = connection.get(path).expect("an answer");
        answer.json()["metadata"]["cache_tier"] == "redis"
    };
    wait_until("redis answers again", PATIENCE, || {
        let own = series.fetch_add(1, Ordering::Relaxed);
        let paths: Vec<String> = (0..KEYS_BEHIND / 4).map(|number| page(own, number)).collect();
        paths.iter().for_each(|path| {
            ask(path);
        });
        paths.iter().any(|path| ask(path))
    })
}

/// Gone and back each second.
fn flap(bench: &mut Bench) {
    for _ in 0..3 {
        bench.kill();
        std::thread::sleep(Duration::from_millis(900));
        bench.revive();
        std::thread::sleep(Duration::from_millis(900));
    }
}

fn print(all: &[Shown]) {
    let title = format!(
        "P6: {RATE} requests a second, a third each warm, behind memory, cold; times in ms"
    );
    let columns = [
        "redis",
        "requests",
        "failed",
        "usual p99",
        "first s max",
        "waited",
        "then p99",
        "warm p99",
        "control max",
        "from redis",
        "told after",
        "healthy after",
        "redis hit after",
    ];
    let mut table = Table::new(title, &columns);
    for shown in all {
        let failed = shown.asked.iter().filter(|one| one.status != 200).count();
        table.row([
            shown.name.to_owned(),
            shown.asked.len().to_string(),
            failed.to_string(),
            millis(shown.usual),
            millis(shown.first),
            shown.waited.to_string(),
            millis(shown.after),
            millis(shown.warm),
            millis(shown.control),
            format!("{} / {}", shown.from_redis[0], shown.from_redis[1]),
            shown.told.map_or_else(|| "-".to_owned(), millis),
            millis(shown.healed),
            millis(shown.redis_again),
        ]);
    }
    table.print();
}
