//! How each engine finds what it is asked for, on tables as large as they get.
//!
//! Owns: the rule that no statement of the service reads through a table. Postgres tells the plan of every
//! statement that ran, with the rows that it read (`auto_explain`); SQLite is asked for the plan of every
//! statement that ran. What is made once a minute for the whole table reads an index that holds all it
//! looks at.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use breakwater::access::{Access, AccessSettings, AuditEvent};
use breakwater::cache::CacheKey;
use breakwater::cache::tiers::database::DatabaseTier;
use breakwater::clock::{self, Timestamp};
use breakwater::database::{DatabaseSettings, Store, Watch};
use breakwater::replication::Draft;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::Text;
use serde_json::Value;

use crate::database_engines::{follower, key, note, row, settings, tier};
use crate::support::postgres::Postgres;

/// Rows of the tier; the log of changes has a fiftieth, the audit a tenth. `make acceptance` has a million.
fn rows() -> usize {
    option_env!("ROWS").and_then(|rows| rows.parse().ok()).unwrap_or(100_000)
}

/// More rows than this in one reading are a walk.
const WALK: f64 = 1_500.0;

fn keys(from: usize, count: usize) -> Vec<CacheKey> {
    (from..from + count).map(|n| key(&format!("{n:07}"))).collect()
}

/// Everything the service asks its database, but what keeps the whole table in bounds.
async fn everything(store: &Store, tier: &DatabaseTier) {
    let now = clock::now();
    tier.ping().await.unwrap();
    let known = keys(500, 20);
    let found = tier.get(&known.iter().collect::<Vec<_>>()).await.unwrap();
    assert!(found.iter().all(Option::is_some));
    assert!(tier.writer.put(row("0000007", 100, now)));
    assert!(tier.writer.put(row("new", 100, now)));
    tier.writer.used(known.iter().map(|key| (key.clone(), 1)).collect(), now);
    tier.writer.keep("plans", "1".to_owned(), now);
    tier.writer.remove(key("0000009"));
    tier.writer.flush().await;
    assert!(!tier.writer.is_refused());
    tier.restore("plans").await.unwrap();
    tier.remove(&key("0000011")).await.unwrap();
    assert_eq!(tier.remove_matching("test:search:00001*").await.unwrap(), (100, true));
    tier.texts(&known).await.unwrap();
    tier.beginnings(vec![], "test:search:00002".to_owned(), 10, |_| true).await.unwrap();

    let (_, changes) = follower(store);
    changes.catch_up().await.unwrap();
    changes.commit(note("200", "2")).await.unwrap();
    changes.commit(Draft::removal("notes", "201".to_owned(), now)).await.unwrap();
    changes.catch_up().await.unwrap();
    assert_eq!(changes.sweep().await, Ok(500));

    let access = Access::new(&AccessSettings::default(), Arc::default(), changes, store.clone());
    access.audit.note(AuditEvent::default());
    access.audit.store().await.unwrap();
    let page = access.audit.page(None, 100).await;
    assert!(page.complete && page.entries.len() == 100);
    access.audit.page(page.next, 100).await;
}

/// What keeps the whole table in bounds, once a minute.
async fn upkeep(tier: &DatabaseTier) {
    let began = clock::monotonic();
    assert_eq!(tier.most_used(200, clock::now()).await.unwrap().len(), 200);
    eprintln!("most used: {:?}", began.elapsed());
    let began = clock::monotonic();
    let swept = tier.sweep(Timestamp::from_millis(1_000), u64::MAX).await.unwrap();
    assert!(swept.expired > 0 && swept.bytes > swept.rows * 300, "{swept:?}");
    eprintln!("a sweep: {:?}", began.elapsed());
    let began = clock::monotonic();
    let swept = tier.sweep(Timestamp::from_millis(1_000), swept.bytes / 2).await.unwrap();
    assert!(swept.evicted >= 1_000, "{swept:?}");
    eprintln!("a sweep for room: {:?} for {} rows", began.elapsed(), swept.evicted);
}

