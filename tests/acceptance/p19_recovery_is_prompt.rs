//! P19: recovery is prompt.
//!
//! An upstream fails for ten seconds and is whole again; questions that no cache has are asked at 20
//! a second all the time. Holds when nine of ten asked in the three seconds after the first good
//! answer are good, and nearly all from then on; when half-open admits no more than its permits, the
//! breaker does not open again, and retries stay a fifth of the calls. The gateway is set up as its
//! operator would.

use std::sync::Arc;
use std::time::{Duration, Instant};

use breakwater::clock::monotonic;
use serde_json::json;

use crate::burst::make_room;
use crate::figures::Table;
use crate::fixture::{Fixture, page};
use crate::open_loop::{Heard, Offer, OpenLoop};
use crate::recovery_watch::{Move, Seen, Watch};

/// New questions a second.
const OFFERED: u32 = 20;
const NORMAL_FOR: Duration = Duration::from_secs(3);
const OUTAGE: Duration = Duration::from_secs(10);
/// Longer than the breaker stays open at most.
const WATCHED_AFTER: Duration = Duration::from_secs(25);
const PROMPT: Duration = Duration::from_secs(3);
const GOOD_SHARE: f64 = 0.9;
/// Probes that half-open admits.
const PERMITS: u64 = 3;
/// Retries in a second of few calls.
const FEW: u64 = 2;

#[test]
fn p19_recovery_is_prompt() {
    make_room();
    let fixture = Fixture::set();
    let plan = fixture
        .plan()
        .with("UPSTREAM_RATE_PER_SECOND", "100")
        .with("UPSTREAM_BURST", "20")
        // Sooner than by default, so that the outage ends between two probes.
        .with("BREAKER_OPEN_SECONDS", "5");
    let gateway = plan.start();
    let offer = Offer {
        address: gateway.address,
        rate: OFFERED,
        connections: 256,
        threads: 1,
        paths: Arc::new(|number| page(1, number)),
        headers: "",
    };
    let watch = Watch::start(&fixture, &gateway);
    let load = OpenLoop::start(&offer);
    std::thread::sleep(NORMAL_FOR);
    let outage = monotonic();
    fixture.upstream(&json!({"fault": "status", "status": 503}));
    std::thread::sleep(OUTAGE);
    let whole = monotonic();
    fixture.upstream_recovers();
    std::thread::sleep(WATCHED_AFTER);
    let course = Course { outage, whole, end: monotonic(), heard: load.stop(), seen: watch.stop() };
    gateway.stop();
    let moves = course.seen.moves(fixture.folder());
    fixture.end();
    course.print(&moves);
    let broken = course.broken(&moves);
    assert!(broken.is_empty(), "P19 does not hold:\n{}", broken.join("\n"));
}

/// What happened, and when.
struct Course {
    outage: Instant,
    whole: Instant,
    end: Instant,
    heard: Heard,
    seen: Seen,
}

impl Course {
    /// When the first good answer came after the outage.
    fn first_good(&self) -> Option<Instant> {
        let good = self.heard.sent.iter().filter(|sent| sent.is_good());
        good.map(|sent| sent.at + sent.took).filter(|came| *came >= self.whole).min()
    }

    /// What does not hold.
    fn broken(&self, moves: &[Move]) -> Vec<String> {
        let mut broken = Vec::new();
        let Some(first) = self.first_good() else { return vec!["nothing was good again".into()] };
        let lost = self.heard.sent.iter().filter(|sent| sent.status == 0).count();
        if lost > 0 || self.heard.unsent > 0 {
            broken.push(format!("{lost} without any answer, {} not sent", self.heard.unsent));
        }
        for (from, to, least) in
            [(first, first + PROMPT, GOOD_SHARE), (first + PROMPT, self.end - PROMPT, 0.99)]
        {
            let share = self.good_share(from, to);
            if share < least {
                let from = (from - first).as_secs_f64();
                broken
                    .push(format!("{share:.3} good from {from:.1} s after the first, not {least}"));
            }
        }
        let closed = moves.iter().position(|moved| moved.at >= self.whole && moved.to == "closed");
        let Some(closed) = closed else { return vec!["it never closed".to_owned()] };
        if moves[closed..].iter().any(|moved| moved.to == "open") {
            broken.push("it opened again after it had closed".to_owned());
        }
        for (place, moved) in moves.iter().enumerate().filter(|(_, moved)| moved.to == "half_open")
        {
            let ends = moves.get(place + 1).map_or(self.end, |next| next.at);
            let calls = self.seen.calls_by(ends) - self.seen.calls_by(moved.at);
            if calls > PERMITS {
                broken.push(format!("{calls} calls while half open"));
            }
        }
        let seconds = self.seen.seconds();
        let retried =
            seconds.map(|(first, last)| (last.retries - first.retries, last.calls - first.calls));
        let beyond = retried.filter(|(retries, calls)| *retries > FEW && retries * 5 > *calls);
        match beyond.count() {
            0 => {}
            bad => broken.push(format!("{bad} seconds with too many retries")),
        }
        broken
    }

    fn good_share(&self, from: Instant, to: Instant) -> f64 {
        let (good, all) = self.heard.counts(from, to);
        f64::from(good) / f64::from(all.max(1))
    }

    fn print(&self, moves: &[Move]) {
        let title =
            format!("P19: an outage of {OUTAGE:?}, then whole again; {OFFERED} questions/s");
        let columns = ["second", "upstream", "asked", "good", "calls", "retries", "breaker"];
        let mut table = Table::new(title, &columns);
        for second in 0..(self.end - self.outage).as_secs() {
            let from = self.outage + Duration::from_secs(second);
            let to = from + Duration::from_secs(1);
            let (good, asked) = self.heard.counts(from, to);
            let (calls, retries) = self.seen.between(from, to);
            let upstream = if from < self.whole { "down" } else { "whole" };
            let moved = moves.iter().filter(|moved| from <= moved.at && moved.at < to);
            let moved: Vec<_> =
                moved.map(|moved| format!("{} ({})", moved.to, moved.reason)).collect();
            let counts = [u64::from(asked), u64::from(good), calls, retries];
            let cells = [second.to_string(), upstream.to_owned()].into_iter();
            table.row(cells.chain(counts.map(|count| count.to_string())).chain([moved.join(", ")]));
        }
        table.print();
        if let Some(first) = self.first_good() {
            let share = self.good_share(first, first + PROMPT);
            println!("  good in the {PROMPT:?} after the first good answer: {share:.3}");
        }
    }
}
