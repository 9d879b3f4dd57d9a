//! A script that instances share, on a real server whose clock the test moves.
//!
//! Owns: the server, and the script's text with one change: it reads the time from a key. All else
//! is what runs in production, so that a minute passes at once.

use breakwater::limits::shared::SCRIPT;
use deadpool_redis::redis::{self, Client, Connection};

use crate::support::redis::Redis;

/// The server's time at the beginning, in microseconds.
pub(crate) const BEGIN: u64 = 1_800_000_000_123_456;

/// A server and a connection to it.
pub(crate) struct Script {
    server: Redis,
    connection: Connection,
    text: String,
}

impl Script {
    /// That of the limits.
    pub(crate) fn start() -> Self {
        Self::of(SCRIPT)
    }

    pub(crate) fn of(script: &str) -> Self {
        let server = Redis::start();
        let connection = Client::open(server.url()).unwrap().get_connection().unwrap();
        let clock = "redis.call('TIME')";
        assert_eq!(script.matches(clock).count(), 1);
        let text = script.replace(clock, "redis.call('HMGET', 'clock', 's', 'us')");
        Self { server, connection, text }
    }

    /// Keys stay for ever: they would expire by the real clock, while this one stands.
    pub(crate) fn keeping(mut self) -> Self {
        let expires = "redis.call('PEXPIRE', key, string.format('%.0f', life))";
        assert_eq!(self.text.matches(expires).count(), 1);
        self.text = self.text.replace(expires, "");
        self
    }

    /// Forgets everything; the clock stands this long after the beginning.
    pub(crate) fn begin(&mut self, micros: u64) {
        redis::cmd("FLUSHALL").exec(&mut self.connection).unwrap();
        self.turn_clock(micros);
    }

    /// The clock stands this long after the beginning.
    pub(crate) fn turn_clock(&mut self, micros: u64) {
        let now = BEGIN + micros;
        let mut set = redis::cmd("HSET");
        set.arg("clock").arg("s").arg(now / 1_000_000).arg("us").arg(now % 1_000_000);
        set.exec(&mut self.connection).unwrap();
    }

    /// Runs the script; the numbers as they come.
    pub(crate) fn run(&mut self, key: &str, arguments: &[u64]) -> Vec<i64> {
        let mut command = redis::cmd("EVAL");
        command.arg(&self.text).arg(1).arg(key).arg(arguments);
        command.query(&mut self.connection).unwrap()
    }

    /// Sends a command of the test's own.
    pub(crate) fn command<T: redis::FromRedisValue>(&mut self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.connection).unwrap()
    }

    pub(crate) fn stop(self) {
        self.server.stop();
    }
}
