//! P8: each of Redis, SQL and upstream up, slow or down, in all combinations, on fresh, stale and
//! unknown keys.
//!
//! Holds when every answer is one that `docs/truth-table.md` foresees for its case, live is always
//! 200, and ready and detailed tell the truth within a second of a change. Redis and the upstream
//! change under a running gateway; each state of SQL has a gateway of its own.

use std::time::{Duration, Instant};

use breakwater::clock::monotonic;
use serde_json::json;

use crate::figures::{Table, millis};
use crate::fixture::{Fixture, health_of, page};
use crate::p8_states::{CASES, EACH, behind_memory, hot, number_of, seed, start};
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::gateway::Running;
use crate::support::http::Answer;
use crate::support::redis::Redis;
use crate::survey::{ask_all, assert_all_good};
use crate::truth_table::{Case, Page, Seen, State};

/// Fresh time of what is to be stale, and when it is for sure (it varies by a tenth).
const FRESH_SECONDS: &str = "1";
const STALE_AFTER: Duration = Duration::from_millis(1_200);
const TOLD_WITHIN: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What a machine shared with others adds to looking.
const NOISE: Duration = Duration::from_millis(100);

const KINDS: [&str; 4] = ["fresh in memory", "fresh behind memory", "stale", "unknown"];

/// What was seen: each case that was answered otherwise, and how long each truth took.
#[derive(Default)]
struct Findings {
    wrong: Vec<String>,
    used: Vec<usize>,
    told: Vec<(String, Duration)>,
    answers: u32,
}

struct Scene<'a> {
    page: &'a Page,
    fixture: &'a Fixture,
    wire: &'a FaultProxy,
    gateway: Running,
    sql: State,
}

#[test]
fn p8_truth_table() {
    let (page, fixture, redis) = (Page::read(), Fixture::set(), Redis::start());
    let wire = FaultProxy::before(redis.address());
    let plan = fixture
        .plan()
        .with("REDIS_URL", format!("redis://{}/0", wire.address()))
        .with("CACHE_TTL_HOT", FRESH_SECONDS)
        .with("RETRY_MAX_ATTEMPTS", "1")
        .with("BREAKER_FAILURES", "2")
        .with("BREAKER_OPEN_SECONDS", "60");
    seed(&plan, &redis);
    let mut findings = Findings::default();
    for sql in State::ALL {
        fixture.upstream_recovers();
        wire.set(Fault::None);
        let (gateway, lock) = start(&plan, fixture.folder(), sql);
        let scene = Scene { page: &page, fixture: &fixture, wire: &wire, gateway, sql };
        scene.play(&mut findings);
        scene.gateway.stop();
        drop(lock);
    }
    redis.stop();
    fixture.end();
    print(&findings);
    assert!(findings.wrong.is_empty(), "not in the table: {:#?}", findings.wrong);
    let late: Vec<_> = findings.told.iter().filter(|told| told.1 > TOLD_WITHIN + NOISE).collect();
    assert!(late.is_empty(), "told late: {late:?}");
    let unused: Vec<_> = (0..page.lines()).filter(|line| !findings.used.contains(line)).collect();
    println!("  lines of the table never seen (they are alternatives): {unused:?}");
}

