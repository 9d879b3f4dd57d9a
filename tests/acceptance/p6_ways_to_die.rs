//! The ways in which P6 breaks Redis, and how each ends.
//!
//! Owns: the server, the wire before it, and what is done to both. What a broken Redis is to look
//! like from outside is said with each way.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::redis::Redis;

/// A way to break Redis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    /// Its name.
    pub(crate) name: &'static str,
    /// Whether Redis does not answer for as long as it lasts, so that health has to say so.
    pub(crate) silences: bool,
    /// Breaks it.
    pub(crate) strike: fn(&mut Bench),
    /// Mends it.
    pub(crate) mend: fn(&mut Bench),
}

/// How long clients stay paused; a paused server takes no command that would end it earlier.
pub(crate) const PAUSE: Duration = Duration::from_secs(3);

/// Every way, in the order of the promise; one, flapping, is the caller's.
pub(crate) const WAYS: [Way; 11] = [
    Way { name: "kill -9", silences: true, strike: Bench::kill, mend: Bench::revive },
    Way { name: "stopped", silences: true, strike: Bench::stop, mend: Bench::go_on },
    Way { name: "clients paused", silences: true, strike: Bench::pause, mend: nothing },
    Way {
        name: "out of memory",
        silences: false,
        strike: |bench| {
            bench.command(&[b"CONFIG", b"SET", b"maxmemory-policy", b"noeviction"]);
            bench.command(&[b"CONFIG", b"SET", b"maxmemory", b"1"]);
        },
        mend: |bench| bench.command(&[b"CONFIG", b"SET", b"maxmemory", b"0"]),
    },
    Way {
        name: "read-only",
        silences: false,
        strike: |bench| bench.command(&[b"REPLICAOF", b"127.0.0.1", b"1"]),
        mend: |bench| bench.command(&[b"REPLICAOF", b"NO", b"ONE"]),
    },
    Way {
        name: "wrong type",
        silences: false,
        strike: |bench| bench.each_key("redis.call('DEL',k) redis.call('RPUSH',k,'a list')"),
        mend: nothing,
    },
    Way {
        name: "cut values",
        silences: false,
        strike: |bench| {
            bench.each_key("redis.call('SET',k,string.sub(redis.call('GET',k),1,200),'KEEPTTL')");
        },
        mend: nothing,
    },
    Way {
        name: "garbled values",
        silences: false,
        strike: |bench| bench.each_key("redis.call('SETRANGE',k,60,'garbage in the middle')"),
        mend: nothing,
    },
    Way {
        name: "corrupt wire",
        silences: true,
        strike: |bench| bench.proxy.set(Fault::Garble),
        mend: Bench::repair_wire,
    },
    Way {
        name: "200 ms delay",
        silences: true,
        strike: |bench| bench.proxy.set(Fault::Delay(Duration::from_millis(200))),
        mend: Bench::repair_wire,
    },
    Way {
        name: "flushed",
        silences: false,
        strike: |bench| bench.command(&[b"FLUSHALL"]),
        mend: nothing,
    },
];

/// A Redis behind a wire that stays where it is.
pub(crate) struct Bench {
    redis: Option<Redis>,
    address: SocketAddr,
    proxy: FaultProxy,
}

impl Bench {
    /// Both, and nothing wrong.
    pub(crate) fn start() -> Self {
        let redis = Redis::start();
        let address = redis.address();
        Self { redis: Some(redis), address, proxy: FaultProxy::before(address) }
    }

    /// As `REDIS_URL` wants it.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}/0", self.proxy.address())
    }

    /// Redis is gone, as after a crash.
    pub(crate) fn kill(&mut self) {
        self.redis.take().expect("it runs").kill();
    }

    /// Another one, empty, where it was.
    pub(crate) fn revive(&mut self) {
        self.redis = Some(Redis::start_at(self.address));
    }

    /// Ends it.
    pub(crate) fn end(self) {
        self.redis.expect("it runs").stop();
    }

    fn running(&self) -> &Redis {
        self.redis.as_ref().expect("it runs")
    }

    fn command(&mut self, words: &[&[u8]]) {
        let answer = self.running().command(words);
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.starts_with('-'), "{}: {text}", String::from_utf8_lossy(words[0]));
    }

    /// Runs this for every key of ours.
    fn each_key(&mut self, script: &str) {
        let script = format!(
            "for _,k in ipairs(redis.call('KEYS','breakwater:*')) do if redis.call('TYPE',k).ok=='string' then {script} end end"
        );
        self.command(&[b"EVAL", script.as_bytes(), b"0"]);
    }

    fn stop(&mut self) {
        self.running().process().signal("STOP");
    }

    fn go_on(&mut self) {
        self.running().process().signal("CONT");
    }

    /// Says it and does not wait: a server that is paused does not answer.
    fn pause(&mut self) {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        let words = format!("CLIENT PAUSE {} ALL\r\n", PAUSE.as_millis());
        stream.write_all(words.as_bytes()).expect("it takes the words");
    }

    fn repair_wire(&mut self) {
        self.proxy.set(Fault::None);
    }
}

const fn nothing(_: &mut Bench) {}
