//! P7, the half about starting: what a process finds that was killed in mid-write, or whose tables
//! are gone.
//!
//! Holds when no request fails; after a kill the file is whole and holds what was answered a
//! moment before; a torn row is a miss, counted, and stored anew; and missing tables are made again.

use std::sync::Arc;
use std::time::Duration;

use breakwater::clock::monotonic;
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Text;

use crate::figures::{Table, millis};
use crate::fixture::{Fixture, metric, page};
use crate::stored::{FILE, connect, rows};
use crate::support::process::wait_until;
use crate::survey::{Reply, ask_all, assert_all_good, by_tier};
use crate::traffic::{Questions, Traffic};

const RATE: u32 = 150;
const CONNECTIONS: u32 = 24;
/// What was answered so long before the kill has been written.
const WRITTEN_WITHIN: Duration = Duration::from_millis(500);
const KEYS: u32 = 200;
const HEALS_WITHIN: Duration = Duration::from_secs(10);
const CORRUPT: (&str, &str) = ("cache_corrupt_entries_total", "tier=\"database\"");

fn count(replies: &[Reply], tier: &str) -> usize {
    by_tier(replies).get(tier).copied().unwrap_or(0)
}

#[test]
fn p7_sql_killed_in_mid_write() {
    let fixture = Fixture::set();
    let plan = fixture.plan();
    let file = fixture.folder().join(FILE);
    let gateway = plan.start();
    let questions: Questions = Arc::new(|number| ("cold", page(70, number)));
    let traffic = Traffic::start(gateway.address, RATE, CONNECTIONS, &questions);
    std::thread::sleep(Duration::from_secs(2));
    let killed = monotonic();
    gateway.process.kill();
    let asked = traffic.stop();
    let early = |due| due + WRITTEN_WITHIN < killed;
    let written = (0..).zip(&asked).filter(|(_, one)| early(one.due) && one.status == 200);
    let paths: Vec<String> = written.map(|(number, _)| page(70, number)).collect();

    let check = sql::<Text>("PRAGMA integrity_check").load::<String>(&mut connect(&file));
    let gateway = plan.start();
    let replies = ask_all(gateway.address, &paths);
    let corrupt = metric(&gateway, CORRUPT.0, CORRUPT.1);
    gateway.stop();

    let cut = "UPDATE cache_entries SET entry = substr(entry, 1, length(entry) / 2) \
               WHERE key IN (SELECT key FROM cache_entries ORDER BY key LIMIT 50)";
    let torn = diesel::sql_query(cut).execute(&mut connect(&file)).expect("rows can be cut");
    let all: Vec<String> = (0..asked.len()).map(|n| page(70, n.try_into().unwrap())).collect();
    let gateway = plan.start();
    let after_cut = ask_all(gateway.address, &all);
    let corrupt_after_cut = metric(&gateway, CORRUPT.0, CORRUPT.1);
    gateway.stop();
    let gateway = plan.start();
    let healed = ask_all(gateway.address, &all);
    gateway.stop();
    fixture.end();

    let mut table = Table::new(
        format!("P7: killed in mid-write at {RATE} cold requests a second; then {torn} rows cut"),
        &["", "asked", "by tier", "corrupt rows"],
    );
    let row = |name: &str, replies: &[Reply], corrupt: String| {
        let tiers = format!("{:?}", by_tier(replies));
        [name.to_owned(), replies.len().to_string(), tiers, corrupt]
    };
    table.row(row("after the kill", &replies, format!("{corrupt:.0}")));
    table.row(row("after the cut", &after_cut, format!("{corrupt_after_cut:.0}")));
    table.row(row("once more", &healed, "-".to_owned()));
    table.print();
    assert_eq!(check.expect("the file can be read"), ["ok"], "the file after the kill");
    for replies in [&replies, &after_cut, &healed] {
        assert_all_good("after a kill", replies);
    }
    assert_eq!(count(&replies, "none"), 0, "of {} keys written before", replies.len());
    assert!(corrupt < 0.5, "{corrupt} rows are torn by a kill");
    assert_eq!(format!("{corrupt_after_cut:.0}"), torn.to_string(), "each torn row is counted");
    assert!(count(&after_cut, "none") >= torn, "a torn row is a miss");
    assert_eq!(count(&healed, "none"), 0, "what was torn is stored anew");
}

#[test]
fn p7_sql_without_its_tables() {
    let fixture = Fixture::set();
    let plan = fixture.plan();
    let file = fixture.folder().join(FILE);
    let gateway = plan.start();
    assert_all_good("before", &ask_all(gateway.address, &[page(71, 0)]));
    gateway.stop();
    let mut beside = connect(&file);
    let tables = sql::<Text>(
        "SELECT name FROM sqlite_master WHERE type = 'table' \
         AND name NOT LIKE 'sqlite%' AND name NOT LIKE '!_!_diesel%' ESCAPE '!'",
    );
    let tables: Vec<String> = tables.load(&mut beside).expect("the file can be read");
    for table in &tables {
        beside.batch_execute(&format!("DROP TABLE {table}")).expect("a table to drop");
    }
    drop(beside);

    let started = monotonic();
    let gateway = plan.start();
    let mut series = 71;
    let mut replies = Vec::new();
    let healed = loop {
        let paths: Vec<String> = (0..KEYS).map(|number| page(series, number)).collect();
        replies.extend(ask_all(gateway.address, &paths));
        if rows(&file).is_some_and(|rows| rows > 0) {
            break Some(started.elapsed());
        }
        if started.elapsed() > HEALS_WITHIN {
            break None;
        }
        series += 1;
    };
    gateway.stop();
    let kept = healed.map(|_| {
        let gateway = plan.start();
        let paths: Vec<String> = (0..KEYS).map(|number| page(series, number)).collect();
        let kept = count(&ask_all(gateway.address, &paths), "database");
        gateway.stop();
        kept
    });
    fixture.end();
    println!(
        "\nP7: started without {}: {} requests, {} failed; stores again after {}; the next process has {kept:?}",
        tables.join(", "),
        replies.len(),
        replies.iter().filter(|reply| !reply.is_good()).count(),
        healed.map_or_else(|| "never".to_owned(), |time| format!("{} ms", millis(time))),
    );
    assert!(!tables.is_empty(), "there were tables to drop");
    assert_all_good("without tables", &replies);
    assert!(healed.is_some(), "nothing is stored within {HEALS_WITHIN:?}");
}

#[test]
fn p7_sql_empty_at_the_start() {
    let fixture = Fixture::set();
    let file = fixture.folder().join(FILE);
    std::fs::write(&file, "").expect("an empty file");
    let gateway = fixture.plan().start();
    assert_all_good("an empty file", &ask_all(gateway.address, &[page(72, 1)]));
    wait_until("a row is stored", HEALS_WITHIN, || rows(&file) == Some(1));
    gateway.stop();
    fixture.end();
}
