//! A gateway that loses the way to its Redis for a while.

use std::cell::Cell;

use crate::pair::{Instance, Upstream, search, until};
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::http::Connection;
use crate::support::redis::Redis;

/// A gateway at the end of a wire that may break.
struct Parted {
    redis: Redis,
    wire: FaultProxy,
    upstream: Upstream,
    far: Instance,
}

impl Parted {
    fn start(settings: &[(&'static str, &str)]) -> Self {
        let (redis, upstream) = (Redis::start(), Upstream::start());
        let wire = FaultProxy::before(redis.address());
        let url = format!("redis://{}/0", wire.address());
        let of_far: Vec<_> = settings.iter().copied().chain([("REDIS_URL", &*url)]).collect();
        let far = Instance::start(&upstream, Some(&redis), &of_far);
        Self { redis, wire, upstream, far }
    }

    /// The wire breaks; the far one has noticed when this returns.
    fn part(&self) {
        self.wire.set(Fault::Cut);
        until("the far one has noticed", || {
            let avoided = "circuit_breaker_state{name=\"redis\"}";
            self.far.metric(avoided) > 0.5
        });
    }

    fn stop(self) {
        let Self { redis, wire, upstream, far } = self;
        far.stop();
        drop(wire);
        redis.stop();
        upstream.stop();
    }
}

#[test]
fn a_request_is_explained_with_redis_and_while_it_is_not_asked() {
    let parted = Parted::start(&[]);
    let numbers = Cell::new(100);
    // What the explained way of a new search says of Redis.
    let is_redis = |expected: &str| {
        let number = numbers.replace(numbers.get() + 1);
        let id = format!("search-{number}");
        let mut connection = Connection::to(parted.far.address()).with_header("x-request-id", &id);
        assert_eq!(connection.get(&search(number)).unwrap().status, 200);
        let told = parted.far.admin("GET", &format!("/admin/requests/{id}"), "");
        let steps = told["requests"][0]["steps"].as_array().unwrap().clone();
        steps.iter().any(|step| step["stage"] == "redis" && step["verdict"] == expected)
    };
    until("redis misses it", || is_redis("miss"));
    parted.part();
    until("redis is not asked", || is_redis("bypassed"));
    parted.stop();
}

#[test]
fn who_is_not_asked_takes_no_time() {
    let parted = Parted::start(&[]);
    let far = &parted.far;
    far.tier(&search(1));
    let asked = || {
        ["get_redis", "put_redis"].map(|what| {
            let series = "cache_operation_latency_seconds_count{cache_type=\"search\",operation=";
            far.metric(&format!("{series}\"{what}\""))
        })
    };
    until("redis was asked", || asked().iter().all(|times| *times > 0.5));
    parted.part();
    let before: f64 = asked().iter().sum();
    (2..12).for_each(|number| drop(far.tier(&search(number))));
    // What was under way when it was noticed may end only now.
    let more = asked().iter().sum::<f64>() - before;
    assert!(more < 3.0, "ten times not asked, and {more} times noted");
    parted.stop();
}