impl Scene<'_> {
    /// Every case of one state of SQL.
    fn play(&self, findings: &mut Findings) {
        let first = number_of(self.sql) * CASES * EACH;
        let stale: Vec<String> = (first..first + CASES * EACH).map(hot).collect();
        let in_memory: Vec<String> = (0..EACH).map(|number| page(82, first + number)).collect();
        assert_all_good("stale one day", &ask_all(self.gateway.address, &stale));
        assert_all_good("fresh", &ask_all(self.gateway.address, &in_memory));
        std::thread::sleep(STALE_AFTER);
        let mut place = 0;
        for upstream in State::ALL {
            for redis in State::ALL {
                let case = Case { redis, sql: self.sql, upstream };
                self.change_to(case, first + place, findings);
                for number in (first + place)..(first + place + EACH) {
                    let memory = &in_memory[usize::try_from(number % EACH).unwrap()];
                    let unknown = page(83, number);
                    let paths = [memory.clone(), behind_memory(number), hot(number), unknown];
                    for (key, path) in KINDS.into_iter().zip(paths) {
                        self.check(case, key, &path, findings);
                    }
                }
                place += EACH;
            }
        }
    }

    /// Puts the parts into their states and waits until health says so.
    fn change_to(&self, case: Case, number: u32, findings: &mut Findings) {
        let changed = monotonic();
        self.wire.set(match case.redis {
            State::Up => Fault::None,
            State::Slow => Fault::Delay(Duration::from_millis(200)),
            State::Down => Fault::Refuse,
        });
        match case.upstream {
            State::Up => self.fixture.upstream_recovers(),
            State::Slow => self.fixture.upstream(&json!({"fault": "delay", "ms": 600})),
            State::Down => self.fixture.upstream(&json!({"fault": "status", "status": 503})),
        }
        for part in [("Redis", "redis", case.redis), ("SQL", "database", case.sql)] {
            self.until_told(part, changed, findings, || {});
        }
        // Nobody knows about the upstream before a call fails; the first does so now.
        let (changed, mut tried) = (monotonic(), 0);
        self.until_told(("upstream", "upstream", case.upstream), changed, findings, || {
            if case.upstream == State::Down {
                tried += 1;
                drop(self.ask(&page(84, number * 1_000 + tried)));
            }
        });
        for path in ["/health/live", "/health/ready", "/health/detailed"] {
            let status = self.ask(path).status;
            if status != 200 {
                findings.wrong.push(format!("{path} {status} in {case:?}"));
            }
        }
    }

    /// Looks at health, after `before` each time, until it says what the page says.
    fn until_told(
        &self,
        (part, component, state): (&str, &str, State),
        changed: Instant,
        findings: &mut Findings,
        mut before: impl FnMut(),
    ) {
        let foreseen = self.page.health_of(part, state);
        let name = format!("{part} {}, SQL {}", state.name(), self.sql.name());
        let mut said = String::new();
        while changed.elapsed() < PATIENCE {
            before();
            said = health_of(&self.gateway, component);
            if foreseen.contains(&said.as_str()) {
                findings.told.push((name, changed.elapsed()));
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        findings.wrong.push(format!("{name}: health says {said}, not {foreseen:?}"));
    }

    fn ask(&self, path: &str) -> Answer {
        self.gateway.connection().get(path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn check(&self, case: Case, key: &str, path: &str, findings: &mut Findings) {
        let seen = seen(&self.ask(path));
        findings.answers += 1;
        match self.page.line_for(case, key, &seen) {
            Some(line) => findings.used.push(line),
            None => findings.wrong.push(format!(
                "{key}, {case:?}: {seen:?}; lines that speak of it: {:?}",
                self.page.lines_of(case, key)
            )),
        }
    }
}

fn seen(answer: &Answer) -> Seen {
    let body = answer.json();
    let metadata = &body["metadata"];
    let words = metadata["degraded"].as_array().into_iter().flatten();
    let degraded = words.filter_map(|word| word.as_str().map(str::to_owned)).collect();
    let status = match (answer.status, body["retry_after"].is_u64()) {
        (503, false) => "503 without retry_after".to_owned(),
        (status, _) => status.to_string(),
    };
    let tier = metadata["cache_tier"].as_str().unwrap_or("-").to_owned();
    let stale = metadata["stale"].as_bool().map_or("-", |stale| if stale { "yes" } else { "no" });
    Seen { status, tier, stale: stale.to_owned(), degraded }
}

fn print(findings: &Findings) {
    let mut times: Vec<_> = findings.told.iter().map(|told| told.1).collect();
    times.sort_unstable();
    let mut table = Table::new(
        "P8: the truth table; times in ms",
        &["cases", "answers", "not in the table", "health told after, p50", "max"],
    );
    table.row([
        (3 * CASES).to_string(),
        findings.answers.to_string(),
        findings.wrong.len().to_string(),
        millis(crate::figures::quantile(&times, 0.5)),
        millis(crate::figures::quantile(&times, 1.0)),
    ]);
    table.print();
}
