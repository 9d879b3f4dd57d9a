//! P7: the database dies in every way while warm keys, keys that only SQL holds, and keys that
//! nobody asked for before are asked for.
//!
//! Holds when no request fails; what memory holds is answered as fast as before; every write is
//! stored or counted as dropped; a torn row is a miss; and the gateway stores again afterwards by
//! itself, in a new file where the old one is lost.

use std::time::Duration;

use breakwater::clock::monotonic;

use crate::figures::{Table, millis};
use crate::fixture::{Fixture, health_of, metric, page};
use crate::p7_ways_to_die::{Bench, TOLD_OF_LIMITS, WAYS, Way};
use crate::stored::rows;
use crate::survey::{ask_all, assert_all_good};
use crate::traffic::{Asked, Questions, Traffic, assert_no_failure, time_of, within};

const RATE: u32 = 120;
const CONNECTIONS: u32 = 24;
const WARM_KEYS: u32 = 16;
/// Many more than memory holds.
const KEYS_BEHIND: u32 = 300;
const MEMORY_ITEMS: &str = "48";
const USUAL: Duration = Duration::from_secs(2);
const LASTS: Duration = Duration::from_secs(3);
/// The gateway stores again within this.
const HEALS_WITHIN: Duration = Duration::from_secs(10);
/// What a machine shared with others adds now and then.
const NOISE: Duration = Duration::from_millis(30);
/// Counts what could not be stored.
const DROPPED: (&str, &str) = ("cache_writes_dropped_total", "tier=\"database\"");

/// What one way showed.
struct Shown {
    way: Way,
    asked: Vec<Asked>,
    /// 99 of 100 warm requests before and after the fault, then of those behind memory.
    warm: [Duration; 2],
    behind: [Duration; 2],
    /// The same of a process that has no database, during the fault.
    control: Duration,
    dropped: f64,
    /// Answers that had to be stored and are neither there nor counted.
    unaccounted: f64,
    health: String,
    stores_again: Option<Duration>,
}

#[test]
fn p7_sql_may_die() {
    let fixture = Fixture::set();
    let all: Vec<Shown> =
        (1..).zip(WAYS).map(|(series, way)| run(&fixture, way, series * 10)).collect();
    fixture.end();
    print(&all);
    for shown in &all {
        let name = shown.way.name;
        assert_no_failure(name, &shown.asked);
        let [usual, then] = shown.warm;
        let allowed = usual * 2 + NOISE + shown.control;
        assert!(then <= allowed, "{name}: warm p99 {then:?}, usually {usual:?}");
        if shown.way.keeps {
            assert!(shown.unaccounted < 0.5, "{name}: {} writes vanished", shown.unaccounted);
        }
        assert!(shown.stores_again.is_some(), "{name}: nothing stored within {HEALS_WITHIN:?}");
    }
}

fn run(fixture: &Fixture, way: Way, series: u32) -> Shown {
    let mut bench = Bench::make(fixture.folder(), way.name);
    let file = bench.file();
    let plan = fixture
        .plan_in(bench.folder())
        .with("MAX_MEMORY_CACHE_ITEMS", MEMORY_ITEMS)
        .through(TOLD_OF_LIMITS);
    let gateway = plan.start();
    let warm: Vec<String> = (0..WARM_KEYS).map(|number| page(series, number)).collect();
    let behind: Vec<String> = (0..KEYS_BEHIND).map(|number| page(series + 1, number)).collect();
    assert_all_good(way.name, &ask_all(gateway.address, &behind));
    (0..3).for_each(|_| assert_all_good(way.name, &ask_all(gateway.address, &warm)));
    let traffic =
        Traffic::start(gateway.address, RATE, CONNECTIONS, &questions(warm, behind, series));
    let control = Traffic::control(fixture.address());
    std::thread::sleep(USUAL);
    let struck = monotonic();
    bench.gateway = Some(gateway.process.id());
    (way.strike)(&mut bench);
    std::thread::sleep((struck + LASTS).saturating_duration_since(monotonic()));
    let health = health_of(&gateway, "database");
    (way.mend)(&mut bench);
    let mended = monotonic();
    let begun = rows(&file).unwrap_or(0);
    let mut again = None;
    while again.is_none() && mended.elapsed() < HEALS_WITHIN {
        std::thread::sleep(Duration::from_millis(20));
        again = (rows(&file).unwrap_or(0) > begun).then(|| mended.elapsed());
    }
    let (asked, control) = (traffic.stop(), control.stop());
    let control = time_of(within(&control, &["control"], struck, struck + LASTS), 0.99);
    let dropped = metric(&gateway, DROPPED.0, DROPPED.1);
    // Stopping stores what waits.
    gateway.stop();
    let loaded = asked.iter().filter(|one| one.kind == "cold" && one.status == 200).count();
    let wanted = f64::from(u32::try_from(loaded).unwrap() + KEYS_BEHIND + WARM_KEYS);
    let stored = f64::from(i32::try_from(rows(&file).unwrap_or(0)).unwrap());
    let p99 = |kinds: &[&str]| {
        let of = |from, to| time_of(within(&asked, kinds, from, to), 0.99);
        [of(struck - USUAL, struck), of(struck, struck + LASTS)]
    };
    let (warm, behind) = (p99(&["warm"]), p99(&["behind", "cold"]));
    let unaccounted = wanted - stored - dropped;
    Shown { way, warm, behind, control, dropped, unaccounted, health, stores_again: again, asked }
}

/// A third each: what memory holds, what only SQL holds, what nobody asked for.
fn questions(warm: Vec<String>, behind: Vec<String>, series: u32) -> Questions {
    let pick = |paths: &[String], number: u32| {
        paths[usize::try_from(number).unwrap_or_default() % paths.len()].clone()
    };
    std::sync::Arc::new(move |number| match number % 3 {
        0 => ("warm", pick(&warm, number / 3)),
        1 => ("behind", pick(&behind, number / 3)),
        _ => ("cold", page(series + 2, number)),
    })
}

fn print(all: &[Shown]) {
    let title =
        format!("P7: {RATE} requests a second, a third each warm, in SQL only, cold; times in ms");
    let columns = [
        "SQL",
        "requests",
        "failed",
        "warm p99",
        "then",
        "behind p99",
        "then",
        "control",
        "dropped",
        "unaccounted",
        "health",
        "stores again after",
    ];
    let mut table = Table::new(title, &columns);
    for shown in all {
        let failed = shown.asked.iter().filter(|one| one.status != 200).count();
        let [warm, warm_then] = shown.warm.map(millis);
        let [behind, behind_then] = shown.behind.map(millis);
        table.row([
            shown.way.name.to_owned(),
            shown.asked.len().to_string(),
            failed.to_string(),
            warm,
            warm_then,
            behind,
            behind_then,
            millis(shown.control),
            format!("{:.0}", shown.dropped),
            if shown.way.keeps { format!("{:.0}", shown.unaccounted) } else { "-".to_owned() },
            shown.health.clone(),
            shown.stores_again.map_or_else(|| "never".to_owned(), millis),
        ]);
    }
    table.print();
}
