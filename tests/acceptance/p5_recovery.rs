//! P5: recovery does not break the upstream again.
//!
//! An upstream that can do 200 calls a second fails for some seconds, comes back with a fifth of
//! that for 10 s, and is offered three times as much, every question a new one; 1,000 more ask at
//! the moment the breaker half-opens. Holds when half-open admits no more than its permits, the
//! breaker does not open a second time once it has closed, retries are at most a fifth of the calls
//! in every second (two of them in a quiet one), and nearly everything is good again some seconds
//! after the upstream has all of its strength. The gateway is set up as its operator would.

use std::sync::Arc;
use std::time::{Duration, Instant};

use breakwater::clock::monotonic;
use serde_json::{Value, json};

use crate::burst::make_room;
use crate::figures::Table;
use crate::fixture::{Fixture, page};
use crate::open_loop::{Heard, Offer, OpenLoop, volley};
use crate::recovery_watch::{Move, Seen, Watch};
use crate::support::gateway::Running;

/// What the upstream can do, and what it can do right after the outage, in calls a second.
const CAPACITY: u32 = 200;
const WEAK: u32 = CAPACITY / 5;
/// New questions a second.
const OFFERED: u32 = WEAK * 3;
/// Time of an answer within the capacity.
const ANSWERS_AFTER_MS: u32 = 50;
const WAITING: u32 = 1_000;

const NORMAL_FOR: Duration = Duration::from_secs(5);
/// The outage ends with the first time that the breaker would half-open after this.
const OUTAGE: Duration = Duration::from_secs(8);
const WEAK_FOR: Duration = Duration::from_secs(10);
const WATCHED_AFTER: Duration = Duration::from_secs(20);
/// Before it half-opens: the crowd's connections are opened, and the upstream comes back.
const GATHERS: Duration = Duration::from_millis(1_500);
const COMES_BACK: Duration = Duration::from_millis(200);

/// Probes that half-open admits.
const PERMITS: u64 = 3;
/// Retries in a second of few calls.
const FEW: u64 = 2;
const GOOD_SHARE: f64 = 0.95;
/// From all of its strength to nearly everything good.
const GOOD_WITHIN: Duration = Duration::from_secs(10);

#[test]
fn p5_recovery_does_not_break_it_again() {
    make_room();
    let fixture = Fixture::set();
    fixture.upstream(&capacity(CAPACITY));
    let plan = fixture
        .plan()
        .with("UPSTREAM_RATE_PER_SECOND", CAPACITY.to_string())
        .with("UPSTREAM_BURST", "20")
        // Sooner than by default, so that it closes while the upstream is weak.
        .with("BREAKER_OPEN_SECONDS", "5");
    let gateway = plan.start();
    let course = Course::run(&fixture, &gateway);
    gateway.stop();
    let moves = course.seen.moves(fixture.folder());
    fixture.end();
    course.print(&moves);
    let broken = course.broken(&moves);
    assert!(broken.is_empty(), "P5 does not hold:\n{}", broken.join("\n"));
}

fn capacity(per_second: u32) -> Value {
    json!({"fault": "capacity", "per_second": per_second, "ms": ANSWERS_AFTER_MS, "status": 503})
}

/// What happened, and when.
struct Course {
    outage: Instant,
    weak: Instant,
    strong: Instant,
    end: Instant,
    heard: Heard,
    crowd: Heard,
    seen: Seen,
}

impl Course {
    fn run(fixture: &Fixture, gateway: &Running) -> Self {
        let offer = Offer {
            address: gateway.address,
            rate: OFFERED,
            connections: 1_024,
            threads: 1,
            paths: Arc::new(|number| page(1, number)),
            headers: "",
        };
        let watch = Watch::start(fixture, gateway);
        let load = OpenLoop::start(&offer);
        std::thread::sleep(NORMAL_FOR);
        let outage = monotonic();
        fixture.upstream(&json!({"fault": "status", "status": 503}));
        let half_opens = half_opens_after(gateway, outage + OUTAGE);
        let (weak, crowd) = std::thread::scope(|scope| {
            let paths = (0..WAITING).map(|number| page(2, number)).collect();
            let address = gateway.address;
            let crowd = scope.spawn(move || volley(address, paths, half_opens));
            sleep_until(half_opens - COMES_BACK);
            fixture.upstream(&capacity(WEAK));
            (monotonic(), crowd.join().expect("asking does not panic"))
        });
        sleep_until(weak + WEAK_FOR);
        let strong = monotonic();
        fixture.upstream(&capacity(CAPACITY));
        std::thread::sleep(WATCHED_AFTER);
        let end = monotonic();
        Self { outage, weak, strong, end, heard: load.stop(), crowd, seen: watch.stop() }
    }

    /// What does not hold.
    fn broken(&self, moves: &[Move]) -> Vec<String> {
        let mut broken = Vec::new();
        let normal = self.good_share(self.outage - NORMAL_FOR, self.outage);
        if normal < 0.99 || self.heard.unsent > 0 {
            broken.push(format!("before: {normal:.3} good, {} not sent", self.heard.unsent));
        }
        let lost = self.heard.sent.iter().chain(&self.crowd.sent).filter(|sent| sent.status == 0);
        match lost.count() {
            0 => {}
            lost => broken.push(format!("{lost} questions had no answer at all")),
        }
        broken.extend(self.broken_while_half_open(moves));
        broken.extend(self.broken_by_retries());
        match self.good_after() {
            Some(after) if after <= GOOD_WITHIN => {}
            after => broken.push(format!("good again after {after:?}, not {GOOD_WITHIN:?}")),
        }
        broken
    }

