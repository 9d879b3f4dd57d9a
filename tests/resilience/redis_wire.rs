//! Redis behind a wire that breaks in every way, while a gateway asks for what memory lacks.
//!
//! Owns: the rule of promise P6. No request fails; the first few take the tier's time-out longer,
//! the others nothing, because the breaker keeps Redis out of the way; the answers and the health
//! report say so; when Redis is back all is well again without anyone doing anything.

use std::time::Duration;

use crate::front::{Front, median};
use crate::redis_rig::keys_of_entries;
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::redis::Redis;

/// The tier's own time-out: what a request may wait for Redis at most.
const TIMEOUT: Duration = breakwater::redis::DEFAULT_TIMEOUT;
/// Failures after which Redis is left alone, and what two workers may have under way beside them.
const FIRST_FEW: u32 = 10;

struct Broken {
    redis: Redis,
    proxy: FaultProxy,
    front: Front,
    _folder: tempfile::TempDir,
}

impl Broken {
    fn start(first: Fault) -> Self {
        let redis = Redis::start();
        let proxy = FaultProxy::before(redis.address());
        proxy.set(first);
        let folder = tempfile::tempdir().unwrap();
        let url = format!("redis://{}/0", proxy.address());
        let front = Front::start(folder.path(), Some(&url));
        Self { redis, proxy, front, _folder: folder }
    }

    /// While it is broken: answers, few late ones, and the truth about it.
    fn holds(&mut self) {
        let front = &mut self.front;
        let asked = front.until_misses("redis", true);
        assert!(asked <= FIRST_FEW, "told only after {asked} requests");
        assert_eq!(front.health_of("redis"), "unhealthy");
        let errors = front.metric("cache_errors_total{cache_type=\"search\",cache_layer=\"redis\"");
        let took: Vec<_> = (0..20).map(|_| front.ask_anew().took).collect();
        let more = front.metric("cache_errors_total{cache_type=\"search\",cache_layer=\"redis\"");
        assert!(more - errors <= 8.0, "{} of 20 requests asked Redis", more - errors);
        let usual = median(took);
        assert!(usual < TIMEOUT, "every request still waits: {usual:?}");
    }

    /// After it: well again by itself, and used again.
    fn heals(&mut self) {
        self.proxy.set(Fault::None);
        self.front.until_health("redis", "healthy");
        self.front.until_misses("redis", false);
        let before = keys_of_entries(&self.redis).len();
        let deadline = breakwater::clock::monotonic() + Duration::from_secs(5);
        while keys_of_entries(&self.redis).len() == before {
            self.front.ask_anew();
            assert!(breakwater::clock::monotonic() < deadline, "nothing is stored any more");
        }
    }

    fn stop(self) {
        self.front.stop();
        self.redis.stop();
    }
}

fn breaks_and_heals(faults: &[Fault]) {
    let mut broken = Broken::start(Fault::None);
    assert!(!broken.front.ask_anew().misses("redis"));
    for fault in faults {
        broken.proxy.set(*fault);
        broken.holds();
        broken.heals();
    }
    broken.stop();
}

#[test]
fn a_redis_that_hangs_or_is_slow_is_left_alone() {
    breaks_and_heals(&[Fault::Hang, Fault::Delay(Duration::from_millis(200))]);
}

#[test]
fn a_redis_that_cuts_or_refuses_connections_is_left_alone() {
    breaks_and_heals(&[Fault::Cut, Fault::Refuse]);
}

#[test]
fn a_redis_that_talks_nonsense_is_left_alone() {
    breaks_and_heals(&[Fault::Garble]);
}

#[test]
fn a_redis_that_is_not_there_at_the_start_is_used_when_it_comes() {
    let mut broken = Broken::start(Fault::Refuse);
    broken.holds();
    broken.heals();
    broken.stop();
}