#[tokio::test]
async fn postgres_reads_through_no_table() {
    let server = Postgres::start();
    let url = server.url();
    drop(Store::open(settings(&url), clock::monotonic(), clock::now()));
    let rows = rows();
    server.sql(&format!(
        "INSERT INTO cache_entries SELECT 'test:search:' || lpad(n::text, 7, '0'), 'search', \
         decode(repeat('00', 300), 'hex'), n, n + 500, '{{}}', n % 100, n, 400 \
         FROM generate_series(1, {rows}) n; \
         INSERT INTO changes (topic, key, payload, at, instance, keep_until) \
         SELECT 'notes', n::text, '1', n, '', CASE WHEN n > {rows} / 50 - 500 THEN n END \
         FROM generate_series(1, {rows} / 50) n; \
         INSERT INTO audit_log (at, actor, address, action, subject, outcome, request_id) \
         SELECT n, '', '', '', '', '', '' FROM generate_series(1, {rows} / 10) n"
    ));
    server.sql("VACUUM ANALYZE");
    server.configure(
        "session_preload_libraries = 'auto_explain'\nauto_explain.log_min_duration = 0\n\
         auto_explain.log_analyze = on\nauto_explain.log_timing = off\n\
         auto_explain.log_format = json\n",
    );
    let (store, _) = Store::open(settings(&url), clock::monotonic(), clock::now());
    let tier = tier(&store);
    everything(&store, &tier).await;
    upkeep(&tier).await;
    drop((tier, store));
    let log = server.log();
    server.stop();
    let plans: Vec<Value> = plans(&log);
    let statements: BTreeSet<_> = plans.iter().map(|plan| plan["Query Text"].to_string()).collect();
    assert!(statements.len() >= 20, "{statements:#?}");
    for plan in &plans {
        assert!(plan.get("JIT").is_none(), "compiled for one run: {plan}");
        let mut found = Vec::new();
        walks(&plan["Plan"], &mut found);
        assert!(found.is_empty(), "{}: {found:#?}", plan["Query Text"]);
    }
}

/// The plans in the log: each begins after `plan:`, in lines that begin with a tab.
fn plans(log: &str) -> Vec<Value> {
    let pieces = log.split(" plan:\n").skip(1);
    let text = pieces.map(|piece| {
        piece.lines().take_while(|line| line.starts_with('\t')).collect::<Vec<_>>().join("\n")
    });
    text.map(|text| serde_json::from_str(&text).unwrap()).collect()
}

/// The parts of a plan that read many rows of a table, and not from an index alone.
fn walks(plan: &Value, found: &mut Vec<String>) {
    let number = |name: &str| plan[name].as_f64().unwrap_or_default();
    let read = (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops");
    let kind = plan["Node Type"].as_str().unwrap_or_default();
    let reads_table = kind == "Seq Scan" || kind.ends_with("Scan") && !kind.contains("Index Only");
    if reads_table && plan.get("Relation Name").is_some() && read > WALK {
        found.push(format!("{kind} on {}: {read} rows", plan["Relation Name"]));
    }
    plan["Plans"].as_array().into_iter().flatten().for_each(|part| walks(part, found));
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    detail: String,
}

#[tokio::test]
async fn sqlite_reads_through_no_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    let shapes = Arc::new(Mutex::new(BTreeSet::new()));
    let noted = Arc::clone(&shapes);
    let watch =
        Watch::new(move |ran| noted.lock().unwrap().extend(ran.statement)).of_all_statements();
    let (store, _) =
        Store::open_watched(DatabaseSettings::at(&path), watch, clock::monotonic(), clock::now());
    let mut beside = SqliteConnection::establish(&path.to_string_lossy()).unwrap();
    let numbers = |most| {
        format!("WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {most})")
    };
    let filled = format!(
        "PRAGMA busy_timeout = 5000; PRAGMA synchronous = OFF; BEGIN IMMEDIATE; \
         {} INSERT INTO cache_entries SELECT printf('test:search:%07d', n), 'search', zeroblob(300), \
         n, n + 500, '{{}}', n % 100, n, 400 FROM n; \
         {} INSERT INTO changes (topic, key, payload, at, instance, keep_until) \
         SELECT 'notes', n, '1', n, '', CASE WHEN n > {} THEN n END FROM n; \
         {} INSERT INTO audit_log (at, actor, address, action, subject, outcome, request_id) \
         SELECT n, '', '', '', '', '', '' FROM n; COMMIT; ANALYZE;",
        numbers(rows()),
        numbers(rows() / 50),
        rows() / 50 - 500,
        numbers(rows() / 10)
    );
    beside.batch_execute(&filled).unwrap();
    let tier = tier(&store);
    everything(&store, &tier).await;
    upkeep(&tier).await;
    let shapes = shapes.lock().unwrap().clone();
    assert!(shapes.len() >= 20, "{shapes:#?}");
    let large = ["cache_entries", "changes", "audit_log"];
    let is_query = |shape: &&String| {
        ["SELECT", "INSERT", "UPDATE", "DELETE"].iter().any(|word| shape.starts_with(word))
    };
    for shape in shapes.iter().filter(is_query) {
        let asked = diesel::sql_query(format!("EXPLAIN QUERY PLAN {shape}"));
        let steps: Vec<Step> =
            asked.load(&mut beside).unwrap_or_else(|why| panic!("{shape}: {why}"));
        for Step { detail } in &steps {
            let walks = large.iter().any(|table| detail.starts_with(&format!("SCAN {table}")))
                && !detail.contains(" INDEX ");

            assert!(!walks, "{shape}: {detail}");
        }
    }
}