    fn broken_while_half_open(&self, moves: &[Move]) -> Vec<String> {
        let mut broken = Vec::new();
        let Some(closed) = moves.iter().position(|moved| moved.to == "closed") else {
            return vec!["it never closed".to_owned()];
        };
        let closed_at = moves[closed].at;
        if !(self.weak..self.strong).contains(&closed_at) {
            broken.push("it did not close while the upstream was weak".to_owned());
        }
        for (place, moved) in moves.iter().enumerate().filter(|(_, moved)| moved.to == "half_open")
        {
            let ends = moves.get(place + 1).map_or(self.end, |next| next.at);
            let calls = self.seen.calls_by(ends) - self.seen.calls_by(moved.at);
            if calls > PERMITS {
                broken.push(format!("{calls} calls while half open, {:?}", self.since(moved.at)));
            }
        }
        let again = moves[closed..].iter().filter(|moved| moved.to == "open");
        let again: Vec<_> = again
            .map(|moved| format!("{:.1} s ({})", self.since(moved.at), moved.reason))
            .collect();
        if !again.is_empty() {
            broken.push(format!("it opened again after it had closed: {}", again.join(", ")));
        }
        broken
    }

    fn broken_by_retries(&self) -> Option<String> {
        let beyond = |retries: u64, calls: u64| retries > FEW && retries * 5 > calls;
        let seconds = self.seen.seconds().map(|(first, last)| {
            (first.at, last.retries - first.retries, last.calls - first.calls)
        });
        let bad: Vec<_> = seconds.filter(|(_, retries, calls)| beyond(*retries, *calls)).collect();
        let worst = bad.iter().max_by_key(|(_, retries, calls)| retries * 1_000 / calls.max(&1))?;
        let (at, retries, calls) = *worst;
        Some(format!(
            "{} seconds with too many retries; the worst: {retries} of {calls} calls, at {:.1} s",
            bad.len(),
            self.since(at)
        ))
    }

    /// From all of the upstream's strength to the first second after which none is worse.
    fn good_after(&self) -> Option<Duration> {
        let seconds = (self.end - self.strong).as_secs();
        let is_good = |second: &u64| {
            let from = self.strong + Duration::from_secs(*second);
            self.good_share(from, from + Duration::from_secs(1)) >= GOOD_SHARE
        };
        let good = (0..seconds).rev().take_while(is_good).last()?;
        Some(Duration::from_secs(good))
    }

    fn good_share(&self, from: Instant, to: Instant) -> f64 {
        let (good, all) = self.heard.counts(from, to);
        f64::from(good) / f64::from(all.max(1))
    }

    /// Seconds since the outage began; negative before.
    fn since(&self, at: Instant) -> f64 {
        (at.saturating_duration_since(self.outage)).as_secs_f64()
            - (self.outage.saturating_duration_since(at)).as_secs_f64()
    }

    fn print(&self, moves: &[Move]) {
        let title = format!(
            "P5: {CAPACITY} calls/s, outage, then {WEAK}/s for {WEAK_FOR:?}, then {CAPACITY}/s; \
             {OFFERED} questions/s, {WAITING} more at once as it half-opens"
        );
        let columns = ["second", "upstream", "asked", "good", "calls", "retries", "breaker"];
        let mut table = Table::new(title, &columns);
        let seconds = (self.end - self.outage).as_secs();
        for second in 0..seconds {
            let from = self.outage + Duration::from_secs(second);
            let to = from + Duration::from_secs(1);
            let (good, asked) = self.heard.counts(from, to);
            let (calls, retries) = self.seen.between(from, to);
            let upstream = match from + Duration::from_millis(500) {
                middle if middle < self.weak => "down",
                middle if middle < self.strong => "weak",
                _ => "well",
            };
            let moved = moves.iter().filter(|moved| from <= moved.at && moved.at < to);
            let moved: Vec<_> =
                moved.map(|moved| format!("{} ({})", moved.to, moved.reason)).collect();
            let counts = [u64::from(asked), u64::from(good), calls, retries];
            let cells = [second.to_string(), upstream.to_owned()].into_iter();
            table.row(cells.chain(counts.map(|count| count.to_string())).chain([moved.join(", ")]));
        }
        table.print();
        let good = self.crowd.sent.iter().filter(|sent| sent.is_good()).count();
        println!("  the crowd: {good} of {WAITING} good");
        let (good, _) = self.heard.counts(self.weak, self.strong);
        println!("  while weak: {good} good of {} that were possible", WEAK * 10);
        println!("  {GOOD_SHARE} good again: {:?} after all of its strength", self.good_after());
    }
}

/// Waits for the last stretch before the breaker half-opens, not before `earliest`; when that is.
fn half_opens_after(gateway: &Running, earliest: Instant) -> Instant {
    let mut admin = gateway.admin();
    let deadline = earliest + Duration::from_secs(60);
    sleep_until(earliest - GATHERS);
    loop {
        assert!(monotonic() < deadline, "the breaker is not about to half-open");
        let asked = monotonic();
        let breakers = admin.get("/admin/breakers").expect("breakers are told").json();
        let left = time_left(&breakers);
        let is_near = |left: &Duration| *left <= GATHERS && *left > GATHERS / 2;
        if let Some(left) = left.filter(is_near).filter(|left| asked + *left >= earliest) {
            // Told in whole milliseconds, counted from some time after the question.
            return asked + left + Duration::from_millis(3);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How long the upstream's breaker stays open.
fn time_left(breakers: &Value) -> Option<Duration> {
    let all = breakers["data"].as_array()?;
    let upstream = all.iter().find(|breaker| breaker["name"] == "upstream")?;
    upstream["retry_after_ms"].as_u64().map(Duration::from_millis)
}

fn sleep_until(at: Instant) {
    std::thread::sleep(at.saturating_duration_since(monotonic()));
}
